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

int64_t Covered(const std::vector<PositionRange>& ranges) {
  int64_t total = 0;
  for (const PositionRange& range : ranges) total += range.size();
  return total;
}

TEST(SpreadBlocks, CoverBothEndsWithoutOverlap) {
  const auto blocks = SpreadBlocks(100, 100'000, 5'000, 500);
  ASSERT_EQ(blocks.size(), 10u);
  EXPECT_EQ(blocks.front().begin, 100);
  EXPECT_EQ(blocks.back().end, 100'000);
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(blocks[i].size(), 500);
    const int64_t free_from = i == 0 ? 100 : blocks[i - 1].end;
    EXPECT_GE(blocks[i].begin, free_from);
  }
}

TEST(SpreadBlocks, TakeAllOfLittle) {
  EXPECT_EQ(Covered(SpreadBlocks(3, 10, 5'000, 500)), 7);
  EXPECT_EQ(Covered(SpreadBlocks(0, 5'100, 5'000, 500)), 5'000);
  EXPECT_EQ(Covered(SpreadBlocks(0, 5'200, 4'999, 5'000)), 5'000);
  EXPECT_EQ(Covered(SpreadBlocks(0, 900, 700, 512)), 900);
}

TEST(TextTask, ValidationAndTestAreScoredWhole) {
  const TextTask task(MakeData(1000, 500, 300));
  EXPECT_EQ(Covered(task.Targets(Split::kValid)), 420);
  EXPECT_EQ(Covered(task.Targets(Split::kTest)), 220);
  EXPECT_EQ(Covered(task.Targets(Split::kTrain)), 1000);
}

TEST(TextTask, TrainingAndCurvesAreSampled) {
  const TextTask task(MakeData(1'000'000, 60'000, 60'000));
  EXPECT_EQ(Covered(task.Targets(Split::kTrain)), 10'240);
  EXPECT_EQ(Covered(task.Targets(Split::kTest)), 59'920);
  EXPECT_EQ(Covered(task.CurveTargets()), 5'120);
}

TEST(TextTask, EveryTargetHasItsContextAndItsPlace) {
  const TextTask task(MakeData(100'000, 500, 300));
  int64_t calls = 0, targets = 0;
  task.EvaluateRanges(Split::kTrain, task.Targets(Split::kTrain),
                      [&](absl::Span<const int32_t> stream, int64_t first) {
                        const int64_t begin = task.Targets(Split::kTrain)[calls].begin;
                        EXPECT_EQ(first, std::min<int64_t>(begin, kEvalContext));
                        EXPECT_EQ(stream[first], static_cast<int32_t>(begin % 7));
                        ++calls;
                        targets += static_cast<int64_t>(stream.size()) - first;
                        return Evaluation{};
                      });
  EXPECT_EQ(targets, Covered(task.Targets(Split::kTrain)));
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
