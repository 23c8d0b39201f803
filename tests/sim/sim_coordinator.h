#pragma once
// The coordinator of a simulation: the real engine, scheduler, store and translation of messages,
// on a disk in memory, driven as its thread drives it, behind a network that delays, loses, repeats
// and reorders messages and is cut at times.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/engine/engine.h"
#include "tests/sim/memory_disk.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_worker.h"

namespace saffron {

class SimCoordinator : public SimNetwork {
 public:
  struct Options {
    std::string database;  // its folder exists in the real world, for the lock
    Engine::Options engine;
    Bug bug = Bug::kNone;
    bool survive_power_loss = true;
  };
  SimCoordinator(const Options& options, MemoryDisk* disk, Agenda* agenda, Dice* dice,
                 SimOracle* oracle, Marks* marks);
  ~SimCoordinator() override;

  // ---- Its life. While it is down it comes back by itself, sooner or later.
  void Start();
  bool up() const { return engine_ != nullptr; }
  void Stop();      // as asked to: open calls are answered, the database is closed
  void Kill();      // now
  void CutPower();  // now
  // In the middle of whatever it writes after so many operations of the disk.
  void DieWhileWriting(int64_t operations, bool cut_power);
  void Freeze(absl::Duration length);
  void FillDisk(absl::Duration length);
  void BreakWrites(absl::Duration length);
  void BreakSyncs(absl::Duration length);
  void Cut(int machine, absl::Duration length);  // the network between it and the machine

  // null while it is down.
  Engine* engine() { return engine_.get(); }
  // A call of a person: `call` may never happen when it is lost.
  void Control(const std::function<void(Engine&)>& call);
  int64_t steps() const { return steps_; }

  // ---- SimNetwork
  CallId Register(
      const v1::RegisterRequest& request, int machine,
      std::function<void(absl::StatusOr<v1::RegisterResponse>, absl::Duration)> done) override;
  CallId Sync(const v1::SyncRequest& request, int machine,
              std::function<void(absl::StatusOr<v1::SyncResponse>, absl::Duration)> done) override;
  void GiveUp(CallId call) override;
  CallId Store(const v1::AttemptRef& ref, const v1::Artifact& artifact, const std::string& content,
               int machine, std::function<void(absl::Status)> done) override;
  std::optional<std::string> Fetch(const std::string& sha256, int machine) override;

 private:
  struct Call {
    int machine = 0;
    int64_t epoch = 0;  // of the coordinator process that has it; 0: none yet
    Engine::CallId id = 0;
    std::function<void(absl::Status)> fail;
  };
  void Step();
  void StepAt(absl::Time time);
  void Die(bool cut_power);
  void FailToStart();
  void ComeBack();
  void PlantTrigger();
  // The folder of stored files after a start: only what is kept.
  absl::Status TidyFiles();
  absl::Time Now() const { return agenda_->now() + clock_error_; }

  CallId Open(int machine, absl::Duration within, std::function<void(absl::Status)> fail);
  // Carries something to the coordinator, or does not; `arrive` gets the engine.
  void Carry(CallId call, std::function<void(Engine&)> arrive);
  // Whether an answer that the engine gives now leaves the machine.
  bool MaySpeak(int64_t epoch);
  template <typename Response>
  void Answer(CallId call, std::function<void(absl::StatusOr<Response>, absl::Duration)> done,
              absl::StatusOr<Response> response);
  void NoteWhatIsTold(const v1::SyncRequest& request, const v1::SyncResponse& response);
  void Corrupt(const v1::SyncRequest& request, absl::StatusOr<v1::SyncResponse>* response);
  bool IsCut(int machine) const;

  Engine::Options EngineOptions();

  const Options options_;
  MemoryDisk* const disk_;
  Agenda* const agenda_;
  Dice* const dice_;
  SimOracle* const oracle_;
  Marks* const marks_;

  std::unique_ptr<RunStore> store_;
  std::unique_ptr<Engine> engine_;
  int64_t epoch_ = 0;  // counts coordinator processes
  absl::Duration clock_error_ = absl::ZeroDuration();
  absl::Time frozen_until_ = absl::InfinitePast();
  int64_t step_token_ = 0, steps_ = 0;
  bool power_fails_ = false;  // when it dies while writing
  CallId last_call_ = 0;
  std::map<CallId, Call> calls_;
  std::map<int, absl::Time> cut_until_;
  std::map<std::string, std::string> files_;  // stored, by digest; on disk before they are recorded
};

}  // namespace saffron
