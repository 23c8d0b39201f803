#include "coordinator/store/run_store.h"

#include <sys/wait.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "coordinator/scheduler/invariants.h"
#include "coordinator/store/schema.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- Opening

std::string OpenError(const std::string& path) {
  auto opened = RunStore::Open({.path = path}, absl::Now());
  return opened.ok() ? "" : std::string(opened.status().message());
}

TEST_F(StoreTest, ASecondCoordinatorIsRefusedAndToldWhoTheFirstIs) {
  EXPECT_THAT(OpenError(path), AllOf(HasSubstr("another coordinator is running"),
                                     HasSubstr(absl::StrCat("process ", ::getpid()))));
  std::filesystem::create_symlink(path, folder.File("alias.db"));
  EXPECT_THAT(OpenError(folder.File("alias.db")), HasSubstr("another coordinator is running"));
  store.reset();
  EXPECT_EQ(OpenError(path), "");
}

TEST_F(StoreTest, TheLockOfAKilledCoordinatorIsFree) {
  store.reset();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto opened = RunStore::Open({.path = path}, absl::Now());
    const char ok = opened.ok();
    (void)!::write(ready[1], &ok, 1);
    ::pause();
  }
  char ok = 0;
  ASSERT_EQ(::read(ready[0], &ok, 1), 1);
  EXPECT_TRUE(ok);
  EXPECT_THAT(OpenError(path), HasSubstr(absl::StrCat("process ", child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(OpenError(path), "");
}

TEST(StoreOpen, AFileThatIsNotADatabaseIsRefusedAndLeftAlone) {
  TemporaryFolder folder;
  const std::string path = folder.File("notes.txt"), text(5000, 'x');
  std::ofstream(path) << text;
  EXPECT_THAT(OpenError(path), HasSubstr("is not a database"));
  std::string after;
  std::getline(std::ifstream(path), after);
  EXPECT_EQ(after, text);
}

TEST(StoreOpen, AnotherProgramsDatabaseIsRefused) {
  TemporaryFolder folder;
  {
    auto db = Database::Open(folder.File("a.db"), Database::Mode::kReadWriteCreate);
    ASSERT_TRUE(db->Execute("CREATE TABLE cookies (a)").ok());
  }
  EXPECT_THAT(OpenError(folder.File("a.db")), HasSubstr("not one of Saffron's"));
}

TEST(StoreOpen, ANewerSchemaIsRefusedWithBothVersions) {
  TemporaryFolder folder;
  ASSERT_EQ(OpenError(folder.File("a.db")), "");
  {
    auto db = Database::Open(folder.File("a.db"), Database::Mode::kReadWriteCreate);
    ASSERT_TRUE(db->Execute("INSERT INTO schema_version VALUES (77, 0, 'future')").ok());
  }
  EXPECT_THAT(OpenError(folder.File("a.db")),
              AllOf(HasSubstr("version 77"), HasSubstr(absl::StrCat("version ", kSchemaVersion))));
}

TEST(StoreOpen, AFolderOrAMissingFolderIsRefused) {
  TemporaryFolder folder;
  EXPECT_THAT(OpenError(folder.File("")), HasSubstr("is a folder"));
  EXPECT_THAT(OpenError(folder.File("no/such.db")), HasSubstr("there is no folder"));
}

TEST(StoreOpen, ADiskThatFailsIsNoUnreachableCoordinator) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.File("b.db-journal"));
  const auto store = RunStore::Open({.path = folder.File("b.db")}, absl::UnixEpoch());
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("b.db"));
}

TEST(StoreOpen, ADamagedFileIsSaidToBeDamagedByItsName) {
  TemporaryFolder folder;
  ASSERT_EQ(OpenError(folder.File("a.db")), "");
  std::filesystem::resize_file(folder.File("a.db"), 5000);
  EXPECT_THAT(OpenError(folder.File("a.db")), AllOf(HasSubstr("a.db"), HasSubstr("is damaged")));
}

