// Pausing, priorities, draining, machines that fail, trials that end their workers, and trials that
// start from other trials.

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_scheduler/checked_scheduler.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RoadmapId kRoadmap{1}, kOther{2};
constexpr WorkerId kFirst{1}, kSecond{2}, kThird{3}, kFourth{4};

std::vector<int64_t> Numbers(int64_t first, int count) {
  std::vector<int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

// ---- Pausing

TEST(SchedulerPause, NothingOfAPausedRoadmapStartsAndWhatRunsGoesOn) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Join(kFirst, 2);
  s.Ask(kFirst, 1);
  EXPECT_THAT(Only<PauseChanged>(s.Do(PauseRequested{kRoadmap, "lunch"})), SizeIs(1));
  EXPECT_THAT(s.Do(PauseRequested{kRoadmap, "lunch"}), IsEmpty()) << "twice is once";
  EXPECT_THAT(AssignedTrials(s.Report(kFirst, Succeeded(1, 1), 1)), IsEmpty());
  EXPECT_EQ(s.StateOf(1), "succeeded");
  EXPECT_FALSE(s.scheduler.HasReady());
  s.Do(PauseRequested{kRoadmap, std::nullopt});
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 1)), ElementsAre(2));
}

TEST(SchedulerPause, ASharedTrialRunsForTheRoadmapThatIsNotPaused) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Do(Roadmap(kOther, {2}));
  s.Join(kFirst, 2);
  s.Do(PauseRequested{kRoadmap, ""});
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 2)), ElementsAre(2));
}

// ---- Priorities

// Trials of each roadmap that run when `slots` are full.
std::map<int64_t, int> Shares(Checked& s, int slots) {
  std::map<int64_t, int> shares;
  s.Join(kFirst, slots);
  for (const AttemptAssigned& e : Only<AttemptAssigned>(s.Ask(kFirst, slots))) {
    ++shares[e.roadmap.value];
  }
  return shares;
}

TEST(SchedulerPriority, SlotsAreSharedInProportion) {
  Checked s;
  s.Do(Roadmap(kRoadmap, Numbers(1, 40)));
  s.Do(Roadmap(kOther, Numbers(101, 40)));
  s.Do(PriorityRequested{kOther, 3});
  EXPECT_THAT(Shares(s, 16), ElementsAre(std::pair(1, 4), std::pair(2, 12)));
}

TEST(SchedulerPriority, ASmallShareIsNotNone) {
  Checked s;
  s.Do(Roadmap(kRoadmap, Numbers(1, 4)));
  s.Do(Roadmap(kOther, Numbers(101, 40)));
  s.Do(PriorityRequested{kOther, 1000});
  EXPECT_EQ(Shares(s, 16)[1], 1);
}

TEST(SchedulerPriority, SlotsThatOneRoadmapCannotUseGoToTheOther) {
  Checked s;
  s.Do(Roadmap(kRoadmap, Numbers(1, 40)));
  s.Do(Roadmap(kOther, Numbers(101, 2)));
  s.Do(PriorityRequested{kOther, 100});
  EXPECT_THAT(Shares(s, 8), ElementsAre(std::pair(1, 6), std::pair(2, 2)));
}

TEST(SchedulerPriority, TheSharesHoldOverTimeWhileTrialsComeAndGo) {
  Checked s;
  s.Do(Roadmap(kRoadmap, Numbers(1, 90)));
  s.Do(Roadmap(kOther, Numbers(101, 90)));
  s.Do(PriorityRequested{kOther, 2});
  s.Join(kFirst, 3);
  std::vector<AttemptId> running;
  std::map<int64_t, int> done;
  for (int i = 0; i < 60; ++i) {
    WorkerSynced sync{.worker = kFirst, .want = running.empty() ? 3 : 1};
    if (!running.empty()) {
      sync.finished = {Succeeded(running[0].trial.value, running[0].number)};
      running.erase(running.begin());
    }
    sync.running = running;
    for (const AttemptAssigned& e : Only<AttemptAssigned>(s.Do(sync))) {
      running.push_back(e.attempt);
      ++done[e.roadmap.value];
    }
  }
  EXPECT_NEAR(done[2], 2 * done[1], 2);
}

