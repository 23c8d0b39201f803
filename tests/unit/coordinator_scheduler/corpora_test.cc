// Workers that cannot open what a trial reads.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_scheduler/checked_scheduler.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr RoadmapId kRoadmap{1}, kOther{2};
constexpr WorkerId kFirst{1}, kSecond{2};
constexpr CorpusId kTales{7}, kLetters{8};
const Missing kNoTales{.named = {kTales}};

// Trials 1, 2, ...: what each reads. No failure is forgiven.
RoadmapChanged Reading(RoadmapId roadmap, std::vector<CorpusId> corpora, int64_t first = 1) {
  RoadmapChanged event = Roadmap(roadmap, {}, {.max = {0, 0, 0, 0, 0}});
  for (CorpusId corpus : corpora) {
    const auto position = static_cast<int64_t>(event.trials.size());
    event.trials.push_back({.trial = TrialId{first + position},
                            .position = position,
                            .cost_seconds = 10,
                            .needs = corpus});
  }
  return event;
}

AttemptReport NoCorpus(int64_t trial, int attempt) {
  AttemptReport report = Failed(trial, attempt, FailureClass::kError);
  report.no_corpus = true;
  return report;
}

Effects AskWithout(Checked& s, WorkerId worker, int want = 1, const Missing& missing = kNoTales) {
  return s.Do(WorkerSynced{.worker = worker, .want = want, .missing = missing});
}

Effects HandBack(Checked& s, WorkerId worker, int64_t trial, int attempt, int want = 0) {
  return s.Do(WorkerSynced{
      .worker = worker, .finished = {NoCorpus(trial, attempt)}, .want = want, .missing = kNoTales});
}

TEST(SchedulerCorpora, ATrialWhoseCorpusIsNotThereIsChargedNothing) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales}));
  s.Join(kFirst, 1, "here");
  for (int attempt = 1; attempt <= 5; ++attempt) {
    EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), ElementsAre(1)) << "it says that it found it";
    const Effects effects = HandBack(s, kFirst, 1, attempt);
    const auto ended = Only<AttemptEnded>(effects);
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_EQ(ended[0].outcome, Outcome::kCancelled);
    EXPECT_FALSE(ended[0].failure.has_value());
    EXPECT_EQ(Only<TrialQueued>(effects)[0].ready_at, absl::InfinitePast()) << "at once";
  }
  EXPECT_EQ(s.StateOf(1), "queued");
  EXPECT_THAT(s.scheduler.FindTrial(TrialId{1})->failures, ElementsAre(0, 0, 0, 0, 0));
  EXPECT_EQ(s.scheduler.nodes().Find("here"), nullptr) << "nor is it held against the machine";
}

TEST(SchedulerCorpora, AWorkerGetsNoTrialsOfWhatItLacksButOfEverythingElse) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales, kTales, kLetters, CorpusId{}}));
  s.Join(kFirst, 4);
  s.Join(kSecond, 4);
  EXPECT_THAT(AssignedTrials(AskWithout(s, kFirst, 4)), ElementsAre(3, 4));
  EXPECT_FALSE(s.scheduler.HasReadyFor(kFirst));
  EXPECT_TRUE(s.scheduler.HasReadyFor(kSecond));
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond, 1)), ElementsAre(1));
  const Effects found = s.Do(
      WorkerSynced{.worker = kFirst, .running = {{TrialId{3}, 1}, {TrialId{4}, 1}}, .want = 1});
  EXPECT_THAT(AssignedTrials(found), ElementsAre(2)) << "once it is there";
}

TEST(SchedulerCorpora, AWorkerThatLacksMoreThanItCanNameGetsWhatReadsNothing) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales, kLetters, CorpusId{}}));
  s.Join(kFirst, 4);
  EXPECT_THAT(AssignedTrials(AskWithout(s, kFirst, 4, {.named = {kTales}, .more = true})),
              ElementsAre(3));
}

TEST(SchedulerCorpora, ARoadmapThatAWorkerCannotServeDoesNotBlockAnother) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales, kTales}));
  s.Do(Reading(kOther, {kLetters, kLetters}, 11));
  s.Join(kFirst, 2);
  EXPECT_THAT(AssignedTrials(AskWithout(s, kFirst, 2)), ElementsAre(11, 12));
}

TEST(SchedulerCorpora, TheHandedBackGoToTheWorkerThatHasIt) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales, kTales}));
  s.Join(kFirst);
  s.Join(kSecond);
  s.Ask(kFirst);
  EXPECT_THAT(AssignedTrials(HandBack(s, kFirst, 1, 1, 1)), IsEmpty());
  EXPECT_THAT(AssignedTrials(s.Do(WorkerWaiting{kFirst, 1})), IsEmpty());
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), ElementsAre(1));
  EXPECT_THAT(AssignedTrials(s.Report(kSecond, Succeeded(1, 2), 1)), ElementsAre(2));
}

TEST(SchedulerCorpora, AnAssignmentThatGotLostIsNotToldAgainToAWorkerThatLacksIt) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales}));
  s.Join(kFirst);
  s.Ask(kFirst);
  const Effects effects = AskWithout(s, kFirst);
  EXPECT_THAT(Only<AttemptRepeated>(effects), IsEmpty());
  EXPECT_EQ(s.StateOf(1), "queued");
}

