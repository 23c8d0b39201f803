// What people can tell a coordinator to do, and what it remembers of it across restarts.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_engine/engine_fixture.h"

namespace saffron {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Action = WorkerControlCall::Action;

class ControlTest : public EngineTest {};

TEST_F(ControlTest, APausedRoadmapStartsNothingAlsoAfterARestartAndSaysSo) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  EXPECT_TRUE(*Pause("a", "lunch"));
  EXPECT_FALSE(*Pause("a", "lunch")) << "twice is once";
  Boot();
  ASSERT_TRUE(Register("w").ok());
  EXPECT_THAT(Sync({.worker = "w", .want = 1})->assignments, IsEmpty());
  EXPECT_EQ(Status("a")->control.paused, "lunch");
  EXPECT_THAT(Explain(1).reasons[0], AllOf(HasSubstr("paused (lunch)"), HasSubstr("resume a")));
  EXPECT_TRUE(*Pause("a", std::nullopt));
  EXPECT_THAT(Sync({.worker = "w", .want = 1})->assignments, SizeIs(1));
}

TEST_F(ControlTest, PrioritiesAreKeptAndBadOnesRefused) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  EXPECT_TRUE(*SetPriority("a", 2.5));
  EXPECT_FALSE(*SetPriority("a", 2.5));
  for (double bad : {0.0, -1.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SetPriority("a", bad).status())) << bad;
  }
  Boot();
  EXPECT_EQ(Status("a")->control.priority, 2.5);
}

TEST_F(ControlTest, SelectionsNarrowEachOther) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2, 3}, 2)).ok());
  // Trials 1, 2: variant 1 (baseline); 3, 4: variant 2; 5, 6: variant 3 (block "size").
  EXPECT_EQ(*Cancel({.roadmap = "a", .variants = {"2"}}), 2);
  EXPECT_EQ(*Cancel({.roadmap = "a", .trials = {1, 5}, .blocks = {"size"}}), 1);
  EXPECT_EQ(*Cancel({.roadmap = "a", .variants = {"bits=3", "digest-of-1"}}), 3);
  EXPECT_EQ(Status("a")->counts.of(Outcome::kCancelled), 6);
  EXPECT_TRUE(absl::IsNotFound(Cancel({.roadmap = "a", .blocks = {"sise"}}).status()));
  EXPECT_TRUE(absl::IsNotFound(Cancel({.roadmap = "a", .variants = {"dig"}}).status()))
      << "three characters say too little";
  EXPECT_TRUE(
      absl::IsNotFound(Cancel({.roadmap = "a", .trials = {1}, .blocks = {"size"}}).status()));
}

TEST_F(ControlTest, RetryTakesOneClassOfFailureAndGivesItOtherLimits) {
  Submission sweep = SmallSweep("a", {1, 2, 3});
  sweep.retry.max = {-1, 0, 0, 0, 0};
  sweep.memory_bytes = 1000;
  ASSERT_TRUE(Submit(sweep).ok());
  ASSERT_TRUE(Register("w").ok());
  std::vector<AttemptId> attempts;
  for (FailureClass failure :
       {FailureClass::kOutOfMemory, FailureClass::kTimeout, FailureClass::kOutOfMemory}) {
    attempts.push_back(Take("w"));
    Fail("w", attempts.back(), failure);
  }
  ASSERT_EQ(Status("a")->counts.of(Outcome::kFailed), 3);
  const RetryAnswer answer = *Retry({.what = {.roadmap = "a", .reason = "more memory"},
                                     .classes = {FailureClass::kOutOfMemory},
                                     .memory_bytes = 5000});
  EXPECT_EQ(answer.changed, 2);
  EXPECT_THAT(answer.failed_as, ElementsAre(std::pair(FailureClass::kOutOfMemory, 2)));
  const SyncAnswer again = *Sync({.worker = "w", .want = 1});
  ASSERT_THAT(again.assignments, SizeIs(1));
  EXPECT_EQ(again.assignments[0].attempt.trial, attempts[0].trial);
  EXPECT_EQ(again.assignments[0].order.memory_bytes, 5000);
  EXPECT_EQ(Retry({.what = {.roadmap = "a"}, .classes = {FailureClass::kError}})->changed, 0);
  // An edited sweep keeps the trial's own limit.
  Submission edited = SmallSweep("a", {1, 2, 3, 4});
  edited.memory_bytes = 1000;
  ASSERT_TRUE(Submit(edited).ok());
  EXPECT_EQ(store->LoadOrder(attempts[0].trial, RoadmapId{1})->memory_bytes, 5000);
  EXPECT_EQ(store->LoadOrder(attempts[1].trial, RoadmapId{1})->memory_bytes, 1000);
}

