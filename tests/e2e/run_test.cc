// `saffron run`, as a user sees it.

#include <signal.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class RunTest : public testing::Test {
 protected:
  Ended RunSweep(const std::string& sweep, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run", scene_.Write("sweep.yaml", sweep)};
    if (more.empty()) more = {"--workers", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return scene_.Run(arguments);
  }
  bool Reaches(const std::string& condition) {
    return Eventually([&] { return scene_.Holds(condition); });
  }
  Scene scene_;
};

TEST_F(RunTest, RealModelsAreTrainedAndRankedAndRunningAgainRepeatsNothing) {
  scene_.AddTinyCorpus();
  const Ended first = RunSweep(TinySweep());
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("kneser_ney"), HasSubstr("saffron query")));
  EXPECT_THAT(first.err, AllOf(HasSubstr("to run"), HasSubstr("(100 %)")));
  EXPECT_THAT(first.out + first.err, Not(HasSubstr("\033"))) << "no escape codes into a file";
  EXPECT_EQ(scene_.One("SELECT count(*) FROM trials WHERE state <> 'succeeded'"), "0");
  // What was learned is more than chance: the corpus repeats itself.
  EXPECT_EQ(scene_.One("SELECT min(value) FROM v_results WHERE metric = 'test/perplexity' AND "
                       "value < (SELECT value FROM v_results WHERE metric = 'test/perplexity' AND "
                       "json_extract((SELECT json FROM variants v WHERE v.id = variant), "
                       "'$.\"model.type\"') = 'unigram' LIMIT 1)"),
            scene_.One("SELECT min(value) FROM v_results WHERE metric = 'test/perplexity'"));

  const std::string attempts = scene_.One("SELECT count(*) FROM attempts");
  const Ended again = RunSweep(TinySweep());
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("0 trials to run"));
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts"), attempts);
}

TEST_F(RunTest, WorkersAndSlotsDoNotChangeWhatIsMeasured) {
  scene_.AddTinyCorpus();
  ASSERT_EQ(RunSweep(TinySweep(), {"--workers", "1", "--db", scene_.Path("one.db")}).exit_code, 0);
  ASSERT_EQ(
      RunSweep(TinySweep(), {"--workers", "2", "--slots", "2", "--db", scene_.Path("four.db")})
          .exit_code,
      0);
  EXPECT_EQ(scene_.DeterministicMetrics("one.db"), scene_.DeterministicMetrics("four.db"));
  EXPECT_THAT(scene_.DeterministicMetrics("one.db"), HasSubstr("test/perplexity"));
}

