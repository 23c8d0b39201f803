// Workers that cannot open what trials read, as people see it.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_engine/engine_fixture.h"

namespace saffron {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// The corpus of SmallSweep.
const std::vector<std::string> kMissing = {"f00d"};

class CorporaTest : public EngineTest {
 protected:
  // The worker takes a trial and finds that it cannot open what it reads.
  absl::StatusOr<SyncAnswer> TakeAndHandBack(const std::string& worker) {
    const AttemptId attempt = Take(worker);
    return Sync({.worker = worker,
                 .finished = {{.report = {.attempt = attempt,
                                          .outcome = Outcome::kFailed,
                                          .message = "no corpus \"sotu\" in /data",
                                          .no_corpus = true}}},
                 .want = 1,
                 .missing_corpora = kMissing});
  }
};

TEST_F(CorporaTest, WhatNobodyCanOpenWaitsAndSaysSo) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1, 2})).ok());
  ASSERT_TRUE(Register("bare").ok());
  const auto answer = TakeAndHandBack("bare");
  ASSERT_TRUE(answer.ok());
  EXPECT_THAT(answer->acknowledged, SizeIs(1));
  EXPECT_THAT(answer->assignments, IsEmpty());
  const auto says = AllOf(HasSubstr("a worker with corpus \"sotu\" (fingerprint f00d)"),
                          HasSubstr("bare lacks it"), HasSubstr("saffron data add"));
  EXPECT_THAT(Explain(1).reasons[0], says);
  EXPECT_THAT(Explain(2).reasons[0], says);
  EXPECT_EQ(Explain(1).state, "queued");
  EXPECT_THAT(Explain(1).reasons,
              Contains(AllOf(HasSubstr("Attempt 1 on worker bare ended cancelled"),
                             HasSubstr("no corpus \"sotu\" in /data"))));
  EXPECT_EQ(Status()->without_corpus, 2);
  EXPECT_THAT(Status()->missing_corpora, AllOf(HasSubstr("2 trials wait for"), says));
  EXPECT_THAT(Status()->last_failure, IsEmpty());
  EXPECT_THAT(ListWorkers().workers[0].missing_corpora, ElementsAre("sotu"));

  ASSERT_TRUE(Register("rich").ok());
  EXPECT_EQ(Status()->without_corpus, 0);
  EXPECT_EQ(Status()->missing_corpora, "");
  const AttemptId attempt = Take("rich");
  EXPECT_EQ(attempt.number, 2);
  EXPECT_THAT(Explain(2).reasons[0], HasSubstr("Those that have it are busy"));
}

TEST_F(CorporaTest, AWorkerThatWaitsHearsOfNothingItCannotOpenUntilItFindsIt) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("bare").ok());
  ASSERT_TRUE(TakeAndHandBack("bare").ok());
  Slot<SyncAnswer> held;
  engine->Sync({.worker = "bare", .want = 1, .wait = absl::Minutes(1), .missing_corpora = kMissing},
               held.done());
  Run();
  ASSERT_TRUE(Submit(SmallSweep("b", {2})).ok());
  EXPECT_FALSE(held.answer.has_value());
  const auto found = Sync({.worker = "bare", .want = 1});
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->assignments, SizeIs(1));
}

TEST_F(CorporaTest, WhatIsLackedOutlivesTheCoordinatorBecauseWorkersSayItAgain) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("bare").ok());
  ASSERT_TRUE(TakeAndHandBack("bare").ok());
  Boot();
  ASSERT_TRUE(Register("bare").ok());
  const auto answer = Sync({.worker = "bare", .want = 1, .missing_corpora = kMissing});
  ASSERT_TRUE(answer.ok());
  EXPECT_THAT(answer->assignments, IsEmpty());
}

TEST_F(CorporaTest, CorporaThatNoTrialReadsAreNoneOfOurBusiness) {
  ASSERT_TRUE(Submit(SmallSweep("a", {1})).ok());
  ASSERT_TRUE(Register("w").ok());
  const auto answer =
      Sync({.worker = "w", .want = 1, .missing_corpora = {"", "beef", "'; DROP TABLE trials"}});
  ASSERT_TRUE(answer.ok());
  EXPECT_THAT(answer->assignments, SizeIs(1));
}

TEST_F(CorporaTest, ATrialThatReadsNothingRunsWhereNothingIs) {
  Submission sweep = SmallSweep("a", {1});
  sweep.variants[0].corpus = sweep.variants[0].fingerprint = "";
  ASSERT_TRUE(Submit(sweep).ok());
  for (int start = 0; start < 2; ++start) {
    ASSERT_TRUE(Register("bare").ok());
    const auto answer = Sync({.worker = "bare", .want = 1, .missing_more = true});
    ASSERT_TRUE(answer.ok());
    EXPECT_THAT(answer->assignments, SizeIs(1)) << "also as it is read back";
    Boot();
  }
}

TEST_F(CorporaTest, ATrialInBfloat16WaitsForACpuThatHasItAndSaysSo) {
  Submission sweep = SmallSweep("a", {1, 2});
  sweep.variants[1].params["train.precision"] = std::string("bf16");
  ASSERT_TRUE(Submit(sweep).ok());
  for (int start = 0; start < 2; ++start) {
    ASSERT_TRUE(Register("old").ok());
    const auto answer = Sync({.worker = "old", .want = 2, .no_bf16 = true});
    ASSERT_TRUE(answer.ok());
    ASSERT_THAT(answer->assignments, SizeIs(1));
    EXPECT_EQ(answer->assignments[0].attempt, (AttemptId{TrialId{1}, 1}));
    const auto says =
        AllOf(HasSubstr("a worker with AVX512-BF16 in its CPU, for train.precision bf16; old lacks "
                        "it"),
              Not(HasSubstr("corpus")), Not(HasSubstr("notice")));
    EXPECT_THAT(Explain(2).reasons[0], says);
    EXPECT_EQ(Status()->without_corpus, 1);
    EXPECT_THAT(Status()->missing_corpora, AllOf(HasSubstr("1 trial waits for"), says));
    EXPECT_THAT(ListWorkers().workers[0].missing_corpora, IsEmpty());
    Boot();  // as it is read back
  }
  ASSERT_TRUE(Register("new").ok());
  const auto answer = Sync({.worker = "new", .want = 1});
  ASSERT_TRUE(answer.ok());
  ASSERT_THAT(answer->assignments, SizeIs(1));
  EXPECT_EQ(answer->assignments[0].attempt, (AttemptId{TrialId{2}, 1})) << "nothing was charged";
}

}  // namespace
}  // namespace saffron