// ---- Draining

TEST(SchedulerDrain, ADrainedWorkerFinishesWhatItHasAndMayLeave) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Join(kFirst);
  s.Ask(kFirst);
  EXPECT_THAT(Only<DrainChanged>(s.Do(DrainRequested{kFirst, "reboot"})), SizeIs(1));
  EXPECT_FALSE(s.scheduler.MayLeave(kFirst));
  EXPECT_THAT(AssignedTrials(s.Report(kFirst, Succeeded(1, 1), 1)), IsEmpty());
  EXPECT_TRUE(s.scheduler.MayLeave(kFirst));
  EXPECT_EQ(s.scheduler.fleet().barred, 1);
  s.Do(DrainRequested{kFirst, std::nullopt});
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), ElementsAre(2));
}

TEST(SchedulerDrain, ADrainedWorkerIsDrainedAfterARestart) {
  Scheduler::Snapshot snapshot{.trials = {{.id = TrialId{1}, .state = Queued{}}},
                               .roadmaps = {{.id = kRoadmap, .trials = {{TrialId{1}}}}},
                               .drained = {{kFirst, "reboot"}}};
  Checked s;
  s.ledger = EffectLedger(snapshot);
  s.scheduler = Scheduler({}, snapshot, s.now);
  s.Join(kFirst);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), IsEmpty());
  s.Join(kSecond);
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
}

TEST(SchedulerDrain, AWorkerThatWasGivenUpAndComesBackIsStillDrained) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Do(DrainRequested{kFirst, "reboot"});
  s.After(absl::Minutes(1));
  EXPECT_FALSE(s.scheduler.HasWorker(kFirst));
  s.Do(WorkerJoined{.worker = kFirst, .drained = "reboot"});
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), IsEmpty());
  EXPECT_EQ(s.scheduler.ViewWorker(kFirst)->drained, "reboot");
}

// ---- Machines

TEST(ChanceOfFailures, IsTheTailOfTheHypergeometricDistribution) {
  // Fisher's tea: all four cups right of eight, 1 in 70; three or four of them, 17 in 70.
  EXPECT_NEAR(ChanceOfFailures(4, 0, 0, 4), 1.0 / 70, 1e-12);
  EXPECT_NEAR(ChanceOfFailures(3, 1, 1, 3), 17.0 / 70, 1e-12);
  EXPECT_NEAR(ChanceOfFailures(0, 5, 3, 9), 1, 1e-12);
  EXPECT_NEAR(ChanceOfFailures(0, 0, 0, 0), 1, 1e-12);
  EXPECT_NEAR(ChanceOfFailures(5, 0, 5, 0), 1, 1e-12) << "everything fails everywhere";
  EXPECT_LT(ChanceOfFailures(470, 0, 0, 30), 1e-40);
}

// Two machines; the bad one fails `bad` trials in a row after the good one passed `good`.
struct Fleet {
  Checked s;
  int64_t next = 1;

  explicit Fleet(int trials) {
    s.Do(Roadmap(kRoadmap, Numbers(1, trials), {.max = {-1, 0, 0, 0, 0}}));
    s.Join(kFirst, 1, "good");
    s.Join(kSecond, 1, "bad");
  }
  void Pass(WorkerId worker) {
    const std::vector<int64_t> trials = AssignedTrials(s.Ask(worker));
    ASSERT_THAT(trials, SizeIs(1));
    s.Report(worker, Succeeded(trials[0], s.scheduler.FindTrial(TrialId{trials[0]})->attempts));
  }
  Effects Fail(WorkerId worker, FailureClass failure = FailureClass::kOutOfMemory) {
    const std::vector<int64_t> trials = AssignedTrials(s.Ask(worker));
    if (trials.empty()) return {};
    return s.Report(
        worker, Failed(trials[0], s.scheduler.FindTrial(TrialId{trials[0]})->attempts, failure));
  }
};

