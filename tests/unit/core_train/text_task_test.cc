#include "core/train/text_task.h"

#include <gtest/gtest.h>

#include <cmath>

namespace saffron {
namespace {

std::shared_ptr<const TextDataset> MakeData(int64_t train, int64_t valid, int64_t test) {
  auto data = std::make_shared<TextDataset>();
  data->vocab = 8;
  for (int64_t i = 0; i < train; ++i) data->train.push_back(static_cast<int32_t>(i % 7));
  for (int64_t i = 0; i < valid; ++i) data->valid.push_back(static_cast<int32_t>(i % 5));
  for (int64_t i = 0; i < test; ++i) data->test.push_back(static_cast<int32_t>(i % 3));
  data->valid_target_bytes = 2 * (valid - kEvalContext);
  return data;
}

TEST(SpreadPositions, AreEvenlySpaced) {
  EXPECT_EQ(SpreadPositions(10, 40, 3), (std::vector<int64_t>{15, 25, 35}));
  EXPECT_EQ(SpreadPositions(10, 14, 100), (std::vector<int64_t>{10, 11, 12, 13}));
  EXPECT_EQ(SpreadPositions(5, 5, 10), std::vector<int64_t>{});
  const auto positions = SpreadPositions(80, 60'000, 5'000);
  EXPECT_GE(positions.size(), 5'000u);
  EXPECT_LT(positions.size(), 5'500u);
  EXPECT_LT(60'000 - positions.back(), 12);
}

TEST(TextTask, ValidationAndTestAreScoredWhole) {
  const TextTask task(MakeData(1000, 500, 300));
  EXPECT_EQ(task.Targets(Split::kValid).size(), 420u);
  EXPECT_EQ(task.Targets(Split::kValid).front(), kEvalContext);
  EXPECT_EQ(task.Targets(Split::kValid).back(), 499);
  EXPECT_EQ(task.Targets(Split::kTest).size(), 220u);
  EXPECT_EQ(task.Targets(Split::kTrain).size(), 1000u);
  EXPECT_EQ(task.CurveTargets().size(), 420u);
}

TEST(TextTask, TrainingAndCurvesAreSampled) {
  const TextTask task(MakeData(1'000'000, 60'000, 60'000));
  EXPECT_EQ(task.Targets(Split::kTrain).size(), 10'000u);
  EXPECT_EQ(task.Targets(Split::kTest).size(), 59'920u);
  EXPECT_LT(task.CurveTargets().size(), 6'000u);
}

TEST(TextTask, StretchesHaveTheirContextAndTheirPlace) {
  const TextTask task(MakeData(1000, 500, 300));
  std::vector<std::pair<size_t, int>> asked;  // size of the stretch, its first target
  const Evaluation sum =
      task.SumNats(Split::kTrain, {3, 4, 5, 90, 200, 201}, /*context=*/80,
                   [&](absl::Span<const int32_t> stream, int first) {
                     asked.push_back({stream.size(), first});
                     std::vector<double> ids(stream.begin() + first, stream.end());
                     return ids;
                   });
  EXPECT_EQ(asked, (std::vector<std::pair<size_t, int>>{{6, 3}, {81, 80}, {82, 80}}));
  EXPECT_EQ(sum.targets, 6);
  EXPECT_EQ(sum.nats, 3 + 4 + 5 + 90 % 7 + 200 % 7 + 201 % 7);
}

TEST(TextTask, BitsPerByteCountTheTextBehindTheTargets) {
  const TextTask task(MakeData(1000, 500, 300));
  const Evaluation evaluation = {.targets = 420, .nats = 420 * std::log(2.0), .correct = 42};
  const Score score = task.ScoreOf(Split::kValid, evaluation, /*has_accuracy=*/true);
  EXPECT_DOUBLE_EQ(score.nats, std::log(2.0));
  EXPECT_DOUBLE_EQ(*score.bits_per_byte, 0.5);  // a bit a token, two bytes a token
  EXPECT_DOUBLE_EQ(*score.accuracy, 0.1);
  EXPECT_FALSE(task.ScoreOf(Split::kTrain, evaluation, false).accuracy.has_value());
  EXPECT_FALSE(task.ScoreOf(Split::kTrain, evaluation, false).bits_per_byte.has_value());
}

TEST(TextTask, ThePriorKnowsOnlyFrequencies) {
  // Training: seven equally frequent ids of eight; validation: five of these.
  const TextTask task(MakeData(70'000, 500, 300));
  EXPECT_NEAR(task.PriorNats(), std::log(7.0), 1e-3);
}

}  // namespace
}  // namespace saffron
