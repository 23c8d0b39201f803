// Workers whose connection broke: others take over their trials only where they have nothing longer
// to do.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_scheduler/checked_scheduler.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RoadmapId kRoadmap{1};
constexpr WorkerId kFirst{1}, kSecond{2};
constexpr absl::Duration kGrace = absl::Seconds(3), kBackoff = absl::Seconds(1);

// Each of two workers runs a trial; the first one's connection breaks.
struct Broken {
  Checked s{{.grace = kGrace, .backoff = kBackoff}};

  explicit Broken(std::vector<int64_t> trials) {
    s.Do(Roadmap(kRoadmap, trials));
    for (WorkerId worker : {kFirst, kSecond}) {
      s.Join(worker);
      s.Ask(worker);
    }
    EXPECT_THAT(s.Do(WorkerUnreachable{kFirst}), IsEmpty());
  }
};

TEST(SchedulerDoubt, AnIdleWorkerTakesOverAfterAMoment) {
  Broken broken({1, 2});
  Checked& s = broken.s;
  s.Report(kSecond, Succeeded(2, 1));
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), IsEmpty());
  EXPECT_EQ(s.scheduler.NextDeadline(), s.now + kGrace);
  EXPECT_THAT(Only<WorkerLeft>(s.After(kGrace)), SizeIs(1));
  s.After(kBackoff);
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
}

TEST(SchedulerDoubt, SoDoesOneThatBecomesIdleLater) {
  Broken broken({1, 2});
  Checked& s = broken.s;
  EXPECT_THAT(s.After(2 * kGrace), IsEmpty());
  EXPECT_GT(s.scheduler.NextDeadline(), s.now) << "it does not turn in circles";
  EXPECT_THAT(Only<WorkerLeft>(s.Report(kSecond, Succeeded(2, 1), 1)), SizeIs(1));
  s.After(kBackoff);
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
}

TEST(SchedulerDoubt, ALongTrialIsTakenOverBeforeShorterOnesBegin) {
  Checked s{{.grace = kGrace, .backoff = kBackoff}};
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1, 2, 3, 4});
  roadmap.trials[0].cost_seconds = 60;
  s.Do(roadmap);
  for (WorkerId worker : {kFirst, kSecond}) {
    s.Join(worker);
    s.Ask(worker);
  }
  s.Do(WorkerUnreachable{kFirst});
  EXPECT_THAT(AssignedTrials(s.Report(kSecond, Succeeded(2, 1), 1)), ElementsAre(3)) << "too soon";
  s.After(kGrace);
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_THAT(AssignedTrials(s.Report(kSecond, Succeeded(3, 1), 1)), ElementsAre(4));
  EXPECT_EQ(s.StateOf(1), "queued");
}

TEST(SchedulerDoubt, WhileThereIsOtherWorkItKeepsItsTrials) {
  Broken broken({1, 2, 3, 4});
  Checked& s = broken.s;
  s.After(2 * kGrace);
  EXPECT_THAT(AssignedTrials(s.Report(kSecond, Succeeded(2, 1), 1)), ElementsAre(3));
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerDoubt, OneThatComesBackInTimeIsNotDoubted) {
  Broken broken({1, 2});
  Checked& s = broken.s;
  s.After(kGrace / 2);
  s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}});
  EXPECT_THAT(s.Report(kSecond, Succeeded(2, 1), 1), testing::Not(IsEmpty()));
  EXPECT_THAT(s.After(2 * kGrace), IsEmpty());
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerDoubt, OneThatComesBackBeforeItsTrialWasTakenOverGoesOn) {
  Broken broken({1, 2});
  Checked& s = broken.s;
  s.Report(kSecond, Succeeded(2, 1));
  s.After(kGrace);
  s.Join(kFirst);
  EXPECT_THAT(
      Only<AttemptRecovered>(s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}})),
      SizeIs(1));
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerDoubt, ItsLeaseEndsAsEver) {
  Broken broken({1, 2, 3});
  Checked& s = broken.s;
  s.After(absl::Seconds(20));
  s.Do(WorkerSynced{.worker = kSecond, .running = {{TrialId{2}, 1}}});
  EXPECT_THAT(Only<WorkerLeft>(s.After(absl::Seconds(10))), SizeIs(1));
  EXPECT_EQ(s.StateOf(1), "queued");
}

}  // namespace
}  // namespace saffron
