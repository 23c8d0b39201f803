// Files that attempts leave: who may go on from them, when they are given up.

#include "coordinator/engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Digest(char c) { return std::string(64, c); }

class EngineArtifactsTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.delete_artifact = [this](const std::string& sha256) { deleted_.push_back(sha256); };
    Boot();
    engine_->Submit(std::make_shared<Submission>(SmallSweep("a", {1, 2, 3})),
                    [](const auto& answer) { ASSERT_TRUE(answer.ok()) << answer.status(); });
    Register("w1");
    attempt_ = Lease("w1");
  }

  void Boot() {
    engine_.reset();
    store_.reset();
    auto opened = RunStore::Open({.path = path_, .survive_power_loss = false}, now_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = std::move(*opened);
    auto started = Engine::Start(options_, store_.get(), now_);
    ASSERT_TRUE(started.ok()) << started.status();
    engine_ = std::move(*started);
  }

  void Register(const std::string& name) {
    engine_->Register({{.name = name, .hostname = "here", .build = "", .pid = 1, .slots = 1}, 1},
                      [](const auto& answer) { ASSERT_TRUE(answer.ok()) << answer.status(); });
    engine_->RunOnce(now_);
  }
  SyncAnswer Sync(SyncCall call) {
    SyncAnswer result;
    engine_->Sync(std::move(call), [&](absl::StatusOr<SyncAnswer> answer) {
      ASSERT_TRUE(answer.ok()) << answer.status();
      result = *answer;
    });
    engine_->RunOnce(now_);
    return result;
  }
  AttemptId Lease(const std::string& worker) {
    const SyncAnswer answer = Sync({.worker = worker, .want = 1});
    EXPECT_EQ(answer.assignments.size(), 1u);
    if (answer.assignments.empty()) return {};
    order_ = answer.assignments[0].order;
    return answer.assignments[0].attempt;
  }
  void End(const std::string& worker, AttemptId attempt, Outcome outcome,
           FailureClass failure = FailureClass::kError) {
    AttemptResult result;
    result.report.attempt = attempt;
    result.report.outcome = outcome;
    result.report.failure = failure;
    result.final_metrics = {{"test/perplexity", 0, 2.0}};
    Sync({.worker = worker, .finished = {result}});
  }

  absl::StatusOr<ArtifactAnswer> Artifact(AttemptId attempt, char digest, int64_t step,
                                          bool stored = true, int64_t bytes = 100,
                                          const std::string& role = "") {
    std::optional<absl::StatusOr<ArtifactAnswer>> result;
    engine_->Artifact({.attempt = attempt,
                       .artifact = {.sha256 = Digest(digest),
                                    .bytes = bytes,
                                    .kind = role.empty()        ? "state"
                                            : role == "routing" ? "trace"
                                                                : "checkpoint",
                                    .role = role,
                                    .step = step},
                       .stored = stored},
                      [&](absl::StatusOr<ArtifactAnswer> answer) { result = answer; });
    engine_->RunOnce(now_);
    return result.value_or(absl::InternalError("not answered"));
  }
  bool Wanted(AttemptId attempt, char digest, int64_t step, bool stored = true) {
    const auto answer = Artifact(attempt, digest, step, stored);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() && answer->wanted;
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.File("results.db");
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  Engine::Options options_{.scheduler = {}, .numerics = 1};
  std::vector<std::string> deleted_;
  std::unique_ptr<RunStore> store_;
  std::unique_ptr<Engine> engine_;
  AttemptId attempt_;
  TrialOrder order_;
};

TEST_F(EngineArtifactsTest, ThePreemptedTrialsNextAttemptGoesOnFromItsNewestState) {
  EXPECT_FALSE(order_.resume_from.has_value());
  EXPECT_TRUE(Wanted(attempt_, 'a', 10));
  EXPECT_TRUE(Wanted(attempt_, 'b', 20));
  EXPECT_THAT(deleted_, ElementsAre(Digest('a')));
  End("w1", attempt_, Outcome::kFailed, FailureClass::kPreempted);
  Register("w2");
  const AttemptId next = Lease("w2");
  ASSERT_EQ(next.trial, attempt_.trial);
  ASSERT_TRUE(order_.resume_from.has_value());
  EXPECT_EQ(order_.resume_from->sha256, Digest('b'));
  EXPECT_EQ(order_.resume_from->step, 20);
}

TEST_F(EngineArtifactsTest, ARestartedCoordinatorStillKnows) {
  EXPECT_TRUE(Wanted(attempt_, 'a', 10));
  Boot();
  EXPECT_THAT(*store_->KeptDigests(), ElementsAre(Digest('a')));
  Register("w1");
  End("w1", attempt_, Outcome::kFailed, FailureClass::kPreempted);
  EXPECT_EQ(Lease("w1").trial, attempt_.trial);
  EXPECT_EQ(order_.resume_from->sha256, Digest('a'));
}

TEST_F(EngineArtifactsTest, AnOlderStateIsNotWantedAndARepeatedOneChangesNothing) {
  EXPECT_TRUE(Wanted(attempt_, 'b', 20));
  EXPECT_TRUE(Wanted(attempt_, 'b', 20));
  EXPECT_FALSE(Wanted(attempt_, 'a', 10, /*stored=*/false));
  EXPECT_THAT(deleted_, IsEmpty());
  EXPECT_FALSE(Wanted(attempt_, 'a', 10));
  EXPECT_THAT(deleted_, ElementsAre(Digest('a'))) << "it was stored for nothing";
}

TEST_F(EngineArtifactsTest, AResultEndsTheNeedForStates) {
  EXPECT_TRUE(Wanted(attempt_, 'a', 10));
  EXPECT_TRUE(Artifact(attempt_, 'c', 30, true, 100, "best")->wanted);
  End("w1", attempt_, Outcome::kSucceeded);
  EXPECT_THAT(deleted_, ElementsAre(Digest('a')));
  EXPECT_FALSE(Wanted(attempt_, 'b', 20, /*stored=*/false));
  EXPECT_THAT(*store_->KeptDigests(), ElementsAre(Digest('c')));
}

TEST_F(EngineArtifactsTest, WhatRoutersDidIsKeptWithTheResultAndNobodyGoesOnFromIt) {
  EXPECT_TRUE(Wanted(attempt_, 'a', 10));
  EXPECT_TRUE(Artifact(attempt_, 'r', 30, true, 100, "routing")->wanted);
  // The attempt is lost before its result is there.
  End("w1", attempt_, Outcome::kFailed, FailureClass::kPreempted);
  const AttemptId again = Lease("w1");
  ASSERT_EQ(again.trial, attempt_.trial);
  ASSERT_TRUE(order_.resume_from.has_value());
  EXPECT_EQ(order_.resume_from->sha256, Digest('a'));
  EXPECT_TRUE(Artifact(again, 'r', 30, true, 100, "routing")->wanted) << "the same bytes";
  End("w1", again, Outcome::kSucceeded);
  EXPECT_THAT(deleted_, ElementsAre(Digest('a')));
  Boot();
  EXPECT_THAT(*store_->KeptDigests(), ElementsAre(Digest('r')));
  // A worker that comes back with what an earlier one left.
  EXPECT_TRUE(Artifact(attempt_, 'r', 30, /*stored=*/false, 100, "routing")->wanted);
}

TEST_F(EngineArtifactsTest, WhatRoutersDidTakesItsPartOfTheBudget) {
  options_.artifact_bytes_max = 250;
  Boot();
  Register("w1");
  EXPECT_TRUE(Artifact(attempt_, 'r', 5, true, 100, "routing")->wanted);
  End("w1", attempt_, Outcome::kSucceeded);
  now_ += absl::Seconds(1);
  const AttemptId second = Lease("w1");
  EXPECT_TRUE(Artifact(second, 'b', 10, true, 150, "best")->wanted);
  EXPECT_THAT(deleted_, IsEmpty());
  EXPECT_TRUE(Artifact(second, 'c', 10, true, 50, "routing")->wanted);
  EXPECT_THAT(deleted_, ElementsAre(Digest('r')));
}

TEST_F(EngineArtifactsTest, AFailedTrialKeepsItsStateForWhoResumesIt) {
  EXPECT_TRUE(Wanted(attempt_, 'a', 10));
  End("w1", attempt_, Outcome::kFailed, FailureClass::kError);
  EXPECT_THAT(deleted_, IsEmpty());
}

TEST_F(EngineArtifactsTest, UnknownTrialsAndAttemptsAreRefused) {
  EXPECT_EQ(Artifact({TrialId{999}, 1}, 'a', 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Artifact({attempt_.trial, 7}, 'a', 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Artifact({attempt_.trial, 0}, 'a', 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(EngineArtifactsTest, TheBudgetSparesWhatIsNeededAndGivesUpTheOldest) {
  options_.artifact_bytes_max = 250;
  Boot();
  Register("w1");
  EXPECT_TRUE(Artifact(attempt_, 'a', 5, true, 100, "best")->wanted);
  End("w1", attempt_, Outcome::kSucceeded);
  now_ += absl::Seconds(1);
  const AttemptId second = Lease("w1");
  EXPECT_TRUE(Wanted(second, 'b', 10));
  // 100 bytes of a result's checkpoint and 100 of a state; 100 more make room by the former.
  EXPECT_TRUE(Artifact(second, 'c', 10, true, 100, "last")->wanted);
  EXPECT_THAT(deleted_, ElementsAre(Digest('a')));
  // Nothing can be spared now.
  const auto full = Artifact(second, 'd', 11, false, 100, "best");
  EXPECT_FALSE(full->wanted);
  EXPECT_THAT(full->reason, HasSubstr("disk budget of 250 bytes"));
  EXPECT_FALSE(Artifact(second, 'e', 12, false, 251)->wanted);
}

}  // namespace
}  // namespace saffron
