#include "worker/slot_process.h"

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "slot_child.h"

namespace saffron {
namespace {

using testing::HasSubstr;

class SlotProcessTest : public testing::Test {
 protected:
  SlotProcess::Ended Run(const v1::Assignment& assignment) {
    slot_.Prepare(assignment.ref());
    return slot_.Run(assignment, {}, {[this](std::vector<v1::Measurement> measurements) {
                       measurements_.insert(measurements_.end(), measurements.begin(),
                                            measurements.end());
                     }});
  }
  SlotProcess::Ended Run(const std::string& label) { return Run(AssignmentFor(++trial_, label)); }

  SlotProcess slot_{{.argv = SlotArgv(), .stop_grace = absl::Milliseconds(300)}};
  std::vector<v1::Measurement> measurements_;
  int64_t trial_ = 0;
};

TEST_F(SlotProcessTest, ATrialReportsItsCurveThenItsMetrics) {
  const SlotProcess::Ended ended = Run("measure 1000");
  EXPECT_EQ(ended.result.outcome(), v1::OUTCOME_SUCCEEDED);
  EXPECT_EQ(ended.result.ref().trial_id(), 1);
  ASSERT_EQ(measurements_.size(), 1000);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(measurements_[i].step(), i);
  ASSERT_EQ(ended.result.final_metrics_size(), 2);
  EXPECT_EQ(ended.result.final_metrics(0).key(), "test/perplexity");
  EXPECT_EQ(ended.result.final_metrics(0).step(), 30);
  EXPECT_EQ(ended.stopped, StopReason::kNone);
}

TEST_F(SlotProcessTest, DivergenceIsAnOutcome) {
  const SlotProcess::Ended ended = Run("diverge");
  EXPECT_EQ(ended.result.outcome(), v1::OUTCOME_DIVERGED);
  EXPECT_EQ(ended.result.message(), "loss is not finite");
}

TEST_F(SlotProcessTest, ATrainersErrorFailsTheAttemptWithItsWords) {
  const SlotProcess::Ended ended = Run("fail");
  EXPECT_EQ(ended.result.failure_class(), v1::FAILURE_CLASS_ERROR);
  EXPECT_EQ(ended.result.message(), "cannot be trained");
}

TEST_F(SlotProcessTest, ADeadProcessFailsItsAttemptAndTheNextTrialRuns) {
  EXPECT_THAT(Run("crash").result.message(), HasSubstr("signal 11"));
  EXPECT_THAT(Run("exit").result.message(), HasSubstr("exit code 7"));
  EXPECT_THAT(Run("throw").result.message(), HasSubstr("surprise"));
  EXPECT_EQ(Run("succeed").result.outcome(), v1::OUTCOME_SUCCEEDED);
}

TEST_F(SlotProcessTest, AKernelKillIsOutOfMemory) {
  const SlotProcess::Ended ended = Run("crash 9");
  EXPECT_EQ(ended.result.failure_class(), v1::FAILURE_CLASS_OUT_OF_MEMORY);
}

#ifndef __SANITIZE_ADDRESS__  // whose shadow memory counts as data
TEST_F(SlotProcessTest, TheMemoryLimitIsEnforcedAndLiftedAgain) {
  v1::Assignment assignment = AssignmentFor(1, "allocate 512");
  assignment.set_memory_limit_bytes(256 << 20);
  const SlotProcess::Ended ended = Run(assignment);
  EXPECT_EQ(ended.result.failure_class(), v1::FAILURE_CLASS_OUT_OF_MEMORY);
  EXPECT_THAT(ended.result.message(), HasSubstr("256 MiB"));
  EXPECT_EQ(Run("allocate 512").result.outcome(), v1::OUTCOME_SUCCEEDED);
}
#endif

TEST_F(SlotProcessTest, TheTimeLimitStopsATrial) {
  v1::Assignment assignment = AssignmentFor(1, "sleep 60000");
  assignment.mutable_time_limit()->set_nanos(50'000'000);
  const SlotProcess::Ended ended = Run(assignment);
  EXPECT_EQ(ended.result.failure_class(), v1::FAILURE_CLASS_TIMEOUT);
  EXPECT_THAT(ended.result.message(), HasSubstr("50ms"));
}

TEST_F(SlotProcessTest, ATrialThatDoesNotStopWhenToldIsKilled) {
  v1::Assignment assignment = AssignmentFor(1, "hang");
  assignment.mutable_time_limit()->set_nanos(50'000'000);
  EXPECT_EQ(Run(assignment).result.failure_class(), v1::FAILURE_CLASS_TIMEOUT);
  EXPECT_EQ(Run("succeed").result.outcome(), v1::OUTCOME_SUCCEEDED);
}

TEST_F(SlotProcessTest, StopHandsBackTheAttemptAndOnlyThat) {
  const v1::Assignment assignment = AssignmentFor(5, "sleep 60000");
  slot_.Prepare(assignment.ref());
  auto running =
      std::async(std::launch::async, [&] { return slot_.Run(assignment, {}, {[](auto) {}}); });
  slot_.Stop(AssignmentFor(5, "", 2).ref(), StopReason::kPreempted);  // another attempt
  EXPECT_EQ(running.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  slot_.Stop(assignment.ref(), StopReason::kPreempted);
  const SlotProcess::Ended ended = running.get();
  EXPECT_EQ(ended.stopped, StopReason::kPreempted);
  EXPECT_EQ(ended.result.failure_class(), v1::FAILURE_CLASS_PREEMPTED);
}

TEST_F(SlotProcessTest, AStopBeforeTheTrialBeganIsNotLost) {
  const v1::Assignment assignment = AssignmentFor(5, "sleep 60000");
  slot_.Prepare(assignment.ref());
  slot_.Stop(assignment.ref(), StopReason::kAbandoned);
  EXPECT_EQ(slot_.Run(assignment, {}, {[](auto) {}}).stopped, StopReason::kAbandoned);
}

TEST_F(SlotProcessTest, AKilledSlotReturnsAtOnceAndStaysDown) {
  const v1::Assignment assignment = AssignmentFor(5, "hang");
  slot_.Prepare(assignment.ref());
  auto running =
      std::async(std::launch::async, [&] { return slot_.Run(assignment, {}, {[](auto) {}}); });
  absl::SleepFor(absl::Milliseconds(20));
  slot_.Kill();
  running.get();
  EXPECT_EQ(Run("succeed").result.outcome(), v1::OUTCOME_FAILED);
}

TEST(SlotProcess, AProgramThatCannotBeStartedFailsTheAttempt) {
  SlotProcess slot({.argv = {"/nonexistent/saffron"}});
  const v1::Assignment assignment = AssignmentFor(1, "succeed");
  slot.Prepare(assignment.ref());
  const SlotProcess::Ended ended = slot.Run(assignment, {}, {[](auto) {}});
  EXPECT_EQ(ended.result.outcome(), v1::OUTCOME_FAILED);
  EXPECT_THAT(ended.result.message(), HasSubstr("/nonexistent/saffron"));
}

}  // namespace
}  // namespace saffron
