#include "coordinator/engine/engine.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_engine/engine_fixture.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(EngineTest, ATrialGoesFromSubmissionToItsResult) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const SyncAnswer first = *Sync({.worker = "w", .want = 1});
  ASSERT_EQ(first.assignments.size(), 1u);
  const AttemptId attempt = first.assignments[0].attempt;
  EXPECT_EQ(std::get<std::string>(first.assignments[0].order.params.at("model.type")), "noop");
  const SyncAnswer second =
      *Sync({.worker = "w",
             .running = {{attempt, 0, {{"train/loss", 1, 2.0}, {"train/loss", 2, 1.0}}}},
             .finished = {Success(attempt, 90)}});
  EXPECT_THAT(second.acknowledged, ElementsAre(attempt));
  ASSERT_EQ(second.durable.size(), 1u);
  EXPECT_EQ(second.durable[0].second, 2);
  const RoadmapStatus status = *Status();
  EXPECT_EQ(status.counts.of(Outcome::kSucceeded), 1);
  EXPECT_EQ(status.best->value, 90);
  EXPECT_EQ(status.best->label, "bits=1");
}

TEST_F(EngineTest, AnUnknownWorkerIsToldToRegisterAndAnIncomparableOneIsRefused) {
  EXPECT_TRUE(absl::IsNotFound(Sync({.worker = "w"}).status()));
  const absl::Status refused = Register("w", 1, 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("version 2"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("version 1"));
}

TEST_F(EngineTest, AHeldCallIsAnsweredWhenWorkArrives) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> held;
  engine->Sync({.worker = "w", .want = 1, .wait = absl::Seconds(9)}, held.done());
  EXPECT_EQ(Run(), now + absl::Seconds(9));
  EXPECT_FALSE(held.answer);
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(held.answer);
  EXPECT_EQ((*held.answer)->assignments.size(), 1u);
}

TEST_F(EngineTest, AHeldCallEndsEmptyAfterItsTime) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> held;
  engine->Sync({.worker = "w", .want = 1, .wait = absl::Hours(1)}, held.done());
  now = Run();
  EXPECT_LE(now, absl::FromUnixSeconds(1'700'000'000) + options.scheduler.lease / 3);
  Run();
  ASSERT_TRUE(held.answer);
  EXPECT_TRUE((*held.answer)->empty());
}

TEST_F(EngineTest, ANewerCallOfTheWorkerEndsTheHeldOne) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> first, second;
  engine->Sync({.worker = "w", .want = 1, .wait = absl::Seconds(9), .sequence = 1}, first.done());
  Run();
  engine->Sync({.worker = "w", .want = 1, .wait = absl::Seconds(9), .sequence = 2}, second.done());
  Run();
  ASSERT_TRUE(first.answer);
  EXPECT_TRUE((*first.answer)->empty());
  EXPECT_FALSE(second.answer);
  EXPECT_TRUE(absl::IsAborted(Sync({.worker = "w", .sequence = 1}).status()));
  EXPECT_FALSE(second.answer);
}

TEST_F(EngineTest, AGivenUpCallTakesNoWork) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> held;
  const Engine::CallId id =
      engine->Sync({.worker = "w", .want = 1, .wait = absl::Seconds(9)}, held.done());
  Run();
  engine->Forget(id);
  Run();
  EXPECT_TRUE(absl::IsCancelled(held.answer->status()));
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  EXPECT_EQ(Status()->counts.queued, 1);
}

TEST_F(EngineTest, CancellingReachesAWorkerWhoseCallIsHeld) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  Slot<SyncAnswer> held;
  engine->Sync({.worker = "w", .running = {{attempt}}, .wait = absl::Seconds(9)}, held.done());
  Run();
  EXPECT_EQ(*Cancel({.roadmap = "a"}), 1);
  ASSERT_TRUE(held.answer);
  EXPECT_THAT((*held.answer)->abandon, ElementsAre(attempt));
  EXPECT_EQ(*Cancel({.roadmap = "a"}), 0);
}

TEST_F(EngineTest, MeasurementsOfASupersededAttemptAreNotRecorded) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  ASSERT_TRUE(Cancel({.roadmap = "a"}).ok());
  const SyncAnswer answer =
      *Sync({.worker = "w", .running = {{attempt, 0, {{"train/loss", 1, 2.0}}}}});
  EXPECT_THAT(answer.durable, IsEmpty());
  EXPECT_THAT(answer.abandon, ElementsAre(attempt));
}