TEST_F(StoreTest, TheCoordinatorKeepsItsIdAcrossRestarts) {
  const std::string id = store->coordinator_id();
  EXPECT_EQ(id.size(), 32u);
  Reopen();
  EXPECT_EQ(store->coordinator_id(), id);
}

// ---- Submissions

TEST_F(StoreTest, SubmittingTheSameSweepAgainChangesNothing) {
  EXPECT_EQ(Submit(SmallSweep("a", {1, 2, 3}, 2)).revision, 1);
  const std::string before = Query("SELECT count(*), max(id) FROM trials");
  const StoredRevision again = Submit(SmallSweep("a", {1, 2, 3}, 2));
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.revision, 1);
  EXPECT_EQ(Query("SELECT count(*), max(id) FROM trials"), before);
}

TEST_F(StoreTest, TheSameSweepIsANewRevisionWhereItsVariantsAreOthers) {
  const Submission before = SmallSweep("a", {1, 2});
  Submit(before);
  Submission after = before;
  after.variants[1].params["numerics.bf16"] = int64_t{2};
  after.variants[1].digest += "'";
  EXPECT_EQ(Submit(after).revision, 2);
  EXPECT_EQ(Query("SELECT state FROM trials ORDER BY id"), "queued\ncancelled\nqueued");
}

TEST_F(StoreTest, AnEditedSweepIsANewRevisionThatKeepsItsTrials) {
  Submit(SmallSweep("a", {1, 2, 3}));
  EXPECT_EQ(Submit(SmallSweep("a", {2, 3, 4})).revision, 2);
  EXPECT_EQ(Query("SELECT count(*) FROM trials"), "4");
  EXPECT_EQ(Query("SELECT state FROM trials ORDER BY id"), "cancelled\nqueued\nqueued\nqueued");
  EXPECT_EQ(Query("SELECT count(*) FROM v_trials"), "3");
}

TEST_F(StoreTest, RoadmapsShareTrials) {
  Submit(SmallSweep("a", {1, 2}));
  Submit(SmallSweep("b", {2, 3}));
  EXPECT_EQ(Query("SELECT count(*) FROM trials"), "3");
  EXPECT_EQ(Query("SELECT roadmap, count(*) FROM v_trials GROUP BY roadmap"), "a|2\nb|2");
}

TEST_F(StoreTest, NewDataUnderTheSameNameIsARevisionOfNewTrials) {
  Submit(SmallSweep("a", {1, 2}));
  Submission changed = SmallSweep("a", {1, 2});
  for (SubmittedVariant& v : changed.variants) v.fingerprint = "beef";
  auto db = ReadQuery::Open(path);
  const SubmissionPlan plan = *PlanSubmission(db->database(), changed);
  EXPECT_EQ(plan.trials_new, 2);
  EXPECT_EQ(plan.trials_orphaned, 2);
  ASSERT_EQ(plan.changes.size(), 1u);
  EXPECT_EQ(plan.changes[0].key, "data.corpus contents");
  EXPECT_EQ(plan.changes[0].from, "f00d");
  EXPECT_EQ(plan.changes[0].to, "beef");
  EXPECT_EQ(plan.changes[0].trials, 2);
  EXPECT_EQ(Submit(changed).revision, 2);
  EXPECT_EQ(Query("SELECT count(*) FROM trials"), "4");
}

