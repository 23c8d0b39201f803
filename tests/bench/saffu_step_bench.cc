// One training step of 1,024 tokens of the default SAFFU variant (four x keys, one c key, 4,096
// types, 64 bits, concat head, attention): this project's kernels beside the dense way (H dense,
// logits = H U, dU = H'G, dH = G U', all by Eigen's matrix products), and the machine's matrix
// product rate to compare with.
//
//   build/release/bench/saffu_step_bench [repeats]
//
// Times are the least of several repeats, of one thread.

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#include "core/base/random.h"
#include "core/layers/saffu_layer.h"
#include "core/math/exp.h"
#include "core/math/matrix.h"
#include "core/optim/optimizer.h"

namespace saffron {
namespace {

constexpr int kVocab = 4096, kBits = 64, kBatch = 1024, kLags = 4, kStream = 200'000;

// Processor time of this thread: other work on the machine counts little.
double Seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double LeastMilliseconds(int repeats, const std::function<void()>& work) {
  double least = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = Seconds();
    work();
    least = std::min(least, 1e3 * (Seconds() - start));
  }
  return least;
}

// Cipher codes in order of rank: all single bits, then pairs, then triples. Context rows positive.
std::shared_ptr<const FeatureTables> MakeFeatures() {
  auto features = std::make_shared<FeatureTables>();
  features->bits = features->cipher.dim = kBits;
  features->cipher.begin = {0};
  const auto add = [&](const std::vector<int>& bits) {
    if (features->cipher.rows() == kVocab) return;
    for (const int bit : bits) {
      features->cipher.index.push_back(bit);
      features->cipher.value.push_back(1.0f / static_cast<float>(bits.size()));
    }
    features->cipher.begin.push_back(static_cast<int32_t>(features->cipher.index.size()));
  };
  for (int i = 0; i < kBits; ++i) add({i});
  for (int i = 0; i < kBits; ++i) {
    for (int j = i + 1; j < kBits; ++j) add({i, j});
  }
  for (int i = 0; i < kBits; ++i) {
    for (int j = i + 1; j < kBits; ++j) {
      for (int k = j + 1; k < kBits; ++k) add({i, j, k});
    }
  }
  const CounterRandom random(1, RandomPurpose::kTest);
  features->context.resize(kVocab, kBits);
  for (int64_t i = 0; i < features->context.size(); ++i) {
    features->context.data()[i] = static_cast<float>(random.Uniform(i)) / (0.5f * kBits);
  }
  return features;
}

// Ids with Zipf-Mandelbrot frequencies, about as many distinct ones in a batch as in English text.
std::vector<int32_t> MakeStream() {
  std::vector<double> cumulative(kVocab);
  double sum = 0;
  for (int w = 0; w < kVocab; ++w) cumulative[w] = sum += 1.0 / (w + 2.7);
  const CounterRandom random(2, RandomPurpose::kTest);
  std::vector<int32_t> stream(kStream);
  for (int i = 0; i < kStream; ++i) {
    const auto at = std::ranges::lower_bound(cumulative, random.Uniform(i) * sum);
    stream[i] = static_cast<int32_t>(std::min<int64_t>(at - cumulative.begin(), kVocab - 1));
  }
  return stream;
}

SaffuLayerParams<float> MakeLayer() {
  SaffuLayerParams<float> layer;
  for (int lag = 1; lag <= kLags; ++lag) layer.shape.keys.push_back({Stream::kCipher, lag, kBits});
  layer.shape.keys.push_back({Stream::kContext, 1, kBits});
  layer.shape.attention = true;
  layer.shape.outputs = kVocab;
  layer.gain = 5;
  const CounterRandom random(3, RandomPurpose::kTest);
  layer.beta.assign(kLags + 1, 0.0f);
  layer.w.resize(size_t{kLags + 1} * kBits * kBits);
  layer.u.resize(size_t{kLags + 1} * kBits * kVocab);
  for (size_t i = 0; i < layer.w.size(); ++i) layer.w[i] = 0.1f * float(random.Normal(i));
  for (size_t i = 0; i < layer.u.size(); ++i)
    layer.u[i] = 0.1f * float(random.Normal(i + 1'000'000));
  return layer;
}

// The dense way. W, beta and their gradients are left out: they are a hundredth of the work.
struct DenseStep {
  static constexpr int kDim = (kLags + 1) * kBits;
  Matrix<float> h{kBatch, kDim}, u, z{kBatch, kVocab}, du{kDim, kVocab}, dh{kBatch, kDim};
  Matrix<float> m = Matrix<float>::Zero(kDim, kVocab), v = m;

  DenseStep(const SaffuLayerParams<float>& layer)
      : u(Eigen::Map<const Matrix<float>>(layer.u.data(), kDim, kVocab)) {}