TEST(SchedulerNodes, AMachineThatFailsFarMoreThanTheRestGetsNoMoreWork) {
  Fleet fleet(100);
  for (int i = 0; i < 20; ++i) fleet.Pass(kFirst);
  int failed = 0;
  std::vector<StandingChanged> changes;
  while (changes.empty() && failed < 50) {
    changes = Only<StandingChanged>(fleet.Fail(kSecond));
    ++failed;
  }
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].host, "bad");
  EXPECT_EQ(changes[0].standing, Standing::kQuarantined);
  EXPECT_THAT(changes[0].reason, HasSubstr("0 of 20 elsewhere"));
  EXPECT_LT(failed, 8) << "4 of 4 against 0 of 20 is 1 in 10,626";
  EXPECT_THAT(AssignedTrials(fleet.s.Ask(kSecond)), IsEmpty());
}

TEST(SchedulerNodes, TrialsThatFailedOnlyOnTheBadMachineAreTriedElsewhere) {
  Fleet fleet(60);
  for (int i = 0; i < 20; ++i) fleet.Pass(kFirst);
  while (Only<StandingChanged>(fleet.Fail(kSecond)).empty()) {
  }
  EXPECT_EQ(fleet.s.scheduler.Counts(kRoadmap)->of(Outcome::kFailed), 0);
  for (int i = 0; i < 40; ++i) fleet.Pass(kFirst);
  EXPECT_EQ(fleet.s.scheduler.Counts(kRoadmap)->of(Outcome::kSucceeded), 60);
}

TEST(SchedulerNodes, WhatABadMachineStillRanWhenItWasQuarantinedIsTriedElsewhereToo) {
  Fleet fleet(60);
  fleet.s.Join(kThird, 1, "bad");
  const std::vector<int64_t> running = AssignedTrials(fleet.s.Ask(kThird));
  ASSERT_THAT(running, SizeIs(1));
  for (int i = 0; i < 20; ++i) fleet.Pass(kFirst);
  while (Only<StandingChanged>(fleet.Fail(kSecond)).empty()) {
  }
  fleet.s.Report(kThird, Failed(running[0], 1, FailureClass::kOutOfMemory));
  EXPECT_EQ(fleet.s.StateOf(running[0]), "queued");
  EXPECT_EQ(fleet.s.scheduler.Counts(kRoadmap)->of(Outcome::kFailed), 0);
}

TEST(SchedulerNodes, TrialsThatFailEverywhereAreNoMachinesFault) {
  Fleet fleet(220);
  for (int i = 0; i < 60; ++i) {
    fleet.Pass(kFirst);
    fleet.Pass(kSecond);
    EXPECT_THAT(Only<StandingChanged>(fleet.Fail(kFirst)), IsEmpty());
    if (i % 2 == 0) {
      EXPECT_THAT(Only<StandingChanged>(fleet.Fail(kSecond)), IsEmpty());
    }
  }
}

TEST(SchedulerNodes, TheOnlyMachineIsKept) {
  Fleet fleet(100);
  for (int i = 0; i < 20; ++i) fleet.Pass(kFirst);
  fleet.s.Do(WorkerGone{kFirst});
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Only<StandingChanged>(fleet.Fail(kSecond)), IsEmpty());
}

TEST(SchedulerNodes, HandedBackTrialsAndLostWorkersBlameNobody) {
  Fleet fleet(100);
  for (int i = 0; i < 30; ++i) fleet.Pass(kFirst);
  for (int i = 0; i < 30; ++i) {
    EXPECT_THAT(Only<StandingChanged>(fleet.Fail(kSecond, FailureClass::kPreempted)), IsEmpty());
  }
}

TEST(SchedulerNodes, APersonMayOverrule) {
  Fleet fleet(100);
  for (int i = 0; i < 20; ++i) fleet.Pass(kFirst);
  while (Only<StandingChanged>(fleet.Fail(kSecond)).empty()) {
  }
  fleet.s.Do(StandingRequested{"bad", Standing::kTrusted, "I like it"});
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Only<StandingChanged>(fleet.Fail(kSecond)), IsEmpty());
  EXPECT_THAT(AssignedTrials(fleet.s.Ask(kSecond)), SizeIs(1));
}

// ---- Trials that end their workers