TEST_F(RunTest, CtrlCKeepsWhatIsDoneSaysHowToGoOnAndTheNextRunGoesOn) {
  const std::string sweep = scene_.Write("sweep.yaml", NoopSweep(30, 60));
  auto run = scene_.Start({"run", sweep, "--workers", "2"});
  ASSERT_TRUE(Reaches("(SELECT count(*) FROM trials WHERE state = 'succeeded') > 4"));
  run->SignalGroup(SIGINT);  // as a terminal does
  const Ended ended = run->Wait();
  EXPECT_EQ(ended.exit_code, 130);
  EXPECT_THAT(ended.err, HasSubstr(absl::StrCat("saffron run ", sweep)));
  EXPECT_EQ(scene_.One("SELECT count(*) FROM trials WHERE state = 'leased'"), "0")
      << "what ran was handed back";
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE failure_class <> 'preempted'"), "0");
  const int done = std::stoi(scene_.One("SELECT count(*) FROM trials WHERE state = 'succeeded'"));
  ASSERT_LT(done, 30);

  const Ended again = scene_.Run({"run", sweep, "--workers", "2"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(scene_.One("SELECT count(*) FROM trials WHERE state = 'succeeded'"), "30");
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'"), "30")
      << "no finished trial ran again";
}

TEST_F(RunTest, ASecondCtrlCEndsItAtOnce) {
  const std::string sweep = scene_.Write("sweep.yaml", NoopSweep(2, 60'000));
  auto run = scene_.Start({"run", sweep, "--workers", "2"});
  ASSERT_TRUE(Reaches("(SELECT count(*) FROM trials WHERE state = 'leased') = 2"));
  run->Signal(SIGTERM);
  run->Signal(SIGTERM);
  EXPECT_EQ(run->Wait().exit_code, 143);
}

TEST_F(RunTest, NoWorkerOutlivesARunThatWasKilled) {
  const std::string sweep = scene_.Write("sweep.yaml", NoopSweep(2, 60'000));
  auto run = scene_.Start({"run", sweep, "--workers", "2"});
  ASSERT_TRUE(Reaches("(SELECT count(*) FROM trials WHERE state = 'leased') = 2"));
  run->Signal(SIGKILL);
  run->Wait();
  EXPECT_TRUE(Eventually([&] { return kill(-run->pid(), 0) != 0; }))
      << "something of its process group still runs";
}

TEST_F(RunTest, TrialsThatFailCrashOrDivergeAreCountedAndTheRestIsDone) {
  const Ended ended = RunSweep(R"(version: 1
name: mixed
blocks:
  - name: every behaviour
    parameters:
      model.type: {value: noop}
      model.sleep_ms: {values: [0, 1, 2]}
      model.behaviour: {values: [succeed, diverge, fail, crash]}
)");
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_THAT(ended.err, HasSubstr("6 of 12 trials failed"));
  EXPECT_THAT(scene_.Rows("SELECT state, failure_class, count(*) FROM trials GROUP BY 1, 2 "
                          "ORDER BY 1"),
              ElementsAre("diverged|NULL|3", "failed|error|6", "succeeded|NULL|3"));
  EXPECT_THAT(scene_.One("SELECT message FROM trials t JOIN variants v ON v.id = t.variant WHERE "
                         "v.json ->> '$.\"model.behaviour\"' = 'crash' LIMIT 1"),
              HasSubstr("died of signal 6"));
}

TEST_F(RunTest, ATrialOverItsTimeLimitFailsAsTimeout) {
  const Ended ended =
      RunSweep(NoopSweep(1, 60'000, "limits: {trial_time: 1s}\nretry: {timeout: 0}\n"));
  EXPECT_EQ(ended.exit_code, 3) << ended.err;
  EXPECT_EQ(scene_.One("SELECT failure_class FROM trials"), "timeout");
}

TEST_F(RunTest, AnEditedSweepNamesTheKeyThatMadeTrialsNew) {
  ASSERT_EQ(scene_.Run({"run", scene_.Write("a.yaml", NoopSweep(2))}).exit_code, 0);
  const Ended again = scene_.Run({"run", scene_.Write("a.yaml", NoopSweep(2, 1))});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("model.sleep_ms: 0 became 1: 2 trials to run"));
}

TEST_F(RunTest, AnEditedSweepRunsOnlyWhatIsNew) {
  ASSERT_EQ(RunSweep(NoopSweep(4)).exit_code, 0);
  const Ended ended = RunSweep(NoopSweep(6));
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("revision 2"), HasSubstr("2 trials to run"),
                               HasSubstr("4 done before")));
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts"), "6");
}

TEST_F(RunTest, ACorpusChangedUnderTheSameNameIsTrainedOnAgain) {
  scene_.AddTinyCorpus();
  const std::string sweep =
      "version: 1\nname: u\nbaseline: {model.type: unigram, data.corpus: tiny, data.vocab: 64, "
      "data.eval_tokens: 500}\n";
  ASSERT_EQ(RunSweep(sweep).exit_code, 0);
  std::vector<std::string> arguments = {"data", "add", "tiny", "--replace"};
  for (int i = 0; i < 60; ++i) {
    arguments.push_back(
        scene_.Write(absl::StrCat("texts/", 100 + i, ".txt"),
                     absl::StrCat(scene_.Read(absl::StrCat("texts/", 100 + i, ".txt")),
                                  "and one more line of words\n")));
  }
  ASSERT_EQ(scene_.Run(arguments).exit_code, 0);
  const Ended plan = scene_.Run({"plan", scene_.Path("sweep.yaml"), "--detailed-exitcode"});
  EXPECT_EQ(plan.exit_code, 2) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr("data.corpus contents"));
  ASSERT_EQ(RunSweep(sweep).exit_code, 0);
  EXPECT_EQ(scene_.One("SELECT count(*) FROM trials WHERE state = 'succeeded'"), "2");
}

TEST_F(RunTest, ACorpusThatGoesAwayDuringARunEndsItAndCostsNothing) {
  scene_.AddTinyCorpus();
  const std::string sweep =
      "version: 1\nname: u\nbaseline: {model.type: noop, model.sleep_ms: 2000, data.corpus: tiny, "
      "data.vocab: 64, data.eval_tokens: 500}\n"
      "blocks: [{name: reads, parameters: {model.type: {value: unigram}}}]\n";
  scene_.Write("sweep.yaml", sweep);
  auto run = scene_.Start({"run", scene_.Path("sweep.yaml"), "--workers", "1"});
  ASSERT_TRUE(run->WaitFor("2 trials to run"));
  std::filesystem::rename(scene_.Path("data/tiny"), scene_.Path("data/.aside"));
  const Ended ended = run->Wait();
  EXPECT_EQ(ended.exit_code, 2) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("1 trial waits for a worker with corpus \"tiny\""));
  std::filesystem::rename(scene_.Path("data/.aside"), scene_.Path("data/tiny"));
  EXPECT_EQ(scene_.Run({"run", scene_.Path("sweep.yaml")}).exit_code, 0);
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE failure_class IS NOT NULL"), "0");
}

TEST_F(RunTest, WhatIsWrongWithASweepIsSaidWithItsPlaceAndNothingIsTouched) {
  const Ended typo = RunSweep("version: 1\nname: x\nbaseline:\n  model.bitz: 64\n");
  EXPECT_EQ(typo.exit_code, 2);
  EXPECT_THAT(typo.err,
              AllOf(StartsWith("saffron: "), HasSubstr("sweep.yaml:4:3"), HasSubstr("model.bits")));
  const Ended corpus = RunSweep("version: 1\nname: x\nbaseline: {data.corpus: nowhere}\n");
  EXPECT_EQ(corpus.exit_code, 2);
  EXPECT_THAT(corpus.err, HasSubstr("nowhere"));
  const Ended missing = scene_.Run({"run", scene_.Path("missing.yaml")});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("missing.yaml"));
  EXPECT_FALSE(std::filesystem::exists(scene_.Path("results.db")));
}

TEST_F(RunTest, AJsonSummaryIsReadByPrograms) {
  const Ended ended = RunSweep(NoopSweep(3), {"--workers", "1", "--output", "json"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.out, AllOf(StartsWith("{"), HasSubstr("\"succeeded\": 3")));
}

}  // namespace
}  // namespace saffron
