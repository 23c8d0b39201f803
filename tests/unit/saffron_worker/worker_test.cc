#include "worker/worker.h"

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "fake_coordinator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "slot_child.h"

namespace saffron {
namespace {

using testing::HasSubstr;

// A worker on a thread of its own.
class RunningWorker {
 public:
  RunningWorker(const std::string& address, const std::string& spool_dir, int slots = 2)
      : worker_({.channel = ConnectToCoordinator(address),
                 .address = address,
                 .slots = slots,
                 .slot = {.argv = SlotArgv(), .stop_grace = absl::Milliseconds(300)},
                 .spool_dir = spool_dir,
                 .leave_within = absl::Milliseconds(500),
                 .log = [this](const std::string& line) { Note(line); }}),
        thread_([this] { status_ = worker_.Run(); }) {}
  ~RunningWorker() { Leave().IgnoreError(); }

  absl::Status Leave() {
    worker_.Leave();
    return Join();
  }
  absl::Status Join() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }
  std::string log() {
    std::lock_guard lock(mutex_);
    return absl::StrJoin(lines_, "\n");
  }

 private:
  void Note(const std::string& line) {
    std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  std::mutex mutex_;
  std::vector<std::string> lines_;
  absl::Status status_;
  Worker worker_;
  std::thread thread_;
};

class WorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "worker.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    spool_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(spool_); }
  bool SpoolIsEmpty() const { return std::filesystem::is_empty(spool_); }

  FakeCoordinator coordinator_;
  std::string spool_;
};

TEST_F(WorkerTest, EveryTrialOfferedComesBackWithItsResult) {
  for (int trial = 1; trial <= 200; ++trial) {
    coordinator_.Offer(AssignmentFor(trial, trial % 10 == 0 ? "diverge" : "measure 3"));
  }
  auto worker = std::make_unique<RunningWorker>(coordinator_.address(), spool_);
  const auto results = coordinator_.Results(200);
  ASSERT_EQ(results.size(), 200);
  for (const auto& [trial, result] : results) {
    EXPECT_EQ(result.outcome(), trial % 10 == 0 ? v1::OUTCOME_DIVERGED : v1::OUTCOME_SUCCEEDED);
  }
  EXPECT_EQ(coordinator_.measurements(), 180 * 3);
  EXPECT_TRUE(worker->Leave().ok());
  worker.reset();
  EXPECT_TRUE(coordinator_.heard_draining());
  EXPECT_TRUE(SpoolIsEmpty());
}

TEST_F(WorkerTest, ACrashingTrialCostsItsAttemptAndNothingElse) {
  coordinator_.Offer(AssignmentFor(1, "sleep 200"));
  coordinator_.Offer(AssignmentFor(2, "crash"));
  coordinator_.Offer(AssignmentFor(3, "succeed"));
  RunningWorker worker(coordinator_.address(), spool_);
  auto results = coordinator_.Results(3);
  EXPECT_EQ(results[1].outcome(), v1::OUTCOME_SUCCEEDED);
  EXPECT_EQ(results[2].failure_class(), v1::FAILURE_CLASS_ERROR);
  EXPECT_EQ(results[3].outcome(), v1::OUTCOME_SUCCEEDED);
  EXPECT_THAT(worker.log(), HasSubstr("trial 2 failed: the trial's process died of signal 11"));
}

TEST_F(WorkerTest, ATrialWhoseCorpusIsNotThereIsHandedBackWithItsName) {
  v1::Assignment assignment = AssignmentFor(1, "nocorpus");
  assignment.set_data_fingerprint("feed");
  v1::Param* corpus = assignment.mutable_variant()->add_params();
  corpus->set_key("data.corpus");
  corpus->mutable_value()->set_text("tales");
  coordinator_.Offer(assignment);
  RunningWorker worker(coordinator_.address(), spool_);
  const v1::AttemptResult result = coordinator_.Results(1)[1];
  EXPECT_EQ(result.outcome(), v1::OUTCOME_FAILED);
  EXPECT_EQ(result.missing_corpus().name(), "tales");
  EXPECT_EQ(result.missing_corpus().fingerprint(), "feed");
  EXPECT_THAT(worker.log(), HasSubstr("trial 1 handed back, as will be all that read it"));
}

TEST_F(WorkerTest, AWorkerStartedBeforeTheCoordinatorWaitsForIt) {
  coordinator_.Stop();
  RunningWorker worker(coordinator_.address(), spool_);
  absl::SleepFor(absl::Milliseconds(300));
  coordinator_.Start();
  coordinator_.Offer(AssignmentFor(1, "succeed"));
  EXPECT_EQ(coordinator_.Results(1).size(), 1);
}

TEST_F(WorkerTest, ACoordinatorThatIsThereButPausedIsNotCalledMissing) {
  coordinator_.sync_status = grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                          "the coordinator is paused: disk full", "details");
  RunningWorker worker(coordinator_.address(), spool_);
  for (int i = 0; i < 2000 && !absl::StrContains(worker.log(), "paused"); ++i) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(worker.log(), HasSubstr("no orders from the coordinator at"));
  EXPECT_THAT(worker.log(), testing::Not(HasSubstr("no coordinator")));
}

