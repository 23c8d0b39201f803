#include "core/transformer/mlp_classifier.h"

#include <cmath>
#include <numeric>

#include "core/base/random.h"
#include "gtest/gtest.h"
#include "tests/unit/core_transformer/compare.h"

namespace saffron {
namespace {

class MlpClassifierTest : public testing::Test {
 protected:
  static constexpr int kExamples = 23, kInputs = 9, kClasses = 4;

  MlpClassifierTest() : x_(Matrix<float>::Zero(kExamples, kInputs)) {
    for (int64_t i = 0; i < x_.size(); ++i) x_.data()[i] = static_cast<float>(random_.Normal(i));
    for (int i = 0; i < kExamples; ++i) {
      y_.push_back(static_cast<int32_t>(random_.Below(1000 + i, kClasses)));
    }
    examples_.resize(kExamples);
    std::iota(examples_.begin(), examples_.end(), 0);
  }

  CounterRandom random_{9, RandomPurpose::kTest};
  Matrix<float> x_;
  std::vector<int32_t> y_;
  std::vector<int64_t> examples_;
};

TEST_F(MlpClassifierTest, TheGradientIsThatOfTheLoss) {
  for (const MlpKind kind : {MlpKind::kGelu, MlpKind::kSwiglu}) {
    MlpClassifier<double>::Options options;
    options.dropout = 0.2;
    options.label_smoothing = 0.1;
    auto model = *MlpClassifier<double>::Create(
        {.inputs = kInputs, .classes = kClasses, .layers = 2, .width = 7, .kind = kind}, options);
    const auto loss = [&] { return model->LossAndGradient(x_, y_, examples_, 2); };
    const absl::Span<double> p = model->arena().parameters();
    for (size_t i = 0; i < p.size(); ++i) p[i] += 0.1 * random_.Normal(5000 + i);
    loss();
    const std::vector<double> gradient(model->arena().gradients().begin(),
                                       model->arena().gradients().end());
    ExpectGradient(gradient, p, 1, 1e-5, loss);
  }
}

TEST_F(MlpClassifierTest, SeveralBlocksOfExamplesScoreAsOne) {
  const MlpShape shape{.inputs = kInputs, .classes = kClasses, .layers = 1, .width = 7};
  MlpClassifier<float>::Options options;
  auto whole = *MlpClassifier<float>::Create(shape, options);
  options.batch_max = 5;
  auto blocks = *MlpClassifier<float>::Create(shape, options);
  const Evaluation a = whole->Evaluate(x_, y_), b = blocks->Evaluate(x_, y_);
  EXPECT_EQ(a.targets, kExamples);
  EXPECT_EQ(a.nats, b.nats);
  EXPECT_EQ(a.correct, b.correct);
}

}  // namespace
}  // namespace saffron
