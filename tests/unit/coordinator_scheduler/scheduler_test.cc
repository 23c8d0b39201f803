#include "coordinator/scheduler/scheduler.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_scheduler/checked_scheduler.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr RoadmapId kRoadmap{1};
constexpr WorkerId kFirst{1}, kSecond{2};

TEST(SchedulerOrder, FirstSeedsBeforeSecondBaselineFirstThenLongWork) {
  Checked s;
  RoadmapChanged roadmap{.roadmap = kRoadmap};
  const auto add = [&](int64_t id, int replicate, bool baseline, int64_t position, double cost) {
    roadmap.trials.push_back({TrialId{id}, replicate, baseline, position, cost});
  };
  add(1, 0, true, 0, 1);
  add(2, 1, true, 0, 1);
  add(3, 0, false, 1, 5);
  add(4, 1, false, 1, 5);
  add(5, 0, false, 2, 50);
  add(6, 1, false, 2, 50);
  add(7, 0, false, 3, 5);
  s.Do(roadmap);
  s.Join(kFirst, 7);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 7)), ElementsAre(1, 5, 3, 7, 2, 6, 4));
}

TEST(SchedulerOrder, RoadmapsTakeTurns) {
  Checked s;
  s.Do(Roadmap(RoadmapId{1}, {1, 2, 3}));
  s.Do(Roadmap(RoadmapId{2}, {11, 12}));
  s.Join(kFirst, 5);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 5)), ElementsAre(1, 11, 2, 12, 3));
}

TEST(SchedulerOrder, ATrialOfTwoRoadmapsRunsOnce) {
  Checked s;
  s.Do(Roadmap(RoadmapId{1}, {1}));
  s.Do(Roadmap(RoadmapId{2}, {1}));
  s.Join(kFirst, 2);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst, 2)), ElementsAre(1));
  s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.scheduler.Counts(RoadmapId{1})->of(Outcome::kSucceeded), 1);
  EXPECT_EQ(s.scheduler.Counts(RoadmapId{2})->of(Outcome::kSucceeded), 1);
}

TEST(SchedulerAhead, ShortWorkIsLeasedAheadOfNeedAndLongWorkIsNot) {
  for (const bool is_short : {true, false}) {
    Checked s;
    RoadmapChanged roadmap = Roadmap(kRoadmap, {1, 2, 3, 4, 5, 6, 7, 8});
    for (WantedTrial& t : roadmap.trials) t.cost_seconds = is_short ? 0.1 : 10;
    s.Do(roadmap);
    s.Join(kFirst, 1);
    EXPECT_EQ(AssignedTrials(s.Ask(kFirst, 4)).size(), is_short ? 4u : 1u);
  }
}

TEST(SchedulerAhead, TheLastTrialsAreNotHoarded) {
  Checked s;
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1, 2, 3, 4});
  for (WantedTrial& t : roadmap.trials) t.cost_seconds = 0;
  s.Do(roadmap);
  s.Join(kFirst, 1);
  s.Join(kSecond, 1);
  EXPECT_EQ(AssignedTrials(s.Ask(kFirst, 4)).size(),
            2u);  // one ahead, then two are left for two slots
}

TEST(SchedulerFencing, ALateFailureFromAnExpiredLeaseChangesNothing) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(31));
  s.After(absl::Seconds(1));
  s.Join(kSecond);
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
  s.Join(kFirst);
  const Effects effects = s.Report(kFirst, Failed(1, 1, FailureClass::kError));
  ASSERT_EQ(effects.size(), 1u);
  EXPECT_FALSE(std::get<ReportAcknowledged>(effects[0]).accepted);
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerFencing, TheFirstCompleteResultWinsAlsoFromAnExpiredLease) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(32));
  s.After(absl::Seconds(2));
  s.Join(kSecond);
  s.Ask(kSecond);
  s.Join(kFirst);
  const Effects effects = s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.StateOf(1), "succeeded");
  const auto ended = Only<AttemptEnded>(effects);
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].attempt.number, 2);
  EXPECT_EQ(ended[0].outcome, Outcome::kCancelled);
  EXPECT_EQ(ended[1].attempt.number, 1);
  EXPECT_TRUE(ended[1].late);
  EXPECT_EQ(Only<AttemptAbandoned>(effects).size(), 1u);

  const Effects second = s.Report(kSecond, Succeeded(1, 2));
  ASSERT_EQ(second.size(), 1u);
  EXPECT_FALSE(std::get<ReportAcknowledged>(second[0]).accepted);
}

