// A database with a history of every kind is whole; each rule of the check is broken on purpose,
// and must notice.

#include "coordinator/store/integrity.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Trial 1 succeeded at its second attempt, 2 failed, 3 is cancelled, 4 runs, 5 is queued; 6 starts
// from trial 1 and succeeded, 7 starts from trial 2 and is an orphan.
class IntegrityTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    Submission sweep = SmallSweep("a", {1, 2, 3, 4, 5, 6, 7});
    sweep.retry.max = {-1, 0, 0, 0, 0};
    sweep.variants[5].init = SubmittedInit{.parent = 0, .checkpoint = "last"};
    sweep.variants[6].init = SubmittedInit{.parent = 1, .checkpoint = "best"};
    for (size_t i = 0; i < 5; ++i) sweep.variants[i].seconds = 10 - static_cast<double>(i);
    sweep.variants[5].seconds = sweep.variants[6].seconds = 100;
    Submit(sweep);
    ASSERT_TRUE(store->Begin().ok());
    const WorkerId worker = Join("w");
    Apply(WorkerSynced{.worker = worker, .want = 1});
    Report(worker, {{TrialId{1}, 1}, Outcome::kFailed, FailureClass::kPreempted, "handed back"});
    Apply(WorkerSynced{.worker = worker, .want = 1});
    ASSERT_TRUE(store->RecordCurve(TrialId{1}, {{"train/loss", 1, 2.5}}).ok());
    ASSERT_TRUE(store->RecordResult({TrialId{1}, 2}, {{"test/perplexity", 0, 9}}, now, now).ok());
    Report(worker, {{TrialId{1}, 2}, Outcome::kSucceeded, FailureClass::kError, ""});
    Apply(WorkerSynced{.worker = worker, .want = 1});  // 2: the longest chain begins with it
    Report(worker, {{TrialId{2}, 1}, Outcome::kFailed, FailureClass::kError, "no"});
    Apply(WorkerSynced{.worker = worker, .want = 1});  // 6
    Report(worker, {{TrialId{6}, 1}, Outcome::kSucceeded, FailureClass::kError, ""});
    Apply(CancelRequested{RoadmapId{1}, {{TrialId{3}}}, "too slow"});
    Apply(WorkerSynced{.worker = worker, .want = 1});  // 4
    ASSERT_TRUE(store->Commit().ok());
    ASSERT_EQ(Query("SELECT group_concat(state, ' ') FROM (SELECT state FROM trials ORDER BY id)"),
              "succeeded failed cancelled leased queued succeeded cancelled");
  }
  void Report(WorkerId worker, AttemptReport report) {
    Apply(WorkerSynced{.worker = worker, .finished = {std::move(report)}});
  }
  std::vector<std::string> Problems() {
    Database db = *Database::Open(path, Database::Mode::kReadOnly);
    const absl::StatusOr<IntegrityReport> report = CheckIntegrity(db, true);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? report->problems : std::vector<std::string>{"error"};
  }
};

TEST_F(IntegrityTest, AHistoryOfEveryKindIsWhole) {
  EXPECT_THAT(Problems(), IsEmpty());
  Database db = *Database::Open(path, Database::Mode::kReadOnly);
  const IntegrityReport report = *CheckIntegrity(db, false);
  EXPECT_EQ(report.trials, 7);
  EXPECT_GT(report.rules, 20);
}

struct Damage {
  const char* name;
  const char* sql;
  const char* rule;  // that must notice
};

class IntegrityNotices : public IntegrityTest, public testing::WithParamInterface<Damage> {};

TEST_P(IntegrityNotices, TheDamage) {
  store.reset();
  {
    Database db = *Database::Open(path, Database::Mode::kReadWriteCreate);
    ASSERT_TRUE(db.Execute("DROP TRIGGER events_keep_update; DROP TRIGGER events_keep_delete; "
                           "PRAGMA ignore_check_constraints = ON")
                    .ok());
    const absl::Status damaged = db.Execute(GetParam().sql);
    ASSERT_TRUE(damaged.ok()) << damaged;
  }
  EXPECT_THAT(Problems(), testing::Contains(HasSubstr(GetParam().rule)));
}