TEST(SchedulerCorpora, AnotherProcessIsAskedAnew) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales}));
  s.Join(kFirst);
  EXPECT_THAT(AssignedTrials(AskWithout(s, kFirst)), IsEmpty());
  s.Join(kFirst);
  EXPECT_THAT(AssignedTrials(s.Ask(kFirst)), ElementsAre(1));
}

TEST(SchedulerCorpora, WhatACancelledTrialLackedIsNoReasonToQueueItAgain) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales}));
  s.Join(kFirst);
  s.Ask(kFirst);
  s.Do(CancelRequested{.roadmap = kRoadmap, .reason = "enough"});
  HandBack(s, kFirst, 1, 1);
  EXPECT_EQ(s.StateOf(1), "cancelled");
}

// Longer ago than the grace, while the second worker idles without the corpora.
void LoseTheFirst(Checked& s) {
  s.Join(kFirst);
  s.Join(kSecond);
  s.Ask(kFirst);
  AskWithout(s, kSecond);
  s.Do(WorkerUnreachable{kFirst});
  s.After(absl::Seconds(4));
}

// A worker whose connection broke keeps what idle ones cannot do anyway.
TEST(SchedulerCorpora, IdleWorkersTakeOverOnlyWhatTheyCanOpen) {
  Checked s({.lease = absl::Seconds(30), .grace = absl::Seconds(3)});
  s.Do(Reading(kRoadmap, {kTales}));
  LoseTheFirst(s);
  EXPECT_EQ(s.StateOf(1), "leased");
  AskWithout(s, kSecond);
  EXPECT_EQ(s.StateOf(1), "leased");
  EXPECT_THAT(AssignedTrials(s.Ask(kSecond)), IsEmpty()) << "it backs off";
  EXPECT_EQ(s.StateOf(1), "failed") << "without a budget for lost workers";
}

TEST(SchedulerCorpora, IdleWorkersTakeOverWhileOthersTrialsWaitForTheirCorpus) {
  Checked s({.lease = absl::Seconds(30), .grace = absl::Seconds(3)});
  RoadmapChanged roadmap = Reading(kRoadmap, {kLetters, kTales});
  roadmap.policy.retry = {};
  s.Do(roadmap);
  LoseTheFirst(s);
  EXPECT_EQ(s.StateOf(1), "queued");
}

TEST(SchedulerCorpora, WhoCouldRunATrialAndWhatWaits) {
  Checked s;
  s.Do(Reading(kRoadmap, {kTales, kTales, kLetters}));
  s.Join(kFirst, 2);
  s.Join(kSecond, 1);
  AskWithout(s, kFirst, 0);
  Scheduler::NeedsView tales = s.scheduler.ViewNeeds(kTales);
  EXPECT_EQ(tales.able, 1);
  EXPECT_EQ(tales.idle_slots, 1);
  EXPECT_THAT(tales.lacking, ElementsAre(kFirst));
  s.Do(DrainRequested{kSecond, "away"});
  EXPECT_EQ(s.scheduler.ViewNeeds(kTales).able, 0) << "it gets no work";
  EXPECT_THAT(s.scheduler.ReadyByNeeds(kRoadmap), ElementsAre(Pair(kTales, 2), Pair(kLetters, 1)));
  s.Do(PauseRequested{kRoadmap, "lunch"});
  EXPECT_THAT(s.scheduler.ReadyByNeeds(kRoadmap), IsEmpty());
}

// Another worker's CPU lacks what trials in bfloat16 are multiplied with.
TEST(SchedulerCorpora, ATrialInBfloat16WaitsForAWorkerThatHasItAndItsCorpus) {
  const Missing plain{.bf16 = true}, plain_without_tales{.named = {kTales}, .bf16 = true};
  Checked s;
  RoadmapChanged event = Reading(kRoadmap, {kTales, kTales, kLetters});
  event.trials[0].needs = {kTales, /*bf16=*/true};
  s.Do(event);
  s.Join(kFirst, 2, "here");
  s.Join(kSecond, 2, "there");
  EXPECT_THAT(AssignedTrials(AskWithout(s, kFirst, 2, plain)), ElementsAre(2, 3));
  EXPECT_THAT(AssignedTrials(AskWithout(s, kSecond, 1, kNoTales)), IsEmpty());
  const Needs both{kTales, true};
  EXPECT_THAT(s.scheduler.ReadyByNeeds(kRoadmap), ElementsAre(Pair(both, 1)));
  Scheduler::NeedsView view = s.scheduler.ViewNeeds(both);
  EXPECT_EQ(view.able, 0);
  EXPECT_THAT(view.lacking, ElementsAre(kFirst, kSecond));
  EXPECT_TRUE(view.lack_corpus && view.lack_bf16);
  EXPECT_EQ(s.scheduler.ViewNeeds({kTales}).able, 1);
  AskWithout(s, kSecond, 0, plain_without_tales);
  EXPECT_EQ(s.scheduler.ViewNeeds({kTales}).lack_bf16, false) << "nobody asked for it";
  EXPECT_THAT(AssignedTrials(AskWithout(s, kSecond, 1, {})), ElementsAre(1));
}

}  // namespace
}  // namespace saffron
