#pragma once
// An engine on a database in a temporary folder.

#include <memory>
#include <optional>
#include <string>

#include "coordinator/engine/engine.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {

// An engine under a virtual clock. Calls return the answer once there is one.
class EngineTest : public testing::Test {
 protected:
  void SetUp() override { Boot(); }

  void Boot() {
    engine.reset();
    store.reset();
    auto opened = RunStore::Open({.path = path, .survive_power_loss = false}, now);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = std::move(*opened);
    auto started = Engine::Start(options, store.get(), now);
    ASSERT_TRUE(started.ok()) << started.status();
    engine = std::move(*started);
  }

  template <typename T>
  struct Slot {
    std::optional<absl::StatusOr<T>> answer;
    Done<T> done() {
      return [this](absl::StatusOr<T> a) {
        EXPECT_FALSE(answer.has_value()) << "answered twice";
        answer = std::move(a);
      };
    }
  };
  absl::Time Run() { return engine->RunOnce(now); }

  absl::Status Register(const std::string& name, int slots = 1, int numerics = 1,
                        const std::string& host = "here") {
    Slot<RegisterAnswer> slot;
    engine->Register(
        {{.name = name, .hostname = host, .build = "", .pid = 1, .slots = slots}, numerics},
        slot.done());
    Run();
    return slot.answer->status();
  }
  absl::StatusOr<SyncAnswer> Sync(SyncCall call) {
    Slot<SyncAnswer> slot;
    engine->Sync(std::move(call), slot.done());
    Run();
    if (!slot.answer) return absl::InternalError("held");
    return *slot.answer;
  }
  absl::StatusOr<SubmitAnswer> Submit(const Submission& submission) {
    Slot<SubmitAnswer> slot;
    engine->Submit(std::make_shared<Submission>(submission), slot.done());
    Run();
    return *slot.answer;
  }
  absl::StatusOr<RoadmapStatus> Status(const std::string& roadmap = "last") {
    Slot<RoadmapStatus> slot;
    engine->Status(roadmap, slot.done());
    Run();
    return *slot.answer;
  }
  absl::StatusOr<int64_t> Cancel(ControlCall call) {
    Slot<int64_t> slot;
    engine->Cancel(call, slot.done());
    Run();
    return *slot.answer;
  }
  absl::StatusOr<RetryAnswer> Retry(RetryCall call) {
    Slot<RetryAnswer> slot;
    engine->Retry(call, slot.done());
    Run();
    return *slot.answer;
  }
  absl::StatusOr<bool> Pause(const std::string& roadmap, std::optional<std::string> reason) {
    Slot<bool> slot;
    engine->Pause(roadmap, reason, slot.done());
    Run();
    return *slot.answer;
  }
  absl::StatusOr<bool> SetPriority(const std::string& roadmap, double priority) {
    Slot<bool> slot;
    engine->SetPriority(roadmap, priority, slot.done());
    Run();
    return *slot.answer;
  }
  FleetView ListWorkers() {
    Slot<FleetView> slot;
    engine->ListWorkers(slot.done());
    Run();
    return **slot.answer;
  }
  absl::StatusOr<WorkerControlAnswer> ControlWorker(WorkerControlCall call) {
    Slot<WorkerControlAnswer> slot;
    engine->ControlWorker(call, slot.done());
    Run();
    return *slot.answer;
  }
  // The worker asks for one trial; its attempt, which must be there.
  AttemptId Take(const std::string& worker) {
    const absl::StatusOr<SyncAnswer> answer = Sync({.worker = worker, .want = 1});
    EXPECT_TRUE(answer.ok() && answer->assignments.size() == 1) << worker;
    return answer.ok() && !answer->assignments.empty() ? answer->assignments[0].attempt
                                                       : AttemptId{};
  }
  void Fail(const std::string& worker, AttemptId attempt, FailureClass failure) {
    EXPECT_TRUE(Sync({.worker = worker,
                      .finished = {{.report = {.attempt = attempt,
                                               .outcome = Outcome::kFailed,
                                               .failure = failure,
                                               .message = "why"}}}})
                    .ok());
  }
  Explanation Explain(int64_t trial) {
    Slot<Explanation> slot;
    engine->Explain(TrialId{trial}, slot.done());
    Run();
    return **slot.answer;
  }
  static AttemptResult Success(AttemptId attempt, double perplexity) {
    return {.report = {.attempt = attempt}, .final_metrics = {{"test/perplexity", 0, perplexity}}};
  }

  TemporaryFolder folder;
  std::string path = folder.File("results.db");
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  Engine::Options options{.scheduler = {}, .numerics = 1};
  std::unique_ptr<RunStore> store;
  std::unique_ptr<Engine> engine;
};

}  // namespace saffron