TEST(SchedulerFencing, DeliveringAResultTwiceChangesNothing) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  EXPECT_EQ(s.Report(kFirst, Succeeded(1, 1)).size(), 3u);
  EXPECT_EQ(s.Report(kFirst, Succeeded(1, 1)).size(), 1u);
  EXPECT_EQ(s.scheduler.Counts(kRoadmap)->of(Outcome::kSucceeded), 1);
}

TEST(SchedulerFencing, AnAttemptThatWasNeverMadeIsRefused) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  for (const AttemptReport& report : {Succeeded(1, 1), Succeeded(1, 0), Succeeded(9, 1)}) {
    const Effects effects = s.Report(kFirst, report);
    ASSERT_EQ(effects.size(), 1u);
    EXPECT_FALSE(std::get<ReportAcknowledged>(effects[0]).accepted);
  }
}

TEST(SchedulerLeases, ALostWorkersTrialRunsElsewhere) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  EXPECT_EQ(s.scheduler.NextDeadline(), s.now + absl::Seconds(30));
  EXPECT_THAT(s.After(absl::Seconds(29)), IsEmpty());
  const Effects lost = s.After(absl::Seconds(1));
  EXPECT_EQ(Only<AttemptEnded>(lost)[0].failure, FailureClass::kWorkerLost);
  EXPECT_FALSE(Only<WorkerLeft>(lost)[0].drained);
  EXPECT_FALSE(s.scheduler.HasWorker(kFirst));
  s.After(absl::Seconds(1));
  s.Join(kSecond);
  const auto assigned = Only<AttemptAssigned>(s.Ask(kSecond));
  ASSERT_EQ(assigned.size(), 1u);
  EXPECT_EQ(assigned[0].attempt.number, 2);
}

TEST(SchedulerLeases, AWorkerThatComesBackGoesOnWithWhatNobodyElseStarted) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}, {.max = {-1, 0, 0, 0, 0}}));
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(40));
  EXPECT_EQ(s.StateOf(1), "queued");
  s.Join(kFirst);
  const Effects back = s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}});
  EXPECT_EQ(Only<AttemptRecovered>(back).size(), 1u);
  EXPECT_EQ(s.StateOf(1), "leased");
  s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.StateOf(1), "succeeded");
}

TEST(SchedulerLeases, AWorkerThatComesBackTooLateDropsWhatAnotherStarted) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(31));
  s.After(absl::Seconds(2));
  s.Join(kSecond);
  s.Ask(kSecond);
  s.Join(kFirst);
  const Effects back = s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}});
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(std::get<AttemptAbandoned>(back[0]).worker, kFirst);
}

TEST(SchedulerLeases, AStalledCoordinatorBlamesNoWorker) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.now += absl::Minutes(10);
  s.Do(Stalled{});
  EXPECT_THAT(s.Do(Tick{}), IsEmpty());
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerLeases, ADrainedWorkerLeavesWithoutBeingLost) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  EXPECT_THAT(AssignedTrials(s.Do(WorkerSynced{.worker = kFirst, .want = 1, .draining = true})),
              IsEmpty());
  EXPECT_TRUE(Only<WorkerLeft>(s.After(absl::Seconds(30)))[0].drained);
}

TEST(SchedulerLostAnswers, AnAssignmentThatNeverArrivedIsToldAgain) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Join(kFirst);
  s.Ask(kFirst);
  const Effects again = s.Ask(kFirst);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(std::get<AttemptRepeated>(again[0]).attempt, (AttemptId{TrialId{1}, 1}));
}

