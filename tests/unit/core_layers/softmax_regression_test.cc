#include "core/layers/softmax_regression.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/random.h"
#include "tests/unit/core_layers/saffu_fixture.h"

namespace saffron {
namespace {

constexpr int kInputs = 21, kOutputs = 7, kExamples = 30;
constexpr int kVocab = 13, kLags = 2;

struct Images {
  Matrix<float> x{kExamples, kInputs};
  std::vector<int32_t> y;
  Images() {
    const CounterRandom random(8, RandomPurpose::kTest);
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(random.Uniform(i));
    for (int i = 0; i < kExamples; ++i) {
      y.push_back(static_cast<int32_t>(random.Below(10'000 + i, kOutputs)));
    }
  }
};

template <typename T>
void Randomise(absl::Span<T> parameters) {
  const CounterRandom random(9, RandomPurpose::kTest);
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i] = static_cast<T>(random.Normal(i));
}

// Gradient of every parameter, those that no segment gives one being zero.
std::vector<double> FullGradient(const ParameterArena<double>& arena) {
  std::vector<double> full(arena.parameters().size(), 0.0);
  for (const auto& segment : arena.segments()) {
    if (segment.gradient == nullptr) continue;
    std::copy_n(segment.gradient, segment.size, full.begin() + segment.begin);
  }
  return full;
}

// `loss` at the arena's parameters against their gradient, each parameter by central differences.
template <typename Loss>
void ExpectGradient(ParameterArena<double>& arena, Loss loss) {
  loss();
  const std::vector<double> gradient = FullGradient(arena);
  constexpr double kStep = 1e-5;
  double largest = 0, error = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double kept = arena.parameters()[i];
    arena.parameters()[i] = kept + kStep;
    const double above = loss();
    arena.parameters()[i] = kept - kStep;
    const double below = loss();
    arena.parameters()[i] = kept;
    const double difference = std::abs((above - below) / (2 * kStep) - gradient[i]);
    if (!(difference <= error)) error = difference;  // a NaN too
    largest = std::max(largest, std::abs(gradient[i]));
  }
  ASSERT_GT(largest, 0);
  EXPECT_LE(error / largest, 1e-6);
}

TEST(DenseSoftmaxRegression, GradientEqualsCentralDifferences) {
  const Images images;
  auto model = DenseSoftmaxRegression<double>::Create(kInputs, kOutputs, {}).value();
  Randomise(model.arena().parameters());
  const std::vector<int64_t> examples = {3, 29, 0, 3, 17};
  ExpectGradient(model.arena(),
                 [&] { return model.LossAndGradient(images.x, images.y, examples); });
}

TEST(DenseSoftmaxRegression, EvaluationEqualsTheDefinition) {
  const Images images;
  // Batches of 8: the thirty rows come in four.
  auto model = DenseSoftmaxRegression<double>::Create(kInputs, kOutputs, {.batch_max = 8}).value();
  Randomise(model.arena().parameters());
  double nats = 0;
  int64_t correct = 0;
  for (int n = 0; n < kExamples; ++n) {
    std::vector<double> z(model.bias().begin(), model.bias().end());
    for (int j = 0; j < kInputs; ++j) {
      for (int i = 0; i < kOutputs; ++i) z[i] += images.x(n, j) * model.weights()[j * kOutputs + i];
    }
    double sum = 0;
    for (const double v : z) sum += std::exp(v);
    nats += std::log(sum) - z[images.y[n]];
    correct += std::ranges::max_element(z) - z.begin() == images.y[n];
  }
  const Evaluation got = model.Evaluate(images.x, images.y);
  EXPECT_EQ(got.targets, kExamples);
  EXPECT_EQ(got.correct, correct);
  EXPECT_NEAR(got.nats, nats, 1e-10);
}

TEST(OneHotSoftmaxRegression, GradientEqualsCentralDifferences) {
  const auto stream = MakeStream(kVocab, 40, 2);
  auto model = OneHotSoftmaxRegression<double>::Create(kLags, kVocab, {.padding = 3}).value();
  Randomise(model.arena().parameters());
  const std::vector<int64_t> positions = {0, 1, 2, 9, 9, 31};
  ExpectGradient(model.arena(), [&] { return model.LossAndGradient(stream, positions); });
}

TEST(OneHotSoftmaxRegression, EvaluationEqualsTheDefinition) {
  const auto stream = MakeStream(kVocab, 40, 2);
  auto model = OneHotSoftmaxRegression<double>::Create(kLags, kVocab, {.padding = 3}).value();
  Randomise(model.arena().parameters());
  double nats = 0;
  int64_t correct = 0;
  for (int t = 1; t < 40; ++t) {
    std::vector<double> z(model.bias().begin(), model.bias().end());
    for (int lag = 1; lag <= kLags; ++lag) {
      const int32_t id = t < lag ? 3 : stream[t - lag];
      for (int i = 0; i < kVocab; ++i) z[i] += model.weights(lag)[id * kVocab + i];
    }
    double sum = 0;
    for (const double v : z) sum += std::exp(v);
    nats += std::log(sum) - z[stream[t]];
    correct += std::ranges::max_element(z) - z.begin() == stream[t];
  }
  const Evaluation got = model.Evaluate(stream, 1);
  EXPECT_EQ(got.targets, 39);
  EXPECT_EQ(got.correct, correct);
  EXPECT_NEAR(got.nats, nats, 1e-10);
}

TEST(OneHotSoftmaxRegression, SegmentsCoverAllParametersAndIdleOnesNeverHadAGradient) {
  const auto stream = MakeStream(kVocab, 40, 2);
  auto model = OneHotSoftmaxRegression<double>::Create(kLags, kVocab, {}).value();
  Randomise(model.arena().parameters());
  std::vector<bool> had(model.arena().parameters().size(), false);
  int64_t idle_before = static_cast<int64_t>(had.size());
  for (int64_t step = 0; step < 6; ++step) {
    model.LossAndGradient(stream, std::vector<int64_t>{5 * step, 5 * step + 1, 5 * step + 3});
    int64_t next = 0, idle = 0, missing = 0;
    for (const auto& segment : model.arena().segments()) {
      ASSERT_EQ(segment.begin, next);
      next += segment.size;
      for (int64_t i = 0; i < segment.size; ++i) {
        if (segment.gradient != nullptr) had[segment.begin + i] = true;
        ASSERT_EQ(segment.idle, !had[segment.begin + i]) << segment.begin + i;
      }
      idle += segment.idle ? segment.size : 0;
      missing += segment.gradient == nullptr && !segment.idle ? segment.size : 0;
    }
    EXPECT_EQ(next, static_cast<int64_t>(had.size()));
    EXPECT_LE(idle, idle_before);
    EXPECT_GT(idle, 0);
    EXPECT_EQ(missing > 0, step > 0) << "rows of earlier steps still move by their moments";
    idle_before = idle;
  }
}

}  // namespace
}  // namespace saffron
