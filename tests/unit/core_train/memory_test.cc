// What a trial takes of memory: all of it before the first step, and no more than its parts add up
// to. Every way to memory is counted, for Eigen's temporaries do not come from operator new, nor
// large arrays from malloc.

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <numeric>

#include "core/optim/optimizer.h"
#include "core/transformer/transformer_network.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace {
std::atomic<int64_t> calls{0}, live_bytes{0};

void Count(size_t bytes) {
  ++calls;
  live_bytes += static_cast<int64_t>(bytes);
}

[[maybe_unused]] void* Counted(void* p) {
  Count(malloc_usable_size(p));
  return p;
}
}  // namespace

// A sanitizer has its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SAFFRON_COUNTS_MALLOC 1
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t bytes) { return Counted(__libc_malloc(bytes)); }
void* calloc(size_t count, size_t bytes) { return Counted(__libc_calloc(count, bytes)); }
void* realloc(void* p, size_t bytes) {
  live_bytes -= static_cast<int64_t>(malloc_usable_size(p));
  return Counted(__libc_realloc(p, bytes));
}
void* memalign(size_t alignment, size_t bytes) {
  return Counted(__libc_memalign(alignment, bytes));
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** p, size_t alignment, size_t bytes) {
  *p = memalign(alignment, bytes);
  return *p == nullptr ? 12 : 0;
}
void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  Count(bytes);
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, fd, offset));
}
int munmap(void* address, size_t bytes) {
  live_bytes -= static_cast<int64_t>(bytes);
  return static_cast<int>(syscall(SYS_munmap, address, bytes));
}
void free(void* p) {
  live_bytes -= static_cast<int64_t>(malloc_usable_size(p));
  __libc_free(p);
}
}
#endif