  void MakeInput(const FeatureTables& features, const std::vector<int32_t>& stream,
                 const std::vector<int64_t>& positions) {
    h.setZero();
    for (int b = 0; b < kBatch; ++b) {
      for (int lag = 1; lag <= kLags; ++lag) {
        const int32_t id = stream[positions[b] - lag];
        for (int i = features.cipher.begin[id]; i < features.cipher.begin[id + 1]; ++i) {
          h(b, (lag - 1) * kBits + features.cipher.index[i]) = features.cipher.value[i];
        }
      }
      h.row(b).tail(kBits) = features.context.row(stream[positions[b] - 1]);
    }
  }
  void Forward() { z.noalias() = h * u; }
  void Softmax(const std::vector<int32_t>& stream, const std::vector<int64_t>& positions) {
    for (int b = 0; b < kBatch; ++b) {
      SoftmaxInPlace(z.row(b).data(), kVocab);
      z(b, stream[positions[b]]) -= 1;
    }
    z *= 1.0f / kBatch;
  }
  void Backward() {
    du.noalias() = h.transpose() * z;
    dh.noalias() = z * u.transpose();
  }
  void Adam() {
    m = 0.9f * m + 0.1f * du;
    v = 0.999f * v + 0.001f * du.cwiseProduct(du);
    u.array() -= 1e-3f * m.array() / (v.array().sqrt() + 1e-8f);
  }
};

double GemmGigaflops(int repeats) {
  constexpr int kSize = 1024;
  const Matrix<float> a = Matrix<float>::Random(kSize, kSize), b = a;
  Matrix<float> c(kSize, kSize);
  const double ms = LeastMilliseconds(repeats, [&] { c.noalias() = a * b; });
  return 2.0 * kSize * kSize * kSize / ms * 1e-6;
}

void Row(const char* what, double ours, double dense) {
  std::printf("%-28s %10.2f %10.2f %8.2f\n", what, ours, dense, dense / ours);
}

void Run(int repeats) {
  const auto features = MakeFeatures();
  const auto stream = MakeStream();
  const auto layer = MakeLayer();
  std::vector<int64_t> positions(kBatch);
  const CounterRandom random(4, RandomPurpose::kTest);
  for (int i = 0; i < kBatch; ++i)
    positions[i] = 10 + static_cast<int64_t>(random.Below(i, kStream - 10));
  std::vector<int32_t> distinct;
  for (const int64_t t : positions) distinct.push_back(stream[t - 1]);
  std::ranges::sort(distinct);
  distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());

  auto optimizer = MakeOptimizer<float>("adam", {}).value();
  auto network = SaffuNetwork<float>::Create({layer}, features, {}).value();
  CHECK(optimizer->Prepare(network->arena()).ok()) << "state";
  DenseStep dense(layer);

  std::printf("%d targets, %zu distinct last tokens, %d types; least of %d repeats, ms\n\n", kBatch,
              distinct.size(), kVocab, repeats);
  std::printf("%-28s %10s %10s %8s\n", "", "ours", "dense", "ratio");
  const double input =
      LeastMilliseconds(repeats, [&] { dense.MakeInput(*features, stream, positions); });
  const double dense_forward = LeastMilliseconds(repeats, [&] { dense.Forward(); });
  const double dense_softmax =
      LeastMilliseconds(repeats, [&] { dense.Forward(), dense.Softmax(stream, positions); }) -
      dense_forward;
  const double dense_backward = LeastMilliseconds(repeats, [&] { dense.Backward(); });
  const double dense_adam = LeastMilliseconds(repeats, [&] { dense.Adam(); });
  const double forward = LeastMilliseconds(repeats, [&] { network->Loss(stream, positions); });
  const double both =
      LeastMilliseconds(repeats, [&] { network->LossAndGradient(stream, positions); });
  const double adam = LeastMilliseconds(repeats, [&] { optimizer->Step(network->arena(), 1e-3); });
  const double step = LeastMilliseconds(repeats, [&] {
    network->LossAndGradient(stream, positions);
    optimizer->Step(network->arena(), 1e-3);
  });
  Row("forward with softmax", forward, input + dense_forward + dense_softmax);
  std::printf("%-28s %10s %10.2f\n", "  of which softmax", "fused", dense_softmax);
  Row("backward", both - forward, dense_backward);
  Row("adam", adam, dense_adam);
  Row("step", step, input + dense_forward + dense_softmax + dense_backward + dense_adam);
  std::printf("\ntokens/s %.0f; matrix product of 1024 by Eigen %.1f GFLOP/s\n",
              1e3 * kBatch / step, GemmGigaflops(repeats));
  const double eval = LeastMilliseconds(std::max(1, repeats / 10), [&] {
    (void)network->Evaluate(absl::MakeConstSpan(stream).first(60'080), 80);
  });
  std::printf("evaluation of 60,000 targets %.0f ms\n", eval);
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) { saffron::Run(argc > 1 ? std::atoi(argv[1]) : 30); }