INSTANTIATE_TEST_SUITE_P(
    Damages, IntegrityNotices,
    testing::Values(
        Damage{"HoleInAttempts", "DELETE FROM attempts WHERE trial = 1 AND number = 1",
               "numbered 1, 2"},
        Damage{"LeaseWithoutAttempt", "UPDATE trials SET state = 'leased' WHERE id = 5",
               "stands for a lease"},
        Damage{"OldAttemptOpen",
               "UPDATE attempts SET outcome = NULL, ended_us = NULL, failure_class = NULL WHERE "
               "trial = 1 AND number = 1",
               "is the newest"},
        Damage{"FailureWithoutClass", "UPDATE attempts SET failure_class = NULL WHERE trial = 2",
               "a class where it failed"},
        Damage{"LeaverHolds", "UPDATE workers SET left_us = 1", "has no attempt in hand"},
        Damage{"TwoResults",
               "UPDATE attempts SET outcome = 'succeeded', failure_class = NULL WHERE trial = 1",
               "exactly one attempt"},
        Damage{"OtherOutcome", "UPDATE trials SET state = 'diverged' WHERE id = 1",
               "of the same outcome"},
        Damage{"AcceptedTwice",
               "INSERT INTO events (at_us, kind, trial, reason) VALUES (1, 'succeeded', 1, '')",
               "accepted once"},
        Damage{"FailedWithMetrics", "INSERT INTO results VALUES (2, 'test/perplexity', 1, 0)",
               "has final metrics"},
        Damage{"MeasuredWithoutAttempt", "INSERT INTO metrics VALUES (5, 'train/loss', 1, 1, 0)",
               "without an attempt"},
        Damage{"NullNumber", "UPDATE metrics SET value = NULL", "says why it is none"},
        Damage{"EndedWithoutEnd", "UPDATE trials SET ended_us = NULL WHERE id = 2",
               "a trial has an end"},
        Damage{"BudgetAhead", "UPDATE trials SET budget_from = 9 WHERE id = 1", "fresh budgets"},
        Damage{"QueuedForNobody", "UPDATE roadmap_trials SET wanted = 0 WHERE trial = 5",
               "wanted by a roadmap"},
        Damage{"ParentOfAnotherVariant", "UPDATE trials SET parent = 2 WHERE id = 6",
               "variant's parent"},
        Damage{"ChildBeforeItsParent", "UPDATE trials SET state = 'cancelled' WHERE id = 1",
               "when its parent has a model"},
        Damage{"WaitsInVain",
               "UPDATE trials SET state = 'queued', ended_us = NULL, orphaned = 0 WHERE id = 7",
               "waits for a parent"},
        Damage{"LivingOrphan", "UPDATE trials SET orphaned = 1 WHERE id = 5",
               "an orphan is cancelled"},
        Damage{"StateWithoutEvent",
               "UPDATE trials SET state = 'cancelled', ended_us = 1 WHERE id = 5",
               "its last event"},
        Damage{
            "LeasedTwice",
            "INSERT INTO events (at_us, kind, trial, attempt, reason) VALUES (1, 'leased', 2, 1, "
            "'')",
            "leased once"},
        Damage{"EventTaken", "DELETE FROM events WHERE id = 2", "no event was taken away"},
        Damage{"EventOfNothing",
               "INSERT INTO events (at_us, kind, worker, reason) VALUES (1, 'joined', 99, '')",
               "events name what there is"},
        Damage{"RevisionMissing", "UPDATE roadmaps SET revision = 2", "up to the current one"},
        Damage{"TrialMissing", "DELETE FROM roadmap_trials WHERE trial = 2", "every seed"},
        Damage{"VariantMissing", "DELETE FROM roadmap_variants WHERE variant = 2",
               "of its variants"},
        Damage{"TwoBaselines", "UPDATE roadmap_variants SET role = 'baseline' WHERE variant = 2",
               "one baseline"},
        Damage{"NoPriority", "UPDATE roadmaps SET priority = 0", "above zero"},
        Damage{
            "ArtifactOfNobody",
            "INSERT INTO artifacts (sha256, bytes, kind, role, trial, attempt, created_us) VALUES "
            "('xyz', 1, 'checkpoint', 'last', 1, 1, 1)",
            "an artifact has a digest"},
        Damage{"DanglingReference", "UPDATE trials SET data = 99 WHERE id = 3", "every reference"}),
    [](const testing::TestParamInfo<Damage>& info) { return info.param.name; });

TEST_F(IntegrityTest, ADamagedFileIsSaid) {
  store.reset();
  {
    Database db = *Database::Open(path, Database::Mode::kReadWriteCreate);
    ASSERT_TRUE(db.Execute("PRAGMA wal_checkpoint(TRUNCATE)").ok());
    // An index that lacks an entry: rows are there that looking them up does not find.
    ASSERT_TRUE(db.Execute("PRAGMA writable_schema = ON; "
                           "UPDATE sqlite_schema SET sql = 'CREATE INDEX events_trial ON events "
                           "(trial) WHERE trial = 1' WHERE name = 'events_trial'")
                    .ok());
  }
  EXPECT_THAT(Problems(), testing::Contains(HasSubstr("the file is damaged")));
}

}  // namespace
}  // namespace saffron