namespace saffron {
namespace {

class MemoryTest : public TinyCorpusTest {
 protected:
  void SetUp() override {
#ifndef SAFFRON_COUNTS_MALLOC
    GTEST_SKIP() << "a sanitizer allocates";
#endif
    TinyCorpusTest::SetUp();
  }
  // Calls during a trial of so many steps, none of them evaluated but the first and the last.
  int64_t CallsOf(Params params, int64_t steps) {
    params["train.steps"] = steps;
    params["train.eval_every"] = int64_t{1000};
    params.emplace("train.lr", 0.01);
    const ResolvedVariant variant = MustResolve(Small(params));
    Recorder recorder;
    recorder.measurements.reserve(100);
    const int64_t before = calls;
    const auto result =
        RunTrial(variant, 3, fingerprint_, {.data = &data_, .statistics = &cache_}, recorder);
    const int64_t after = calls;
    EXPECT_TRUE(result.ok()) << result.status();
    return after - before;
  }
};

TEST_F(MemoryTest, CountsWhateverIsAllocated) {
  const int64_t calls_before = calls, live_before = live_bytes;
  {
    const Matrix<float> matrix(100, 100);
    const std::vector<int> numbers(100);
    EXPECT_EQ(calls - calls_before, 2);
    EXPECT_GE(live_bytes - live_before, 40'400);
  }
  EXPECT_EQ(live_bytes, live_before);
}

TEST_F(MemoryTest, NoStepOfAnyFamilyAndOptimiserAllocates) {
  const Params transformer = {{"model.type", "transformer"},
                              {"model.hidden_width", int64_t{12}},
                              {"model.heads", int64_t{2}},
                              {"model.window", int64_t{16}}};
  Params sparse = transformer;
  sparse["model.experts"] = int64_t{4};
  sparse["model.router_jitter"] = 0.1;
  sparse["model.expert_dropout"] = 0.1;
  sparse["model.dropout"] = 0.1;
  const Params recipes[] = {{{"train.optimizer", "sgd"}, {"train.clip", 0.1}},
                            {{"train.optimizer", "adam"}, {"train.ema", 0.9}},
                            {{"train.optimizer", "adamw"}, {"train.accumulate", int64_t{2}}},
                            {{"train.optimizer", "adafactor"}, {"train.factored_min", int64_t{4}}},
                            {{"train.optimizer", "adafactor"}, {"train.update_momentum", 0.5}},
                            {{"train.optimizer", "muon"}, {"train.freeze", "tok_embed"}}};
  for (const Params& family : {transformer, sparse}) {
    for (const Params& recipe : recipes) {
      Params params = family;
      params.insert(recipe.begin(), recipe.end());
      SCOPED_TRACE(MustResolve(Small(params)).CanonicalText());
      CallsOf(params, 3);  // fills caches
      EXPECT_EQ(CallsOf(params, 3), CallsOf(params, 12));
    }
  }
  for (const Params& params :
       {Params{
            {"model.layers", int64_t{2}}, {"model.streams", "x+c+r"}, {"model.width", int64_t{8}}},
        Params{{"model.type", "softmax_regression"}},
        Params{{"model.type", "log_linear"},
               {"train.steps", int64_t{1}},
               {"model.network", "transformer"},
               {"model.network_width", int64_t{32}},
               {"model.evidence", "trained"},
               {"model.dense", "x+c+r"}},
        Params{{"model.type", "log_linear"},
               {"train.steps", int64_t{1}},
               {"model.network", "feed_forward"},
               {"model.network_width", int64_t{32}},
               {"model.network_context", int64_t{4}}},
        Params{
            {"model.type", "log_linear"}, {"train.steps", int64_t{1}}, {"model.trained", "rows"}},
        Params{{"model.type", "log_linear"},
               {"train.steps", int64_t{1}},
               {"model.trained", "dense"},
               {"model.dense", "x+c+r"}},
        Params{{"model.type", "log_linear"},
               {"train.steps", int64_t{1}},
               {"model.network", "saffu"},
               {"model.network_width", int64_t{32}},
               {"model.network_layers", int64_t{1}},
               {"model.network_context", int64_t{2}}}}) {
    SCOPED_TRACE(MustResolve(Small(params)).CanonicalText());
    CallsOf(params, 3);
    EXPECT_EQ(CallsOf(params, 3), CallsOf(params, 12));
  }
}

// What a dense transformer's step has to hold beside parameters, gradients and moments, by its
// sizes alone: what the backward pass reads of a chunk of 192 rows, one layer's gradients, a block
// of logits, and two packed copies of every weight that a product has.
int64_t NumbersOfAStep(const TransformerShape& shape) {
  const int64_t h = StrideOf<float>(shape.width), rows = 192;
  int64_t a_row = 0, copied = int64_t{shape.width} * shape.vocab;
  for (const TransformerLayerShape& layer : shape.layers) {
    // x, n1, q, k, v, attended, x1, n2; an MLP's units before and after; attention's weights.
    a_row +=
        8 * h + 2 * StrideOf<float>(layer.mlp_width) + layer.heads * StrideOf<float>(shape.context);
    copied += 4 * shape.width * shape.width + 2 * shape.width * layer.mlp_width;
  }
  // The top, what the readout reads, their gradients; those of n, q, k, v, attended, units.
  a_row += 4 * h + 5 * h + StrideOf<float>(shape.layers[0].mlp_width);
  return rows * (a_row + StrideOf<float>(shape.vocab)) + 2 * copied;
}

TransformerShape OfSizes(int vocab, int width, int layers, int heads, int context) {
  TransformerShape shape;
  shape.vocab = vocab;
  shape.width = width;
  shape.context = context;
  shape.mlp = MlpKind::kGelu;
  const int head = width / heads;
  shape.layers.assign(layers, {.heads = heads,
                               .kv_heads = heads,
                               .key_dim = head,
                               .value_dim = head,
                               .mlp_width = 4 * width,
                               .rope_frequencies = RopeFrequencies(head)});
  return shape;
}

// Bytes that training by AdamW holds, as steps take nothing the peak; they are given back.
int64_t PeakOf(const TransformerShape& shape, int batch, int64_t* parameters) {
  const std::vector<int32_t> tokens(static_cast<size_t>(shape.context) * batch, 7);
  const int64_t before = live_bytes;
  int64_t peak = 0;
  {
    const auto network = *TransformerNetwork<float>::Create(shape, {});
    const auto optimizer = *MakeOptimizer<float>("adamw", {});
    EXPECT_TRUE(optimizer->Prepare(network->arena()).ok());
    for (int64_t step = 1; step <= 2; ++step) {
      network->LossAndGradient(tokens, tokens, shape.context, step);
      optimizer->Step(network->arena(), 0.001);
    }
    peak = live_bytes - before;
    *parameters = network->layout().size;
  }
  EXPECT_LT(live_bytes - before, 10'000) << "all of it is given back";
  return peak;
}

TEST_F(MemoryTest, ATransformersPeakIsThatOfItsSizes) {
  for (const int layers : {1, 4}) {
    const TransformerShape shape = OfSizes(2000, 128, layers, 4, 64);
    int64_t parameters = 0;
    const int64_t peak = PeakOf(shape, 16, &parameters);
    const int64_t wanted = 4 * parameters + NumbersOfAStep(shape);
    EXPECT_NEAR(static_cast<double>(peak) / static_cast<double>(4 * wanted), 1, 0.05) << layers;
  }
}

// Parameters, gradients, two moments, and what backpropagation through a whole batch would keep:
// steps that go by chunks take less of the latter, which pays for packed copies of weights.
TEST_F(MemoryTest, PeaksAreThoseOfParametersAndABatchsActivationsAtMost) {
  struct {
    const char* name;
    TransformerShape shape;
    int batch;
  } sizes[] = {{"A", OfSizes(4096, 128, 2, 4, 64), 16},
               {"B", OfSizes(4096, 64, 1, 2, 16), 64},
               {"C", OfSizes(2048, 256, 4, 4, 64), 8}};
  for (const auto& [name, shape, batch] : sizes) {
    int64_t a_row = shape.vocab + 2 * shape.width;  // logits; the top and what the readout reads
    for (const TransformerLayerShape& layer : shape.layers) {
      a_row += 8 * shape.width + 2 * layer.mlp_width + layer.heads * shape.context;
    }
    int64_t parameters = 0;
    const int64_t peak = PeakOf(shape, batch, &parameters);
    const int64_t wanted = 4 * parameters + a_row * batch * shape.context;
    EXPECT_LE(static_cast<double>(peak), 1.1 * static_cast<double>(4 * wanted)) << name;
  }
}

}  // namespace
}  // namespace saffron