TEST(SchedulerPoison, ATrialLostWithThreeDifferentWorkersIsGivenUp) {
  Checked s;
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1}, {.max = {-1, -1, 0, 0, 0}});
  roadmap.policy.poison = 3;
  s.Do(roadmap);
  for (WorkerId worker : {kFirst, kSecond, kThird}) {
    s.Join(worker);
    s.After(absl::Minutes(2));
    s.Join(worker);
    ASSERT_THAT(AssignedTrials(s.Ask(worker)), ElementsAre(1));
    const Effects effects = s.Do(WorkerGone{worker});
    const std::vector<TrialEnded> ended = Only<TrialEnded>(effects);
    if (worker != kThird) {
      EXPECT_THAT(ended, IsEmpty());
      continue;
    }
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_EQ(ended[0].failure, FailureClass::kWorkerLost);
    EXPECT_THAT(ended[0].message, HasSubstr("3 different workers"));
  }
  s.Do(ResumeRequested{.roadmap = kRoadmap});
  s.Join(kFourth);
  EXPECT_THAT(AssignedTrials(s.Ask(kFourth)), ElementsAre(1)) << "a person may try again";
  EXPECT_THAT(Only<TrialEnded>(s.Do(WorkerGone{kFourth})), IsEmpty()) << "and starts from one";
}

TEST(SchedulerPoison, AWorkerThatComesBackWithTheTrialDidNotDieOfIt) {
  Checked s;
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1}, {.max = {-1, -1, 0, 0, 0}});
  roadmap.policy.poison = 2;
  s.Do(roadmap);
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(31));  // silent for a lease
  s.Join(kFirst);
  s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}});
  s.After(absl::Seconds(31));
  s.After(absl::Minutes(2));
  s.Join(kSecond);
  ASSERT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
  s.Do(WorkerSynced{.worker = kSecond, .running = {{TrialId{1}, 2}}});
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_EQ(s.scheduler.FindTrial(TrialId{1})->lost_with, std::vector<WorkerId>{kFirst});
}

TEST(SchedulerPoison, ZeroMeansNever) {
  Checked s;
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1}, {.max = {-1, -1, 0, 0, 0}});
  roadmap.policy.poison = 0;
  s.Do(roadmap);
  for (int64_t w = 1; w <= 10; ++w) {
    s.After(absl::Minutes(2));
    s.Join(WorkerId{w});
    ASSERT_THAT(AssignedTrials(s.Ask(WorkerId{w})), ElementsAre(1));
    EXPECT_THAT(Only<TrialEnded>(s.Do(WorkerGone{WorkerId{w}})), IsEmpty());
  }
}

// ---- Trials that start from other trials

// Trial i + 1 starts from trial i.
RoadmapChanged Chain(RoadmapId roadmap, int length) {
  RoadmapChanged event = Roadmap(roadmap, Numbers(1, length));
  for (int i = 1; i < length; ++i) event.trials[i].parent = TrialId{i};
  return event;
}

TEST(SchedulerParents, AChildWaitsForItsParentsSuccess) {
  Checked s;
  s.Do(Chain(kRoadmap, 3));
  s.Join(kFirst, 3);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 3)), ElementsAre(1));
  EXPECT_THAT(AssignedTrials(s.Report(kFirst, Succeeded(1, 1), 3)), ElementsAre(2));
  EXPECT_EQ(s.StateOf(3), "queued");
  EXPECT_THAT(AssignedTrials(s.Report(kFirst, Succeeded(2, 1), 3)), ElementsAre(3));
}

TEST(SchedulerParents, AParentComesBeforeLongerTrialsThatNobodyWaitsFor) {
  Checked s;
  RoadmapChanged roadmap = Chain(kRoadmap, 3);
  roadmap.trials.push_back({.trial = TrialId{9}, .position = 9, .cost_seconds = 25});
  s.Do(roadmap);
  s.Join(kFirst, 2);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 2)), ElementsAre(1, 9));
}