TEST_F(WorkerTest, TrainingGoesOnThroughAnOutageAndResultsAreDeliveredAfterIt) {
  coordinator_.Offer(AssignmentFor(1, "sleep 300"));
  coordinator_.Offer(AssignmentFor(2, "sleep 350"));
  RunningWorker worker(coordinator_.address(), spool_);
  ASSERT_TRUE(coordinator_.WaitUntilRunning(1));
  coordinator_.Stop();
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_FALSE(SpoolIsEmpty());
  coordinator_.Start();
  EXPECT_EQ(coordinator_.Results(2).size(), 2);
  EXPECT_THAT(worker.log(), HasSubstr("is back"));
  EXPECT_EQ(coordinator_.workers().size(), 1) << "the same worker registered again";
}

TEST_F(WorkerTest, ALostAcknowledgementLosesNoResult) {
  coordinator_.lose_answers = 3;
  for (int trial = 1; trial <= 20; ++trial) coordinator_.Offer(AssignmentFor(trial, "succeed"));
  auto worker = std::make_unique<RunningWorker>(coordinator_.address(), spool_);
  EXPECT_EQ(coordinator_.Results(20).size(), 20);
  EXPECT_TRUE(worker->Leave().ok());
  worker.reset();
  EXPECT_TRUE(SpoolIsEmpty());
}

TEST_F(WorkerTest, ResultsOfAWorkerThatDiedInAnOutageAreDeliveredByTheNext) {
  coordinator_.Offer(AssignmentFor(1, "sleep 100"));
  {
    RunningWorker worker(coordinator_.address(), spool_);
    ASSERT_TRUE(coordinator_.WaitUntilRunning(1));
    coordinator_.Stop();
    absl::SleepFor(absl::Milliseconds(300));
    worker.Leave().IgnoreError();
    EXPECT_THAT(worker.log(), HasSubstr("kept for the next worker"));
  }
  coordinator_.Start();
  RunningWorker next(coordinator_.address(), spool_);
  EXPECT_EQ(coordinator_.Results(1).size(), 1);
  EXPECT_EQ(coordinator_.workers().size(), 2);
}

TEST_F(WorkerTest, LeavingHandsBackWhatRunsAndWhatWaits) {
  for (int trial = 1; trial <= 2; ++trial) coordinator_.Offer(AssignmentFor(trial, "sleep 60000"));
  RunningWorker worker(coordinator_.address(), spool_);
  ASSERT_TRUE(coordinator_.WaitUntilRunning(2));
  EXPECT_TRUE(worker.Leave().ok());
  auto results = coordinator_.Results(2);
  ASSERT_EQ(results.size(), 2);
  for (const auto& [trial, result] : results) {
    EXPECT_EQ(result.failure_class(), v1::FAILURE_CLASS_PREEMPTED);
  }
}

TEST_F(WorkerTest, AnAbandonedTrialIsStoppedAndItsSlotUsedAgain) {
  coordinator_.Offer(AssignmentFor(1, "sleep 60000"));
  RunningWorker worker(coordinator_.address(), spool_, 1);
  ASSERT_TRUE(coordinator_.WaitUntilRunning(1));
  coordinator_.Abandon(AssignmentFor(1, "").ref());
  coordinator_.Offer(AssignmentFor(2, "succeed"));
  const auto results = coordinator_.Results(1);
  EXPECT_TRUE(results.contains(2));
  EXPECT_FALSE(results.contains(1));
}

TEST_F(WorkerTest, OtherNumericsAreRefusedForGood) {
  coordinator_.register_status =
      grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "numerics 1 here, 2 there");
  RunningWorker worker(coordinator_.address(), spool_);
  const absl::Status status = worker.Join();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("numerics 1 here"));
}

TEST_F(WorkerTest, ResultsAreNotDeliveredToAnotherDatabaseAtTheSameAddress) {
  coordinator_.Offer(AssignmentFor(1, "sleep 100"));
  RunningWorker worker(coordinator_.address(), spool_);
  ASSERT_TRUE(coordinator_.WaitUntilRunning(1));
  coordinator_.Stop();
  coordinator_.coordinator_id = "another";
  absl::SleepFor(absl::Milliseconds(200));
  coordinator_.Start();
  coordinator_.Offer(AssignmentFor(2, "succeed"));
  const auto results = coordinator_.Results(1);
  EXPECT_TRUE(results.contains(2));
  EXPECT_FALSE(results.contains(1));
}

TEST_F(WorkerTest, ASpoolThatCannotBeWrittenIsSaidOnceAndWorkGoesOn) {
  for (int trial = 1; trial <= 5; ++trial) coordinator_.Offer(AssignmentFor(trial, "succeed"));
  RunningWorker worker(coordinator_.address(), "/proc/nowhere");
  EXPECT_EQ(coordinator_.Results(5).size(), 5);
  const std::string log = worker.log();
  EXPECT_THAT(log, HasSubstr("in memory only"));
  EXPECT_EQ(log.find("in memory only"), log.rfind("in memory only"));
}

}  // namespace
}  // namespace saffron
