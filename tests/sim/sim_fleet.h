#pragma once
// Thousands of workers: their real sessions against the real engine, store and translation of
// messages, in virtual time on a disk in memory. The network carries everything at once; what takes
// time is the engine.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/engine/engine.h"
#include "tests/sim/agenda.h"
#include "tests/sim/memory_disk.h"
#include "worker/session.h"

namespace saffron {

class SimFleet {
 public:
  struct Options {
    int workers = 0;
    double trial_seconds = 0;  // half to one and a half of it
    std::string database;      // its folder exists in the real world, for the lock
    Submission submission;
    int numerics = 0;
    // How long a step of the engine takes, by the processor time that it took here, the calls that
    // it answered and whether it wrote.
    std::function<absl::Duration(double cpu_seconds, int64_t answers, bool wrote)> cost;
  };
  explicit SimFleet(Options options);

  // All call at the same moment; the seconds until each has heard what to do, or `most`.
  double SettleSeconds(double most);
  // Milliseconds that calls which say something took, over the next `length`.
  std::vector<double> LatenciesMs(absl::Duration length);

  int64_t busy() const { return busy_; }  // answers
  int64_t calls() const { return calls_; }
  double engine_cpu() const { return engine_cpu_; }

 private:
  struct Client {
    std::unique_ptr<Session> session;
    bool settled = false, open = false, owes = false;
    int64_t turn = 0;
  };

  void StepAt(absl::Time time);
  void Step();
  void Deliver();
  void Call(size_t i);
  void Register(size_t i, int64_t turn);
  void Fail(size_t i, int64_t turn, const absl::Status& status);
  void CallAfter(size_t i, absl::Duration wait);
  void Take(size_t i, const v1::SyncResponse& response, absl::Duration held);
  void Begin(size_t i, const v1::AttemptRef& ref);
  void News(size_t i, absl::Duration wait);

  const Options options_;
  MemoryDisk disk_;
  Agenda agenda_{absl::FromUnixSeconds(1'700'000'000)};
  Dice dice_{1};
  std::unique_ptr<RunStore> store_;
  std::unique_ptr<Engine> engine_;
  std::vector<Client> clients_;
  std::vector<std::function<void()>> answers_;
  std::vector<double> latencies_ms_;
  absl::Time free_at_ = absl::InfinitePast();
  int64_t token_ = 0;
  bool in_step_ = false;
  size_t settled_ = 0;
  int64_t busy_ = 0, calls_ = 0;
  double engine_cpu_ = 0;
};

}  // namespace saffron