TEST_F(EngineTest, ARestartedCoordinatorRecognisesRunningAttempts) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  Boot();
  EXPECT_TRUE(absl::IsNotFound(Sync({.worker = "w", .running = {{attempt}}}).status()));
  ASSERT_TRUE(Register("w").ok());
  EXPECT_THAT(Sync({.worker = "w", .running = {{attempt}}})->abandon, IsEmpty());
  EXPECT_THAT(Sync({.worker = "w", .finished = {Success(attempt, 5)}})->acknowledged,
              ElementsAre(attempt));
  EXPECT_EQ(Status()->counts.of(Outcome::kSucceeded), 1);
  EXPECT_EQ(Status()->best->value, 5);
}

TEST_F(EngineTest, ASilentWorkersTrialIsQueuedAgainInTime) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  (void)Sync({.worker = "w", .want = 1});
  const absl::Time wake = Run();
  EXPECT_EQ(wake, now + options.scheduler.lease);
  now = wake;
  Run();
  EXPECT_EQ(Status()->counts.queued, 1);
  EXPECT_TRUE(absl::IsNotFound(Sync({.worker = "w"}).status()));
  EXPECT_THAT(Explain(1).reasons, testing::Contains(HasSubstr("worker_lost")));
}

TEST_F(EngineTest, AWorkerWhoseConnectionBrokeAndProcessEndedIsGivenUpAtOnce) {
  bool gone = false;
  options.is_gone = [&](const WorkerInfo& worker) { return gone && worker.name == "w"; };
  Boot();
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  for (const bool ended : {false, true}) {
    gone = ended;
    Slot<SyncAnswer> held;
    const Engine::CallId id = engine->Sync(
        {.worker = "w", .running = {{attempt}}, .wait = absl::Seconds(9)}, held.done());
    Run();
    engine->Forget(id);
    Run();
    EXPECT_EQ(Status()->counts.leased, ended ? 0 : 1);
  }
}

TEST_F(EngineTest, WorkersThatEndedWithTheCoordinatorAreGivenUpAtItsStart) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  for (const char* name : {"dead", "alive", "idle"}) ASSERT_TRUE(Register(name).ok());
  (void)Sync({.worker = "dead", .want = 1});
  (void)Sync({.worker = "alive", .want = 1});
  options.is_gone = [](const WorkerInfo& worker) { return worker.name == "dead"; };
  Boot();
  Run();
  EXPECT_EQ(Status()->counts.leased, 1);
  EXPECT_EQ(Status()->counts.queued, 1);
  auto db = Database::Open(path, Database::Mode::kReadOnly);
  auto left =
      db->Prepare("SELECT count(*) FROM workers WHERE left_us IS NOT NULL AND name <> 'alive'");
  EXPECT_EQ(left->One()->value(), 2);
}

TEST_F(EngineTest, ACoordinatorThatSleptLosesNoWorker) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  (void)Sync({.worker = "w", .want = 1});
  Run();
  now += absl::Hours(8);
  Run();
  EXPECT_EQ(Status()->counts.leased, 1);
}

TEST_F(EngineTest, AFullInboxIsBusyAtOnce) {
  options.inbox_max = 2;
  Boot();
  Slot<RoadmapStatus> a, b, c;
  engine->Status("x", a.done());
  engine->Status("x", b.done());
  engine->Status("x", c.done());
  ASSERT_TRUE(c.answer);
  EXPECT_TRUE(absl::IsResourceExhausted(c.answer->status()));
  Run();
  EXPECT_TRUE(absl::IsNotFound(a.answer->status()));
}

TEST_F(EngineTest, AFullDiskPausesSaysWhyAndRecovers) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2, 3})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  ASSERT_TRUE(store->LimitPagesForTest(1).ok());
  // A result that does not fit is not acknowledged.
  std::vector<MetricValue> many;
  for (int i = 0; i < 20000; ++i) many.push_back({"train/loss", i, 1.0});
  absl::Status status =
      Sync({.worker = "w", .running = {{attempt, 0, many}}, .finished = {Success(attempt, 5)}})
          .status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  // It says why, to workers and to people, who can still look.
  status = Sync({.worker = "w"}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("full"));
  EXPECT_THAT(Status()->paused, HasSubstr("full"));
  EXPECT_EQ(Status()->counts.leased, 1);
  EXPECT_THAT(Explain(2).reasons[0], HasSubstr("paused"));
  // There is room again.
  ASSERT_TRUE(store->LimitPagesForTest(1'000'000).ok());
  now += options.retry_disk;
  EXPECT_TRUE(absl::IsNotFound(Sync({.worker = "w"}).status()));
  EXPECT_EQ(Status()->paused, "");
  ASSERT_TRUE(Register("w").ok());
  EXPECT_THAT(
      Sync({.worker = "w", .running = {{attempt, 0, many}}, .finished = {Success(attempt, 5)}})
          ->acknowledged,
      ElementsAre(attempt));
  EXPECT_EQ(Status()->counts.of(Outcome::kSucceeded), 1);
}