TEST(SchedulerLostAnswers, AnAssignmentThatIsNoLongerWantedGoesBackWithoutCost) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}, {.max = {0, 0, 0, 0, 0}}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.Ask(kFirst, 0);
  EXPECT_EQ(s.StateOf(1), "queued");
  EXPECT_EQ(AssignedTrials(s.Ask(kFirst)).size(), 1u);
}

TEST(SchedulerRetries, EachClassHasItsOwnBudget) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}, {.max = {-1, 5, 1, 1, 0}}));
  s.Join(kFirst);
  int attempt = 0;
  const auto fail = [&](FailureClass failure) {
    s.After(absl::Seconds(20));
    EXPECT_EQ(AssignedTrials(s.Ask(kFirst)).size(), 1u);
    s.Report(kFirst, Failed(1, ++attempt, failure));
    return s.StateOf(1);
  };
  for (int i = 0; i < 10; ++i) EXPECT_EQ(fail(FailureClass::kPreempted), "queued");
  EXPECT_EQ(fail(FailureClass::kOutOfMemory), "queued");
  EXPECT_EQ(fail(FailureClass::kTimeout), "queued");
  EXPECT_EQ(fail(FailureClass::kOutOfMemory), "failed");
}

TEST(SchedulerRetries, AnErrorIsNotTriedAgainByDefault) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  const Effects effects = s.Report(kFirst, Failed(1, 1, FailureClass::kError));
  EXPECT_EQ(Only<TrialEnded>(effects)[0].failure, FailureClass::kError);
  EXPECT_EQ(Only<TrialEnded>(effects)[0].message, "why");
}

TEST(SchedulerRetries, RetriesWaitTwiceAsLongEachTimeAndHandBacksDoNotWait) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}, {.max = {-1, 5, 1, 1, 5}}));
  s.Join(kFirst);
  s.Ask(kFirst);
  auto queued = Only<TrialQueued>(s.Report(kFirst, Failed(1, 1, FailureClass::kError)));
  EXPECT_EQ(queued[0].ready_at, s.now + absl::Seconds(1));
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), IsEmpty());
  s.After(absl::Seconds(1));
  s.Ask(kFirst);
  queued = Only<TrialQueued>(s.Report(kFirst, Failed(1, 2, FailureClass::kError)));
  EXPECT_EQ(queued[0].ready_at, s.now + absl::Seconds(2));
  s.After(absl::Seconds(2));
  s.Ask(kFirst);
  queued = Only<TrialQueued>(s.Report(kFirst, Failed(1, 3, FailureClass::kPreempted)));
  EXPECT_EQ(queued[0].ready_at, absl::InfinitePast());
}

TEST(SchedulerRetries, AFailedTrialStillTakesTheResultThatTurnsUpAfterAll) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}, {.max = {-1, 0, 0, 0, 0}}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.After(absl::Seconds(30));
  EXPECT_EQ(s.StateOf(1), "failed");
  s.Join(kFirst);
  s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.StateOf(1), "succeeded");
}

TEST(SchedulerCancel, AQueuedTrialEndsAndARunningOneIsAbandoned) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Join(kFirst);
  s.Ask(kFirst);
  const Effects effects = s.Do(CancelRequested{.roadmap = kRoadmap, .reason = "enough"});
  EXPECT_EQ(Only<TrialEnded>(effects).size(), 2u);
  EXPECT_EQ(Only<AttemptAbandoned>(effects)[0].worker, kFirst);
  EXPECT_THAT(s.Do(CancelRequested{.roadmap = kRoadmap, .reason = "enough"}), IsEmpty());
  // The worker's result comes after all, and the user's word stands.
  s.Report(kFirst, Succeeded(1, 1));
  EXPECT_EQ(s.StateOf(1), "cancelled");
}