TEST_F(ControlTest, ADrainedWorkerIsToldToLeaveOnceItHoldsNothing) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Take("w");
  const auto drained = ControlWorker({.worker = "w", .action = Action::kDrain, .reason = "reboot"});
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_THAT(drained->workers, ElementsAre("w"));
  EXPECT_FALSE(Sync({.worker = "w", .running = {{attempt}}, .want = 0})->leave);
  const SyncAnswer last = *Sync({.worker = "w", .finished = {Success(attempt, 1)}, .want = 1});
  EXPECT_THAT(last.assignments, IsEmpty());
  EXPECT_TRUE(last.leave);
  EXPECT_THAT(Explain(2).reasons[0], HasSubstr("no new work"));
}

TEST_F(ControlTest, ADrainedWorkerWhoseCallIsHeldLeavesAtOnce) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> held;
  engine->Sync({.worker = "w", .want = 1, .wait = absl::Seconds(9)}, held.done());
  Run();
  ASSERT_FALSE(held.answer.has_value());
  ASSERT_TRUE(ControlWorker({.worker = "here"}).ok()) << "by its machine";
  ASSERT_TRUE(held.answer.has_value());
  EXPECT_TRUE((*held.answer)->leave);
}

TEST_F(ControlTest, ADrainIsKeptAcrossARestartAndTakenBack) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Take("w");
  ASSERT_TRUE(ControlWorker({.worker = "w"}).ok());
  Boot();
  ASSERT_TRUE(Register("w").ok());
  ASSERT_TRUE(Sync({.worker = "w", .running = {{attempt}}}).ok());
  EXPECT_EQ(ListWorkers().workers.at(0).now.drained, "drained");
  EXPECT_THAT(ControlWorker({.worker = "w", .action = Action::kRelease})->workers,
              ElementsAre("w"));
  EXPECT_FALSE(ListWorkers().workers.at(0).now.drained.has_value());
}

TEST_F(ControlTest, AnUnknownWorkerIsNotFoundNamingTheNearest) {
  ASSERT_TRUE(Register("worker-one").ok());
  const absl::Status status = ControlWorker({.worker = "worker-ome"}).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("worker-one"));
}

TEST_F(ControlTest, ABadMachineIsQuarantinedWithItsEvidenceAndReleasedByHand) {
  std::vector<int64_t> values;
  for (int i = 1; i <= 40; ++i) values.push_back(i);
  ASSERT_TRUE(Submit(SmallSweep("a", values)).ok());
  ASSERT_TRUE(Register("good", 1, 1, "g").ok());
  ASSERT_TRUE(Register("bad", 1, 1, "b").ok());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Sync({.worker = "good", .finished = {Success(Take("good"), 1)}}).ok());
  }
  AttemptId failed;
  for (int i = 0; i < 5; ++i) {
    const SyncAnswer answer = *Sync({.worker = "bad", .want = 1});
    if (answer.assignments.empty()) break;
    failed = answer.assignments[0].attempt;
    Fail("bad", failed, FailureClass::kError);
  }
  FleetView fleet = ListWorkers();
  EXPECT_EQ(fleet.nodes.at("b").standing, Standing::kQuarantined);
  const Explanation why = Explain(failed.trial.value);
  EXPECT_EQ(why.state, "queued") << "it failed on no other machine";
  EXPECT_THAT(why.reasons, testing::Contains(AllOf(HasSubstr("b, where it failed, is quarantined"),
                                                   HasSubstr("Fisher"))));
  Boot();
  ASSERT_TRUE(Register("bad", 1, 1, "b").ok());
  EXPECT_THAT(Sync({.worker = "bad", .want = 1})->assignments, IsEmpty());
  EXPECT_THAT(ControlWorker({.worker = "b", .action = Action::kRelease})->nodes, ElementsAre("b"));
  EXPECT_THAT(Sync({.worker = "bad", .want = 1})->assignments, SizeIs(1));
}

TEST_F(ControlTest, TrialsThatTheFileNoLongerNamesAreArchived) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2, 3})).ok());
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 4})).ok());
  const RoadmapStatus status = *Status("a");
  EXPECT_EQ(status.counts.total, 2);
  EXPECT_EQ(status.archived, 2);
  EXPECT_EQ(Explain(2).state, "cancelled");
}

}  // namespace
}  // namespace saffron