SubmissionPlan PlanOf(const std::string& path, const Submission& submission) {
  auto db = ReadQuery::Open(path);
  auto plan = PlanSubmission(db->database(), submission);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

TEST_F(StoreTest, APlanNamesTheKeyThatChanged) {
  Submit(SmallSweep("a", {1, 2}));
  Submission edited = SmallSweep("a", {1, 2});
  for (SubmittedVariant& v : edited.variants) {
    v.params["train.lr"] = 0.2;
    v.digest += "'";
  }
  SubmissionPlan plan = PlanOf(path, edited);
  ASSERT_EQ(plan.changes.size(), 1u);
  EXPECT_EQ(plan.changes[0].key, "train.lr");
  EXPECT_EQ(plan.changes[0].from, "0.1");
  EXPECT_EQ(plan.changes[0].to, "0.2");
  EXPECT_EQ(plan.changes[0].trials, 2);

  plan = PlanOf(path, SmallSweep("a", {1, 2, 9}));
  ASSERT_EQ(plan.changes.size(), 1u);
  EXPECT_EQ(plan.changes[0].key, "model.bits");
  EXPECT_EQ(plan.changes[0].from, "");
  EXPECT_EQ(plan.changes[0].to, "9");

  plan = PlanOf(path, SmallSweep("a", {1, 2}, 3));
  EXPECT_EQ(plan.trials_new, 4);
  ASSERT_EQ(plan.changes.size(), 2u);
  EXPECT_EQ(plan.changes[0].key, "seed");

  Submission newer = SmallSweep("a", {1, 2});
  newer.numerics = 2;
  plan = PlanOf(path, newer);
  ASSERT_EQ(plan.changes.size(), 1u);
  EXPECT_EQ(plan.changes[0].key, "numerics");
  EXPECT_EQ(plan.changes[0].to, "2");
}

TEST_F(StoreTest, APlanCountsEveryTrialOnce) {
  Submit(SmallSweep("a", {1, 2, 3, 4}));
  const WorkerId worker = Join("w");
  // 4 is the longest but 1 the baseline: it succeeds, 4 fails, 3 runs, 2 waits.
  for (const auto& [outcome, failure] :
       {std::pair{Outcome::kSucceeded, 0}, std::pair{Outcome::kFailed, 1}}) {
    const Effects effects = Apply(WorkerSynced{.worker = worker, .want = 1});
    Apply(WorkerSynced{.worker = worker,
                       .finished = {{.attempt = std::get<AttemptAssigned>(effects[0]).attempt,
                                     .outcome = outcome,
                                     .failure = FailureClass::kError}}});
  }
  Apply(WorkerSynced{.worker = worker, .want = 1});
  const SubmissionPlan plan = PlanOf(path, SmallSweep("a", {1, 2, 3, 4, 5}));
  EXPECT_EQ(plan.trials, 5);
  EXPECT_EQ(plan.trials_cached, 1);
  EXPECT_EQ(plan.trials_failed, 1);
  EXPECT_EQ(plan.trials_pending, 2);
  EXPECT_EQ(plan.trials_new, 1);
  EXPECT_EQ(plan.seconds, 5);
}

// ---- Running

TEST_F(StoreTest, AReloadedSchedulerKnowsWhatTheOldOneKnew) {
  Submit(SmallSweep("a", {1, 2, 3}, 2));
  const WorkerId worker = Join("w");
  for (int i = 0; i < 3; ++i) {
    const Effects effects = Apply(WorkerSynced{.worker = worker, .want = 1});
    const AttemptId attempt = std::get<AttemptAssigned>(effects.back()).attempt;
    const Outcome outcome = i == 0 ? Outcome::kSucceeded : Outcome::kFailed;
    Apply(WorkerSynced{
        .worker = worker,
        .finished = {{.attempt = attempt,
                      .outcome = outcome,
                      .failure = i == 1 ? FailureClass::kOutOfMemory : FailureClass::kError,
                      .message = "why"}}});
  }
  Apply(WorkerSynced{.worker = worker, .want = 1});
  Reopen();
  const Scheduler reloaded({}, *store->LoadSnapshot(), now);
  EXPECT_THAT(FindViolations(reloaded), IsEmpty());
  for (int64_t id = 1; id <= 6; ++id) {
    const Scheduler::Trial *was = scheduler.FindTrial(TrialId{id}),
                           *is = reloaded.FindTrial(TrialId{id});
    EXPECT_EQ(TrialStateName(is->state), TrialStateName(was->state)) << id;
    EXPECT_EQ(is->attempts, was->attempts) << id;
    EXPECT_EQ(is->cost_seconds, was->cost_seconds) << id;
    EXPECT_EQ(is->wants[0].replicate, was->wants[0].replicate) << id;
    EXPECT_EQ(is->wants[0].baseline, was->wants[0].baseline) << id;
    EXPECT_EQ(is->wants[0].position, was->wants[0].position) << id;
    if (std::holds_alternative<Ended>(was->state)) continue;
    EXPECT_EQ(is->failures, was->failures) << id;
  }
  EXPECT_TRUE(reloaded.HasWorker(worker));
}

TEST_F(StoreTest, AnOrderCarriesTheWholeConfigurationWithItsTypes) {
  Submission s = SmallSweep("a", {64});
  s.variants[0].params = {{"a.bool", true},
                          {"a.false", false},
                          {"a.double", 1.0},
                          {"a.small", 1e-7},
                          {"a.int", int64_t{-3}},
                          {"a.text", std::string("x\"\\\n é")},
                          {"a.digits", std::string("12")}};
  s.seed_first = 17;
  s.trial_time = absl::Seconds(90);
  s.memory_bytes = 1 << 30;
  const StoredRevision revision = Submit(s);
  const TrialOrder order = *store->LoadOrder(TrialId{1}, revision.roadmap);
  EXPECT_EQ(order.params, s.variants[0].params);
  EXPECT_EQ(order.seed, 17u);
  EXPECT_EQ(order.fingerprint, "f00d");
  EXPECT_EQ(order.trial_time, absl::Seconds(90));
  EXPECT_EQ(order.memory_bytes, 1 << 30);
  EXPECT_EQ(order.label, "a/baseline #0");
}

TEST_F(StoreTest, MetricsKeepNaNAndInfinities) {
  Submit(SmallSweep("a", {1}));
  const double inf = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(store
                  ->RecordCurve(TrialId{1}, {{"train/loss", 1, 2.5},
                                             {"train/loss", 2, std::nan("")},
                                             {"train/loss", 3, inf},
                                             {"train/loss", 4, -inf}})
                  .ok());
  // Delivered again, nothing changes.
  ASSERT_TRUE(store->RecordCurve(TrialId{1}, {{"train/loss", 1, 2.5}}).ok());
  EXPECT_EQ(Query("SELECT step, value, kind FROM metrics ORDER BY step"),
            "1|2.5|0\n2|NULL|1\n3|Inf|2\n4|-Inf|3");
}

TEST_F(StoreTest, EventsCannotBeRewritten) {
  Submit(SmallSweep("a", {1}));
  auto db = Database::Open(path, Database::Mode::kReadWriteCreate);
  EXPECT_THAT(std::string(db->Execute("UPDATE events SET reason = 'other'").message()),
              HasSubstr("append-only"));
  EXPECT_THAT(std::string(db->Execute("DELETE FROM events").message()), HasSubstr("append-only"));
}

TEST_F(StoreTest, EveryTransitionLeavesAnEventWithItsReason) {
  Submit(SmallSweep("a", {1}));
  const WorkerId worker = Join("w");
  Apply(WorkerSynced{.worker = worker, .want = 1});
  Apply(WorkerSynced{.worker = worker,
                     .finished = {{.attempt = {TrialId{1}, 1},
                                   .outcome = Outcome::kFailed,
                                   .failure = FailureClass::kOutOfMemory,
                                   .message = "2 GiB"}}});
  now += absl::Seconds(5);
  Apply(Tick{});
  Apply(WorkerSynced{.worker = worker, .want = 1});
  Apply(WorkerSynced{.worker = worker,
                     .finished = {{.attempt = {TrialId{1}, 2}, .outcome = Outcome::kSucceeded}}});
  EXPECT_EQ(Query("SELECT kind, attempt, reason FROM events WHERE trial = 1 ORDER BY id"),
            "queued|NULL|submitted\nleased|1|\nattempt_failed|1|out_of_memory: 2 GiB\n"
            "queued|NULL|attempt 1 failed (out_of_memory)\nleased|2|\nsucceeded|NULL|");
  EXPECT_EQ(Query("SELECT number, outcome, failure_class FROM attempts"),
            "1|failed|out_of_memory\n2|succeeded|NULL");
}

TEST_F(StoreTest, AFullDiskIsResourceExhaustedAndLeavesTheLastCommit) {
  Submit(SmallSweep("a", {1}));
  ASSERT_TRUE(store->LimitPagesForTest(10).ok());
  ASSERT_TRUE(store->Begin().ok());
  absl::Status status;
  for (int i = 0; i < 10000 && status.ok(); ++i) {
    status = store->RecordEvent("x", std::nullopt, std::nullopt, std::string(500, 'x'), now);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  store->Rollback();
  EXPECT_EQ(Query("SELECT count(*) FROM events WHERE kind = 'x'"), "0");
  ASSERT_TRUE(store->LimitPagesForTest(1'000'000).ok());
  ASSERT_TRUE(store->Begin().ok());
  EXPECT_TRUE(store->RecordEvent("x", std::nullopt, std::nullopt, "again", now).ok());
  EXPECT_TRUE(store->Commit().ok());
}

// ---- Views

class ViewTest : public StoreTest {
 protected:
  // Two variants of three seeds: baseline values 10, 11, 12; the other 8, 10, 9.
  void SetUp() override {
    StoreTest::SetUp();
    Submit(SmallSweep("a", {1, 2}, 3));
    const WorkerId worker = Join("w");
    const std::map<int64_t, double> values = {{1, 10}, {2, 11}, {3, 12}, {4, 8}, {5, 10}, {6, 9}};
    for (size_t i = 0; i < values.size(); ++i) {
      const Effects effects = Apply(WorkerSynced{.worker = worker, .want = 1});
      const AttemptId attempt = std::get<AttemptAssigned>(effects.back()).attempt;
      Apply(WorkerSynced{.worker = worker, .finished = {{.attempt = attempt}}});
      ASSERT_TRUE(store
                      ->RecordResult(attempt,
                                     {{"test/perplexity", 0, values.at(attempt.trial.value)}}, now,
                                     now)
                      .ok());
      ASSERT_TRUE(store->RecordCurve(attempt.trial, {{"train/loss", 5, 1.5}}).ok());
    }
  }
};

TEST_F(ViewTest, TrialsHaveTheirMetricsAndParametersAsColumns) {
  EXPECT_EQ(
      Query("SELECT trial, seed, role, block, label, state, test_perplexity, model_type, "
            "model_bits, train_lr, worker FROM v_trials WHERE roadmap = 'a' AND trial IN (1, 5)"),
      "1|1|baseline|baseline|bits=1|succeeded|10.0|noop|1|0.1|w\n5|2|grid|size|bits=2|succeeded|10."
      "0|noop|2|0.1|w");
}

TEST_F(ViewTest, VariantsHaveMeanAndStandardDeviationOverSeeds) {
  EXPECT_EQ(Query("SELECT label, n, mean, sd, min, max FROM v_variants WHERE metric = "
                  "'test/perplexity' ORDER BY position"),
            "bits=1|3|11.0|1.0|10.0|12.0\nbits=2|3|9.0|1.0|8.0|10.0");
}

TEST_F(ViewTest, EffectsArePairedBySeed) {
  EXPECT_EQ(Query("SELECT seed, value, baseline, difference FROM v_pairs ORDER BY seed"),
            "1|8.0|10.0|-2.0\n2|10.0|11.0|-1.0\n3|9.0|12.0|-3.0");
  EXPECT_EQ(Query("SELECT label, n, difference, sd, mean_value, mean_baseline FROM v_effects"),
            "bits=2|3|-2.0|1.0|9.0|11.0");
}

TEST_F(ViewTest, EveryReferenceBetweenTablesHolds) {
  auto db = Database::Open(path, Database::Mode::kReadWriteCreate);
  auto check = db->Prepare("PRAGMA foreign_key_check");
  EXPECT_FALSE(*check->Next());
}

TEST_F(ViewTest, CurvesAndParametersAreRows) {
  EXPECT_EQ(
      Query("SELECT count(*), min(step), min(value) FROM v_curves WHERE metric = 'train/loss'"),
      "6|5|1.5");
  EXPECT_EQ(Query("SELECT key, type, number, text FROM variant_params WHERE variant = 2"),
            "model.bits|integer|2|NULL\nmodel.type|string|NULL|noop\ntrain.lr|number|0.1|NULL");
}

TEST_F(ViewTest, TheBestTrialFollowsTheRoadmapsGoal) {
  RoadmapInfo roadmap = store->LoadRoadmaps()->at(0);
  EXPECT_EQ((*store->FindBest(roadmap))->trial.value, 4);
  roadmap.maximize = true;
  EXPECT_EQ((*store->FindBest(roadmap))->trial.value, 3);
  roadmap.metric = "none";
  EXPECT_FALSE(store->FindBest(roadmap)->has_value());
}

TEST_F(ViewTest, AVariantMeasuredOverAnotherVocabularyIsNeverCalledBest) {
  const RoadmapInfo roadmap = store->LoadRoadmaps()->at(0);
  ASSERT_EQ((*store->FindBest(roadmap))->trial.value, 4);
  EXPECT_TRUE(store->ComparableLabel(roadmap.id, TrialId{4})->has_value());
  auto db = Database::Open(path, Database::Mode::kReadWriteCreate);
  auto update = db->Prepare(
      "UPDATE variants SET json = json_set(json, '$.\"data.vocab\"', 16) "
      "WHERE id = (SELECT variant FROM trials WHERE id = 4)");
  ASSERT_TRUE(update->Next().ok());
  ASSERT_TRUE(store->Begin().ok());  // leaves the snapshot that the first reading kept
  EXPECT_EQ((*store->FindBest(roadmap))->trial.value, 1);
  EXPECT_FALSE(store->ComparableLabel(roadmap.id, TrialId{4})->has_value());
  store->Rollback();
}

// ---- Other people's SQL

absl::Status RunSql(const std::string& path, const std::string& sql,
                    absl::Duration limit = absl::Seconds(10)) {
  auto query = ReadQuery::Open(path);
  return query->Run(
      sql, limit, [](const auto&) {}, [](const Statement&) { return true; });
}

TEST_F(StoreTest, QueriesCannotWriteWanderOrSetAnything) {
  for (const char* sql :
       {"DELETE FROM trials", "INSERT INTO roadmaps VALUES (1, 'x', 1, 1)", "DROP TABLE trials",
        "ATTACH 'other.db' AS other", "PRAGMA journal_mode = DELETE", "PRAGMA user_version = 3",
        "VACUUM", "BEGIN", "CREATE TEMP TABLE t (a)", "SELECT load_extension('x')"}) {
    EXPECT_EQ(RunSql(path, sql).code(), absl::StatusCode::kInvalidArgument) << sql;
  }
  for (const char* sql :
       {"SELECT 1; SELECT 2", "", "  ", "-- nothing", "SELEKT", "SELECT * FROM nothing"}) {
    EXPECT_EQ(RunSql(path, sql).code(), absl::StatusCode::kInvalidArgument) << sql;
  }
  for (const char* sql :
       {"SELECT 1;", "SELECT 1 ; ", "SELECT 1; -- that is all", "-- ask\nSELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a", "SELECT * FROM pragma_table_info('trials')",
        "SELECT * FROM variant_params"}) {
    EXPECT_TRUE(RunSql(path, sql).ok()) << sql << RunSql(path, sql);
  }
}

TEST_F(StoreTest, AQueryThatRunsTooLongIsStopped) {
  const absl::Status status = RunSql(
      path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
      absl::Milliseconds(20));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace saffron