TEST(SchedulerCancel, ATrialThatAnotherRoadmapWantsGoesOn) {
  Checked s;
  s.Do(Roadmap(RoadmapId{1}, {1}));
  s.Do(Roadmap(RoadmapId{2}, {1}));
  s.Do(CancelRequested{.roadmap = RoadmapId{1}, .reason = "enough"});
  EXPECT_EQ(s.StateOf(1), "queued");
  EXPECT_EQ(s.scheduler.Counts(RoadmapId{1})->of(Outcome::kCancelled), 1);
  EXPECT_EQ(s.scheduler.Counts(RoadmapId{2})->queued, 1);
}

TEST(SchedulerCancel, ResumeQueuesCancelledAndFailedTrialsWithFreshBudgets) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2, 3}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.Report(kFirst, Failed(1, 1, FailureClass::kError));
  s.Ask(kFirst);
  s.Report(kFirst, Succeeded(2, 1));
  s.Do(CancelRequested{.roadmap = kRoadmap, .reason = "enough"});
  const auto queued =
      Only<TrialQueued>(s.Do(ResumeRequested{.roadmap = kRoadmap, .reason = "go on"}));
  ASSERT_EQ(queued.size(), 2u);
  EXPECT_TRUE(queued[0].fresh_budgets);
  EXPECT_EQ(s.StateOf(1), "queued");
  EXPECT_EQ(s.StateOf(2), "succeeded");
  EXPECT_EQ(s.StateOf(3), "queued");
  EXPECT_EQ(s.scheduler.FindTrial(TrialId{1})->failures, (std::array<int, 5>{}));
}

TEST(SchedulerRevisions, TrialsNoLongerNamedAreCancelledUnlessTheyRun) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2, 3}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.Do(Roadmap(kRoadmap, {3, 4}));
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_EQ(s.StateOf(2), "cancelled");
  EXPECT_EQ(s.StateOf(3), "queued");
  EXPECT_EQ(s.StateOf(4), "queued");
  // Nobody would want another attempt of the orphan.
  s.Report(kFirst, Failed(1, 1, FailureClass::kPreempted));
  EXPECT_EQ(s.StateOf(1), "cancelled");
  // Named again, it is wanted again.
  s.Do(Roadmap(kRoadmap, {2, 3, 4}));
  EXPECT_EQ(s.StateOf(2), "queued");
}

TEST(SchedulerRevisions, WhatAUserCancelledStaysCancelledInTheNextRevision) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1, 2}));
  s.Do(CancelRequested{.roadmap = kRoadmap, .trials = {{TrialId{1}}}, .reason = "enough"});
  s.Do(Roadmap(kRoadmap, {1, 2, 3}));
  EXPECT_EQ(s.StateOf(1), "cancelled");
}

TEST(SchedulerDeadline, WhatHasNotStartedByTheDeadlineIsCancelled) {
  Checked s;
  RoadmapChanged roadmap = Roadmap(kRoadmap, {1, 2});
  roadmap.policy.deadline = s.now + absl::Seconds(10);
  s.Do(roadmap);
  s.Join(kFirst);
  s.Ask(kFirst);
  EXPECT_EQ(s.scheduler.NextDeadline(), s.now + absl::Seconds(10));
  s.After(absl::Seconds(10));
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_EQ(s.StateOf(2), "cancelled");
  s.Report(kFirst, Failed(1, 1, FailureClass::kPreempted));
  EXPECT_EQ(s.StateOf(1), "cancelled");
  EXPECT_EQ(
      Only<DeadlineLifted>(s.Do(ResumeRequested{.roadmap = kRoadmap, .reason = "go on"})).size(),
      1u);
  EXPECT_EQ(s.StateOf(2), "queued");
}

