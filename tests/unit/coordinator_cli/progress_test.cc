#include "coordinator/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

v1::RoadmapStatus Status(int64_t succeeded, int64_t total, double cost_done = 0,
                         double cost_total = 0) {
  v1::RoadmapStatus status;
  status.set_total(total);
  status.set_succeeded(succeeded);
  status.set_cost_done(cost_done);
  status.set_cost_total(cost_total);
  return status;
}

TEST(Pace, NothingFinishedIsNoPaceYet) {
  const Pace pace = PaceOf(Status(5, 10), Status(5, 10), absl::Seconds(60));
  EXPECT_EQ(pace.trials_per_second, 0);
  EXPECT_EQ(pace.remaining, absl::InfiniteDuration());
}

TEST(Pace, WhatRemainsIsWeighedByCostNotByNumber) {
  // Half of the trials are done, but they were nine tenths of the work.
  const Pace pace = PaceOf(Status(0, 100, 0, 1000), Status(50, 100, 900, 1000), absl::Minutes(9));
  EXPECT_EQ(pace.remaining, absl::Minutes(1));
  EXPECT_NEAR(pace.trials_per_second, 50.0 / 540, 1e-9);
}

TEST(Pace, WhatAnEarlierRunDidIsNotCredited) {
  const Pace pace =
      PaceOf(Status(80, 100, 800, 1000), Status(90, 100, 900, 1000), absl::Minutes(5));
  EXPECT_EQ(pace.remaining, absl::Minutes(5));
}

TEST(Pace, WithoutCostsTrialsCountAlike) {
  EXPECT_EQ(PaceOf(Status(0, 4), Status(1, 4), absl::Seconds(10)).remaining, absl::Seconds(30));
}

TEST(Pace, AFirstSmallTrialSaysNothingAboutTheRest) {
  // An edited sweep: 300 trials were done before, and of the four that run the smallest has ended.
  const auto before = Status(300, 304, 5000, 5100), now = Status(301, 304, 5000.1, 5100);
  EXPECT_EQ(PaceOf(before, now, absl::Seconds(2)).remaining, absl::InfiniteDuration());
  EXPECT_GT(PaceOf(before, now, absl::Seconds(2)).trials_per_second, 0);
  EXPECT_EQ(PaceOf(before, Status(302, 304, 5050, 5100), absl::Seconds(20)).remaining,
            absl::Seconds(20));
}

TEST(Progress, ANewRevisionIsReckonedFromItsOwnBeginning) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Progress progress(ends[1]);
  progress.Update(Status(0, 10), kStart);
  v1::RoadmapStatus edited = Status(300, 304, 5000, 5100);
  edited.set_revision(2);
  progress.Update(edited, kStart + absl::Seconds(10));
  progress.Finish(kStart + absl::Seconds(11));
  close(ends[1]);
  std::string text(1000, 0);
  text.resize(std::max<ssize_t>(0, read(ends[0], text.data(), text.size())));
  close(ends[0]);
  EXPECT_EQ(text, "saffron: 300/304 (98 %)\n") << "no pace: nothing of it has run yet";
}

TEST(ProgressText, SaysHowFarHowFastAndHowLong) {
  EXPECT_EQ(ProgressText(Status(102, 250), {}), "102/250 (40 %)");
  EXPECT_EQ(
      ProgressText(Status(102, 250), {.trials_per_second = 0.5, .remaining = absl::Seconds(61)}),
      "102/250 (40 %), 30.0/min, about 2 min left");
  EXPECT_EQ(ProgressText(Status(249, 250),
                         {.trials_per_second = 400, .remaining = absl::Milliseconds(1)}),
            "249/250 (99 %), 400/s, about 1 s left");
  EXPECT_EQ(ProgressText(Status(1, 2), {.trials_per_second = 0.001, .remaining = absl::Hours(25)}),
            "1/2 (50 %), 3.6/h, about 25 h 00 min left");
  EXPECT_EQ(ProgressText(Status(0, 0), {}), "0/0 (100 %)");
}

TEST(FindingsText, NamesTheBestAndCountsWhatWentWrong) {
  v1::RoadmapStatus status = Status(3, 9);
  EXPECT_EQ(FindingsText(status), "");
  status.set_metric("test/perplexity");
  status.set_has_best(true);
  status.set_best_value(103.94);
  status.set_best_trial(7);
  status.set_best_label("bits=128");
  status.set_failed(2);
  status.set_diverged(1);
  EXPECT_EQ(FindingsText(status),
            "best test/perplexity 103.9 (trial 7: bits=128), 1 diverged, 2 failed");
  status.set_paused("disk full");
  EXPECT_THAT(FindingsText(status), testing::EndsWith("PAUSED: disk full"));
}

TEST(Progress, OffATerminalItWritesLinesAndOnlyNewOnes) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    Progress progress(ends[1]);
    progress.Update(Status(0, 10), kStart);
    progress.Tick(kStart);
    progress.Update(Status(1, 10), kStart + absl::Seconds(1));
    progress.Tick(kStart + absl::Seconds(1));   // too soon
    progress.Tick(kStart + absl::Seconds(10));  // the first news
    progress.Tick(kStart + absl::Seconds(20));  // none
    progress.Message("a worker died");
    progress.Update(Status(10, 10), kStart + absl::Seconds(21));
    progress.Finish(kStart + absl::Seconds(21));
  }
  close(ends[1]);
  char text[4096] = {};
  ASSERT_GT(read(ends[0], text, sizeof(text) - 1), 0);
  close(ends[0]);
  EXPECT_STREQ(text,
               "saffron: 0/10 (0 %)\n"
               "saffron: 1/10 (10 %), 6.0/min, about 2 min left\n"
               "saffron: a worker died\n"
               "saffron: 10/10 (100 %), 28.6/min\n");
}

}  // namespace
}  // namespace saffron
