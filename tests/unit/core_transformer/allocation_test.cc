// A training step takes no memory: everything was sized by Create.

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>

#include "core/transformer/mlp_classifier.h"
#include "core/transformer/transformer_network.h"
#include "gtest/gtest.h"

namespace {
std::atomic<int64_t> allocations{0};

void* CountedNew(size_t bytes) {
  ++allocations;
  void* const p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace

void* operator new(size_t bytes) { return CountedNew(bytes); }
void* operator new[](size_t bytes) { return CountedNew(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace saffron {
namespace {

TEST(AllocationTest, CountsWhatIsAllocated) {
  const int64_t before = allocations;
  auto* const p = new std::vector<int>(100);
  EXPECT_EQ(allocations - before, 2);
  delete p;
}

void TakeSteps(bool bf16) {
  TransformerShape shape;
  shape.vocab = 50;
  shape.width = 24;
  shape.context = 16;
  shape.mlp = MlpKind::kSwiglu;
  shape.layers.assign(2, {.heads = 2,
                          .kv_heads = 1,
                          .key_dim = 8,
                          .value_dim = 8,
                          .mlp_width = 40,
                          .rope_frequencies = RopeFrequencies(8)});
  TransformerNetwork<float>::Options options;
  options.dropout = 0.1;
  options.label_smoothing = 0.1;
  options.bf16 = bf16;
  auto network = *TransformerNetwork<float>::Create(shape, options);
  std::vector<int32_t> tokens(16 * 30);
  std::iota(tokens.begin(), tokens.end(), 0);
  for (int32_t& token : tokens) token %= 50;
  const int64_t before = allocations;
  for (int64_t step = 1; step <= 3; ++step) {
    network->LossAndGradient(tokens, tokens, 16, step);
  }
  network->Evaluate(tokens, tokens, 16);
  EXPECT_EQ(allocations - before, 0);
}

TEST(AllocationTest, ATransformersStepAndItsEvaluationTakeNone) { TakeSteps(false); }

TEST(AllocationTest, NorDoThoseInBfloat16) {
  if (!CpuHasBf16()) GTEST_SKIP() << "no AVX512-BF16";
  TakeSteps(true);
}

TEST(AllocationTest, APerceptronsStepTakesNone) {
  const MlpShape shape{
      .inputs = 20, .classes = 5, .layers = 2, .width = 30, .kind = MlpKind::kGeglu};
  MlpClassifier<float>::Options options;
  options.dropout = 0.1;
  auto model = *MlpClassifier<float>::Create(shape, options);
  const Matrix<float> x = Matrix<float>::Random(40, 20);
  std::vector<int32_t> y(40, 3);
  std::vector<int64_t> examples(40);
  std::iota(examples.begin(), examples.end(), 0);
  const int64_t before = allocations;
  model->LossAndGradient(x, y, examples, 1);
  model->Evaluate(x, y);
  EXPECT_EQ(allocations - before, 0);
}

}  // namespace
}  // namespace saffron