TEST(SchedulerParents, AFailedParentCancelsWhatWaitsForItAndARetryTakesItUpAgain) {
  Checked s;
  s.Do(Chain(kRoadmap, 3));
  s.Join(kFirst, 3);
  s.Ask(kFirst);
  const std::vector<TrialEnded> ended =
      Only<TrialEnded>(s.Report(kFirst, Failed(1, 1, FailureClass::kError)));
  ASSERT_THAT(ended, SizeIs(3));
  EXPECT_THAT(ended[1].message, HasSubstr("trial 1, failed"));
  EXPECT_TRUE(ended[1].orphaned);
  EXPECT_EQ(s.StateOf(3), "cancelled");
  s.Do(ResumeRequested{.roadmap = kRoadmap, .trials = {{TrialId{1}}}});
  EXPECT_EQ(s.StateOf(2), "queued");
  EXPECT_EQ(s.StateOf(3), "queued");
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 3)), ElementsAre(1));
}

TEST(SchedulerParents, ResumingAChildResumesWhatItStartsFrom) {
  Checked s;
  s.Do(Chain(kRoadmap, 3));
  s.Join(kFirst, 3);
  s.Do(CancelRequested{.roadmap = kRoadmap});
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 3)), IsEmpty());
  s.Do(ResumeRequested{.roadmap = kRoadmap, .trials = {{TrialId{3}}}});
  EXPECT_EQ(s.StateOf(1), "queued");
  EXPECT_EQ(s.StateOf(3), "queued");
}

TEST(SchedulerParents, ADivergedParentIsTheEndOfItsChildren) {
  Checked s;
  s.Do(Chain(kRoadmap, 2));
  s.Join(kFirst);
  s.Ask(kFirst);
  AttemptReport diverged = Succeeded(1, 1);
  diverged.outcome = Outcome::kDiverged;
  s.Report(kFirst, diverged);
  EXPECT_EQ(s.StateOf(2), "cancelled");
  s.Do(ResumeRequested{.roadmap = kRoadmap});
  EXPECT_EQ(s.StateOf(2), "cancelled") << "there is no model to start from";
}

TEST(SchedulerParents, AResultThatTurnsUpAfterAllReleasesTheOrphans) {
  Checked s;
  RoadmapChanged roadmap = Chain(kRoadmap, 2);
  roadmap.policy.retry.max = {-1, 0, 0, 0, 0};
  s.Do(roadmap);
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(31));
  EXPECT_EQ(s.StateOf(2), "cancelled");
  s.Join(kFirst);
  s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.StateOf(2), "queued");
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), ElementsAre(2));
}

TEST(SchedulerParents, ANewChildOfASucceededParentStartsAtOnceAndOfAFailedOneNot) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.Report(kFirst, Succeeded(1, 1));
  s.Ask(kFirst);
  s.Report(kFirst, Failed(2, 1, FailureClass::kError));
  RoadmapChanged edited = Roadmap(kRoadmap, {1, 2, 3, 4});
  edited.trials[2].parent = TrialId{1};
  edited.trials[3].parent = TrialId{2};
  s.Do(edited);
  EXPECT_EQ(s.StateOf(4), "cancelled");
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), ElementsAre(3));
}

TEST(SchedulerParents, HoldsAreTheSameAfterARestart) {
  Scheduler::Snapshot snapshot{
      .trials = {{.id = TrialId{1}, .attempts = 1, .state = Ended{Outcome::kFailed}},
                 {.id = TrialId{2},
                  .state = Ended{Outcome::kCancelled, true},
                  .parent = TrialId{1}},
                 {.id = TrialId{3}, .state = Queued{}},
                 {.id = TrialId{4}, .state = Queued{}, .parent = TrialId{3}}},
      .roadmaps = {{.id = kRoadmap, .trials = Chain(kRoadmap, 4).trials}}};
  Checked s;
  s.ledger = EffectLedger(snapshot);
  s.scheduler = Scheduler({}, snapshot, s.now);
  s.Join(kFirst, 4);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 4)), ElementsAre(3));
  s.Report(kFirst, Succeeded(3, 1));
  s.Do(ResumeRequested{.roadmap = kRoadmap});
  EXPECT_EQ(s.StateOf(2), "queued");
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 4)), ElementsAre(1, 4));
}

}  // namespace
}  // namespace saffron
