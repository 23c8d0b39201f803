// Interrupted trials: preempted, killed, stopped; another process goes on, and nobody could tell.

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
using testing::HasSubstr;
using testing::Not;

// One trial, long enough to be interrupted.
constexpr char kSweep[] = R"(version: 1
name: long
baseline:
  data.corpus: tiny
  data.vocab: 128
  data.tokens: 20000
  data.eval_tokens: 1000
  model.bits: 16
  train.steps: 10000
  train.batch: 512
  train.eval_every: 50
)";

class ResumeTest : public testing::Test {
 protected:
  void SetUp() override {
    scene_.AddTinyCorpus();
    sweep_ = scene_.Write("sweep.yaml", kSweep);
  }

  std::unique_ptr<Process> Worker() {
    return scene_.Start(
        {"worker", "--coordinator", scene_.address(), "--checkpoint-every", "0.02"});
  }
  // Waits until the trial's curve has a point beyond `step`.
  bool TrainedBeyond(int step, const std::string& database = "results.db") {
    return Eventually([&] {
      return scene_.Holds(absl::StrCat("(SELECT max(step) FROM metrics) > ", step), database);
    });
  }
  bool HasState() {
    return Eventually([&] {
      return scene_.Holds(
          "(SELECT count(*) FROM artifacts WHERE kind = 'state' AND deleted_us IS NULL) = 1");
    });
  }
  std::string Attempts() {
    return scene_.One(
        "SELECT group_concat(coalesce(failure_class, outcome)) FROM (SELECT * FROM attempts "
        "ORDER BY number)");
  }
  // A run of the same that nobody disturbed has the same numbers; and nothing is left over.
  void ExpectAsIfNothingHadHappened() {
    ASSERT_EQ(
        scene_.Run({"run", sweep_, "--workers", "1", "--db", scene_.Path("calm.db")}).exit_code, 0);
    EXPECT_EQ(scene_.DeterministicMetrics(), scene_.DeterministicMetrics("calm.db"));
    EXPECT_EQ(scene_.One("SELECT count(*) FROM artifacts WHERE deleted_us IS NULL"), "0");
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(scene_.Path("results.db.artifacts"))) {
      EXPECT_TRUE(entry.is_directory()) << entry.path();
    }
  }

  Scene scene_;
  std::string sweep_;
};

TEST_F(ResumeTest, APreemptedTrialIsFinishedByAnotherWorker) {
  auto serve = scene_.Serve();
  ASSERT_EQ(scene_.Run({"submit", sweep_}).exit_code, 0);
  auto first = Worker();
  ASSERT_TRUE(TrainedBeyond(50));
  first->Signal(SIGTERM);
  EXPECT_EQ(first->Wait().exit_code, 143);
  ASSERT_TRUE(HasState());
  EXPECT_EQ(Attempts(), "preempted");
  const int step = std::stoi(
      scene_.One("SELECT step FROM artifacts WHERE kind = 'state' AND deleted_us IS NULL"));
  EXPECT_GT(step, 50);
  auto second = Worker();
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_EQ(Attempts(), "preempted,succeeded");
  EXPECT_THAT(scene_.One("SELECT group_concat(reason) FROM events WHERE kind = 'resumed'"),
              HasSubstr(absl::StrCat("from step ", step)));
  EXPECT_THAT(second->err(), Not(HasSubstr("from the start")));
  ExpectAsIfNothingHadHappened();
}

TEST_F(ResumeTest, AKilledWorkersTrialGoesOnFromItsLastCheckpoint) {
  auto serve = scene_.Serve({"--lease", "1"});
  ASSERT_EQ(scene_.Run({"submit", sweep_}).exit_code, 0);
  auto first = Worker();
  ASSERT_TRUE(HasState());
  ASSERT_TRUE(TrainedBeyond(30));
  first->SignalGroup(SIGKILL);
  auto second = Worker();
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_EQ(Attempts(), "worker_lost,succeeded");
  EXPECT_THAT(scene_.One("SELECT reason FROM events WHERE kind = 'resumed'"),
              HasSubstr("from step "));
  ExpectAsIfNothingHadHappened();
}

TEST_F(ResumeTest, RunGoesOnInTheMiddleOfATrial) {
  const std::vector<std::string> run = {"run", sweep_, "--workers", "1", "--checkpoint-every",
                                        "0.02"};
  auto process = scene_.Start(run);
  ASSERT_TRUE(TrainedBeyond(50));
  process->SignalGroup(SIGINT);
  EXPECT_EQ(process->Wait().exit_code, 130);
  ASSERT_TRUE(HasState());
  EXPECT_EQ(scene_.Run(run).exit_code, 0);
  EXPECT_THAT(scene_.One("SELECT reason FROM events WHERE kind = 'resumed'"),
              HasSubstr("from step "));
  ExpectAsIfNothingHadHappened();
}

TEST_F(ResumeTest, ReplayFindsTheSameBitsAndTheFirstStepThatDiffers) {
  ASSERT_EQ(scene_.Run({"run", sweep_, "--workers", "1"}).exit_code, 0);
  const Ended same = scene_.Run({"replay", "1"});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.err, HasSubstr("trial 1: the same, bit for bit"));
  EXPECT_EQ(scene_.Run({"replay", "1", "--output", "json"}).out, "[]\n");
  EXPECT_EQ(scene_.Run({"replay", "2"}).exit_code, 4);
}

}  // namespace
}  // namespace saffron