TEST_F(EngineTest, CallsOfABatchThatCouldNotBeCommittedAreNotAnsweredAsDone) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  ASSERT_TRUE(store->LimitPagesForTest(1).ok());
  Slot<SyncAnswer> first;
  Slot<SubmitAnswer> second;
  engine->Sync({.worker = "w", .finished = {Success(attempt, 5)}}, first.done());
  std::vector<int64_t> values(3000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i);
  engine->Submit(std::make_shared<Submission>(SmallSweep("big", values)), second.done());
  Run();
  EXPECT_TRUE(absl::IsUnavailable(first.answer->status()));
  EXPECT_TRUE(absl::IsUnavailable(second.answer->status()));
  EXPECT_EQ(Status("a")->counts.leased, 1);
}

TEST_F(EngineTest, TheLogOfTheDatabaseDoesNotGrowWithTheWork) {
  std::vector<int64_t> values(1500);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i);
  ASSERT_TRUE(Submit(SmallSweep("a", values)).ok());
  ASSERT_TRUE(Register("w").ok());
  SyncCall call{.worker = "w", .want = 1};
  for (int i = 0; i < 1500; ++i) {
    const SyncAnswer answer = *Sync(call);
    ASSERT_EQ(answer.assignments.size(), 1u);
    call.finished = {Success(answer.assignments[0].attempt, 5)};
    ASSERT_TRUE(Status().ok());
  }
  // Every 4,000 pages are moved into the database; without, it would have 10,000.
  EXPECT_LT(std::filesystem::file_size(path + "-wal"), 24 << 20);
}

TEST_F(EngineTest, ResultsAreSharedBetweenRoadmaps) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  (void)Sync({.worker = "w", .finished = {Success(attempt, 5)}});
  const SubmitAnswer b = *Submit(SmallSweep("b", {1, 2}));
  EXPECT_EQ(b.plan.trials_cached, 1);
  EXPECT_EQ(b.plan.trials_new, 1);
  EXPECT_EQ(Status("b")->best->value, 5);
  EXPECT_EQ(Status("b")->counts.of(Outcome::kSucceeded), 1);
}

TEST_F(EngineTest, RoadmapsAreFoundByNameIdAndLast) {
  EXPECT_TRUE(absl::IsNotFound(Status("last").status()));
  ASSERT_TRUE(Submit(SmallSweep("first", {1})).ok());
  now += absl::Seconds(1);
  ASSERT_TRUE(Submit(SmallSweep("second", {2})).ok());
  EXPECT_EQ(Status("last")->roadmap.name, "second");
  EXPECT_EQ(Status("1")->roadmap.name, "first");
  EXPECT_EQ(Status("first")->roadmap.name, "first");
  EXPECT_THAT(std::string(Status("secnd").status().message()), HasSubstr("did you mean second?"));
}

TEST_F(EngineTest, ControlOfATrialOfAnotherRoadmapIsRefused) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Submit(SmallSweep("b", {2})).ok());
  EXPECT_TRUE(absl::IsNotFound(Cancel({.roadmap = "a", .trials = {2}}).status()));
  EXPECT_EQ(*Cancel({.roadmap = "b", .trials = {2}}), 1);
}

TEST_F(EngineTest, ExplanationsSayWhatATrialWaitsFor) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  EXPECT_THAT(Explain(2).reasons,
              ElementsAre(HasSubstr("No worker"), HasSubstr("1 trial of its roadmap comes first")));
  ASSERT_TRUE(Register("w").ok());
  const AttemptId attempt = Sync({.worker = "w", .want = 1})->assignments[0].attempt;
  EXPECT_THAT(Explain(1).reasons, ElementsAre(HasSubstr("Attempt 1 on worker w runs since")));
  EXPECT_THAT(Explain(2).reasons[0], HasSubstr("All 1 slot of 1 worker are busy"));
  (void)Sync({.worker = "w",
              .finished = {{.report = {.attempt = attempt,
                                       .outcome = Outcome::kFailed,
                                       .failure = FailureClass::kError,
                                       .message = "no such layer"}}}});
  EXPECT_EQ(Explain(1).state, "failed");
  EXPECT_THAT(Explain(1).reasons[0], HasSubstr("no such layer"));
  EXPECT_EQ(Status()->last_failure, "no such layer");
}

TEST_F(EngineTest, ShutdownAnswersEverything) {
  ASSERT_TRUE(Register("w").ok());
  Slot<SyncAnswer> held, late;
  engine->Sync({.worker = "w", .wait = absl::Seconds(9)}, held.done());
  Run();
  engine->Shutdown();
  EXPECT_TRUE(absl::IsUnavailable(held.answer->status()));
  engine->Sync({.worker = "w"}, late.done());
  EXPECT_TRUE(absl::IsUnavailable(late.answer->status()));
}

}  // namespace
}  // namespace saffron
