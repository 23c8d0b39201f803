// Trials that start from other trials' models, from the sweep file to the assignment.

#include "coordinator/engine/prepare_submission.h"
#include "coordinator/store/integrity.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_engine/engine_fixture.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kGrow[] = R"(version: 1
name: grow
baseline: {model.type: noop}
blocks:
  - name: grown
    init_from: {variant: baseline, checkpoint: best, state: reset, derive: ["layers:4", "hidden:2"]}
    parameters: {model.sleep_ms: {value: 5}}
  - name: twice
    init_from: {variant: grown, seed: 2}
    parameters: {model.sleep_ms: {value: 7}}
seeds: {count: 2}
)";

class InitFromTest : public EngineTest {
 protected:
  Submission Prepare(const std::string& text) {
    const auto spec = ReadSweepText(text, SweepFormat::kYaml, "s.yaml");
    EXPECT_TRUE(spec.ok()) << spec.status();
    absl::StatusOr<PreparedSubmission> prepared = PrepareSubmission(*spec, 1, {});
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    return prepared->submission;
  }
  // As if the trial's attempt had stored a checkpoint.
  void StoreCheckpoint(AttemptId attempt, const std::string& role, char digit) {
    Database db = *Database::Open(path, Database::Mode::kReadWriteCreate);
    Statement insert = *db.Prepare(
        "INSERT INTO artifacts (sha256, bytes, kind, role, trial, attempt, created_us) "
        "VALUES (?, 1, 'checkpoint', ?, ?, ?, 1)");
    ASSERT_TRUE(insert.Run(std::string(64, digit), role, attempt.trial.value, attempt.number).ok());
  }
  void ExpectWhole() {
    Database db = *Database::Open(path, Database::Mode::kReadOnly);
    EXPECT_THAT(CheckIntegrity(db, false)->problems, IsEmpty());
  }
};

TEST_F(InitFromTest, ParentsComeFirstAndTheAssignmentSaysWhatToStartFrom) {
  ASSERT_TRUE(Submit(Prepare(kGrow)).ok());
  ASSERT_TRUE(Register("w", 8).ok());
  // Trials 1, 2: baseline; 3, 4: grown, of the same seed; 5, 6: twice, both of seed 2's.
  const SyncAnswer first = *Sync({.worker = "w", .want = 8});
  ASSERT_THAT(first.assignments, SizeIs(2));
  EXPECT_FALSE(first.assignments[0].order.init_from.has_value());
  EXPECT_EQ(Status()->counts.held, 4);
  EXPECT_THAT(Explain(3).reasons[0],
              HasSubstr("starts from the model of trial 1, which is leased"));
  StoreCheckpoint({TrialId{2}, 1}, "last", 'a');
  StoreCheckpoint({TrialId{2}, 1}, "best", 'b');
  const SyncAnswer second = *Sync({.worker = "w",
                                   .running = {{{TrialId{1}, 1}}},
                                   .finished = {Success({TrialId{2}, 1}, 1)},
                                   .want = 8});
  ASSERT_THAT(second.assignments, SizeIs(1));
  const AssignedTrial& child = second.assignments[0];
  EXPECT_EQ(child.attempt.trial, TrialId{4});
  ASSERT_TRUE(child.order.init_from.has_value());
  EXPECT_EQ(child.order.init_from->sha256, std::string(64, 'b'));
  EXPECT_THAT(child.order.init_derive, ElementsAre("layers:4", "hidden:2"));
  EXPECT_EQ(child.order.params.count("init_from.variant"), 0u) << "no parameter of the model";
  EXPECT_TRUE(child.order.init_reset_state);
  EXPECT_EQ(child.order.parent, 2);
  const SyncAnswer third = *Sync({.worker = "w",
                                  .running = {{{TrialId{1}, 1}}},
                                  .finished = {Success(child.attempt, 1)},
                                  .want = 8});
  EXPECT_THAT(third.assignments, SizeIs(2)) << "both seeds of `twice` start from seed 2";
  ExpectWhole();
}

TEST_F(InitFromTest, HoldsOutliveTheCoordinator) {
  ASSERT_TRUE(Submit(Prepare(kGrow)).ok());
  Boot();
  ASSERT_TRUE(Register("w", 8).ok());
  EXPECT_THAT(Sync({.worker = "w", .want = 8})->assignments, SizeIs(2));
}

TEST_F(InitFromTest, AFailedParentOrphansItsChildrenAndRetryTakesThemUp) {
  ASSERT_TRUE(Submit(Prepare(kGrow)).ok());
  ASSERT_TRUE(Register("w", 1).ok());
  for (int64_t trial : {1, 2}) {
    const AttemptId attempt = Take("w");
    EXPECT_EQ(attempt.trial.value, trial);
    Fail("w", attempt, FailureClass::kError);
  }
  EXPECT_EQ(Status()->counts.of(Outcome::kCancelled), 4);
  EXPECT_THAT(Explain(6).reasons[0], HasSubstr("its parent, trial 4, was cancelled"));
  ExpectWhole();
  Boot();
  EXPECT_EQ(Retry({.what = {.roadmap = "last"}})->changed, 6);
  EXPECT_EQ(Status()->counts.queued, 6);
  ExpectWhole();
}

TEST_F(InitFromTest, AnotherParentIsAnotherTrialAndThePlanNamesIt) {
  ASSERT_TRUE(Submit(Prepare(kGrow)).ok());
  std::string edited = kGrow;
  edited.replace(edited.find("hidden:2"), 8, "hidden:3");
  const SubmitAnswer answer = *Submit(Prepare(edited));
  EXPECT_EQ(answer.plan.trials_new, 4) << "grown, and what starts from it";
  ASSERT_FALSE(answer.plan.changes.empty());
  bool named = false;
  for (const SubmissionChange& change : answer.plan.changes) {
    named = named || change.key == "init_from.derive";
  }
  EXPECT_TRUE(named) << answer.plan.changes[0].key;
}

TEST_F(InitFromTest, VersionsOfNumericsAreInTheIdentityOfWhatUsesThemAndOfItsChildrenAlone) {
  const auto spec = ReadSweepText(R"(version: 1
name: precision
baseline: {model.type: transformer, train.steps: 10, data.corpus: some}
blocks:
  - name: rounded
    parameters: {train.precision: {value: bf16}}
  - name: exact child
    init_from: {variant: baseline}
  - name: child
    init_from: {variant: rounded}
)",
                                  SweepFormat::kYaml, "s.yaml");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto prepared = PrepareSubmission(*spec, 1, {{"some", std::string(64, 'f')}});
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const auto expanded = Expand(*spec, {.corpora = std::vector<std::string>{"some"}});
  ASSERT_TRUE(expanded.ok()) << expanded.status();
  const std::vector<SubmittedVariant>& variants = prepared->submission.variants;
  ASSERT_THAT(variants, SizeIs(4));
  for (size_t i = 0; i < variants.size(); ++i) {
    const bool is_exact = i == 0 || i == 2;
    EXPECT_EQ(variants[i].digest == expanded->variants[i].digest, is_exact) << i;
    EXPECT_EQ(variants[i].params.count("numerics.bf16"), i == 1 ? 1u : 0u) << i;
  }
}

}  // namespace
}  // namespace saffron