TEST(SchedulerRestart, RunningAttemptsAreRecognisedAndGetOneGracePeriod) {
  Scheduler::Snapshot snapshot;
  snapshot.trials.push_back({.id = TrialId{1}, .attempts = 2, .state = Leased{kFirst, kRoadmap}});
  snapshot.trials.push_back({.id = TrialId{2}, .attempts = 1, .state = Leased{kSecond, kRoadmap}});
  snapshot.trials.push_back({.id = TrialId{3}, .state = Queued{}});
  snapshot.trials.push_back({.id = TrialId{4}, .attempts = 1, .state = Ended{Outcome::kSucceeded}});
  snapshot.roadmaps.push_back({.id = kRoadmap, .trials = Roadmap(kRoadmap, {1, 2, 3, 4}).trials});
  Checked s;
  s.scheduler = Scheduler({}, snapshot, s.now);
  s.ledger = EffectLedger(snapshot);
  EXPECT_THAT(FindViolations(s.scheduler), IsEmpty());
  s.After(absl::Seconds(20));
  s.Join(kFirst);
  EXPECT_THAT(s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 2}}}), IsEmpty());
  s.After(absl::Seconds(10));
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_EQ(s.StateOf(2), "queued");  // its worker was not heard of
  s.Report(kFirst, Succeeded(1, 2));
  EXPECT_EQ(s.StateOf(1), "succeeded");
}

TEST(SchedulerRestart, AWorkerThatNeverCameBackCostsItsTrialNoBudget) {
  Scheduler::Snapshot snapshot;
  snapshot.trials.push_back({.id = TrialId{1}, .attempts = 1, .state = Leased{kFirst, kRoadmap}});
  snapshot.roadmaps.push_back({.id = kRoadmap, .trials = Roadmap(kRoadmap, {1}).trials});
  snapshot.roadmaps[0].policy.retry.max = {-1, 0, 0, 0, 0};
  Checked s;
  s.scheduler = Scheduler({}, snapshot, s.now);
  s.ledger = EffectLedger(snapshot);
  EXPECT_EQ(Only<AttemptEnded>(s.After(absl::Seconds(30)))[0].failure, FailureClass::kPreempted);
  EXPECT_EQ(s.StateOf(1), "queued");
  // It was only slow to come back.
  s.Join(kFirst);
  s.Do(WorkerSynced{.worker = kFirst, .running = {{TrialId{1}, 1}}});
  EXPECT_EQ(s.StateOf(1), "leased");
}

TEST(SchedulerLeases, AWorkerKnownToHaveEndedIsNotWaitedFor) {
  Checked s;
  s.Do(Roadmap(kRoadmap, {1}));
  s.Join(kFirst);
  s.Ask(kFirst);
  EXPECT_EQ(Only<AttemptEnded>(s.Do(WorkerGone{kFirst}))[0].failure, FailureClass::kWorkerLost);
  EXPECT_FALSE(s.scheduler.HasWorker(kFirst));
  EXPECT_THAT(s.Do(WorkerGone{kFirst}), IsEmpty());
}

TEST(SchedulerScale, AHundredThousandTrialsRunThroughAThousandWorkers) {
  Scheduler scheduler({});
  const absl::Time now = absl::UnixEpoch();
  RoadmapChanged roadmap{.roadmap = kRoadmap};
  for (int64_t i = 0; i < 100'000; ++i) {
    roadmap.trials.push_back(
        {.trial = TrialId{i + 1}, .replicate = static_cast<int>(i % 3), .position = i / 3});
  }
  scheduler.Apply(roadmap, now);
  for (int64_t w = 1; w <= 1000; ++w) scheduler.Apply(WorkerJoined{WorkerId{w}, 1}, now);
  std::vector<std::vector<AttemptReport>> done(1001);
  for (int round = 0; round < 110; ++round) {
    for (int64_t w = 1; w <= 1000; ++w) {
      const Effects effects = scheduler.Apply(
          WorkerSynced{.worker = WorkerId{w}, .finished = std::move(done[w]), .want = 1}, now);
      done[w].clear();
      for (const AttemptAssigned& e : Only<AttemptAssigned>(effects)) {
        done[w].push_back({.attempt = e.attempt, .outcome = Outcome::kSucceeded});
      }
    }
  }
  EXPECT_EQ(scheduler.Counts(kRoadmap)->of(Outcome::kSucceeded), 100'000);
  EXPECT_THAT(FindViolations(scheduler), IsEmpty());
}

}  // namespace
}  // namespace saffron
