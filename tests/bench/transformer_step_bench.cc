// How fast a transformer's training step is, against what the core can do at most.
//
// Prints, from one run: the peak (the fastest of Eigen's and our own product of 768 x 768 floats,
// and our own of bfloat16 where the CPU has AVX512-BF16), and for each shape and precision the time
// of a whole step (AdamW, full softmax, tied readout), tokens/s, and model FLOPs as a share of the
// peak. Model FLOPs are those of the products alone, 6 a token for each weight that a product has,
// and 12 L d T for attention over whole rows (as is customary; a causal pass computes little more
// than half of it).
//
//   transformer_step_bench [seconds a shape [letters of shapes [float32|bf16]]]
//
// Race it: tests/bench/torch_step.py prints the same shapes' steps in PyTorch, in both precisions.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/base/random.h"
#include "core/math/bf16_gemm.h"
#include "core/math/matrix.h"
#include "core/math/packed_gemm.h"
#include "core/optim/optimizer.h"
#include "core/transformer/transformer_network.h"

namespace saffron {
namespace {

// Of this thread: other processes on the machine do not count.
double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds of one call: the median and the least of those made in `seconds`, the first left out.
struct Timing {
  double median = 0, least = 0;
};
template <typename F>
Timing Time(double seconds, F f) {
  f();
  std::vector<double> times;
  for (double total = 0; total < seconds || times.size() < 3; total += times.back()) {
    const double start = CpuSeconds();
    f();
    times.push_back(CpuSeconds() - start);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0]};
}

double Peak(double seconds) {
  constexpr int n = 768;
  const double flops = 2.0 * n * n * n;
  Matrix<float> a = Matrix<float>::Random(n, n), b = Matrix<float>::Random(n, n), c(n, n);
  const double eigen = flops / Time(seconds, [&] { c.noalias() = a * b; }).least;
  std::vector<float> packed(PackedSize<float>(n, n));
  const double own = flops / Time(seconds, [&] {
                               PackRight<float>(n, n, b.data(), n, packed.data());
                               for (int r = 0; r < n; r += 96) {
                                 GemmPacked<false, float>(96, n, n, {a.row(r).data(), n, 1},
                                                          packed.data(), c.row(r).data(), n);
                               }
                             }).least;
  std::printf("sgemm %d^3: Eigen %.1f, own %.1f GFLOP/s\n", n, eigen * 1e-9, own * 1e-9);
  return std::max(eigen, own);
}

// Of bfloat16 operands, rounding the left one included.
double Bf16Peak(double seconds) {
  constexpr int n = 768, rows = 96;
  const Matrix<float> a = Matrix<float>::Random(n, n), b = Matrix<float>::Random(n, n);
  Matrix<float> c(n, n);
  std::vector<Bf16Pair> packed(Bf16PackedSize(n, n)), left(rows * n / 2);
  const Timing time = Time(seconds, [&] {
    Bf16PackRight(n, n, b.data(), n, packed.data());
    for (int r = 0; r < n; r += rows) {
      Bf16AlongRows(rows, n, a.row(r).data(), n, left.data(), n / 2);
      Bf16Gemm<false>(rows, n, n, {left.data(), n / 2, 1}, packed.data(), c.row(r).data(), n);
    }
  });
  const double flops = 2.0 * n * n * n / time.least;
  std::printf("bf16 gemm %d^3: own %.1f GFLOP/s\n", n, flops * 1e-9);
  return flops;
}

struct StepShape {
  const char* name;
  int vocab, width, layers, heads, length, sequences;
};

TransformerShape ModelOf(const StepShape& s) {
  TransformerShape shape;
  shape.vocab = s.vocab;
  shape.width = s.width;
  shape.context = s.length;
  shape.norm = NormKind::kLayer;
  shape.positions = PositionKind::kLearned;
  shape.mlp = MlpKind::kGelu;
  shape.biases = true;
  const int dim = s.width / s.heads;
  shape.layers.assign(s.layers, {.heads = s.heads,
                                 .kv_heads = s.heads,
                                 .key_dim = dim,
                                 .value_dim = dim,
                                 .mlp_width = 4 * s.width});
  return shape;
}

double ModelFlops(const StepShape& s) {
  const double d = s.width, weights = s.vocab * d + s.layers * 12 * d * d;
  return s.sequences * s.length * (6 * weights + 12 * s.layers * d * s.length);
}

void Run(const StepShape& s, bool bf16, double peak, double seconds) {
  auto optimizer = *MakeOptimizer<float>("adamw", {});
  auto network = *TransformerNetwork<float>::Create(ModelOf(s), {.bf16 = bf16});
  const CounterRandom random(1, RandomPurpose::kTest);
  const absl::Span<float> p = network->arena().parameters();
  for (size_t i = 0; i < p.size(); ++i) p[i] = 0.02f * static_cast<float>(random.Normal(i));
  const absl::Status prepared = optimizer->Prepare(network->arena());
  CHECK(prepared.ok()) << prepared;
  const int tokens = s.sequences * s.length;
  std::vector<int32_t> inputs(tokens), targets(tokens);
  for (int i = 0; i < tokens; ++i) {
    inputs[i] = static_cast<int32_t>(random.Below(i, s.vocab));
    targets[i] = static_cast<int32_t>(random.Below(i + 1, s.vocab));
  }
  int64_t step = 0;
  const Timing gradient =
      Time(seconds / 2, [&] { network->LossAndGradient(inputs, targets, s.length, ++step); });
  const Timing whole = Time(seconds, [&] {
    network->LossAndGradient(inputs, targets, s.length, ++step);
    optimizer->Step(network->arena(), 1e-4);
  });
  const double flops = ModelFlops(s);
  std::printf(
      "%s %-7s  V=%d d=%d L=%d H=%d T=%d B=%d: step %.2f ms (gradient %.2f), %.1f k tokens/s, "
      "%.1f GFLOP/s, %.1f %% of the peak (best step %.1f %%); %.1f MB of parameters, "
      "gradients and moments, %.1f MB of workspace\n",
      s.name, bf16 ? "bf16" : "float32", s.vocab, s.width, s.layers, s.heads, s.length, s.sequences,
      1e3 * whole.median, 1e3 * gradient.median, 1e-3 * tokens / whole.median,
      1e-9 * flops / whole.median, 100 * flops / whole.median / peak,
      100 * flops / whole.least / peak, 16e-6 * static_cast<double>(p.size()),
      1e-6 * static_cast<double>(network->workspace_bytes()));
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) {
  using saffron::StepShape;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 3;
  const std::vector<StepShape> shapes = {
      {"A", 4096, 128, 2, 4, 64, 16}, {"B", 4096, 64, 1, 2, 16, 64}, {"C", 2048, 256, 4, 4, 64, 8}};
  const double peak = saffron::Peak(0.3);
  const double bf16_peak = saffron::CpuHasBf16() ? saffron::Bf16Peak(0.3) : 0;
  const std::string wanted = argc > 2 ? argv[2] : "ABC", precision = argc > 3 ? argv[3] : "";
  for (const StepShape& shape : shapes) {
    if (wanted.find(shape.name) == std::string::npos) continue;
    if (precision != "bf16") saffron::Run(shape, false, peak, seconds);
    if (precision != "float32" && bf16_peak > 0) saffron::Run(shape, true, bf16_peak, seconds);
  }
  return 0;
}
