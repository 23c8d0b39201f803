#pragma once
// The whole of Saffron but for the training, in virtual time: a coordinator, its disk, a network,
// workers on two machines, one of which may be bad or lack a corpus, and people who submit, edit,
// cancel, retry, pause and weigh two roadmaps, whose trials start from each other, and drain and
// release workers. One seed decides everything that happens; the same seed repeats it.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/submission.h"
#include "tests/sim/agenda.h"
#include "tests/sim/bug.h"
#include "tests/sim/memory_disk.h"
#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_worker.h"

namespace saffron {

// What a person does, faults or not: two roadmaps that share trials, each edited a few times.
struct SimWorkload {
  static constexpr int kCount = 16;
  explicit SimWorkload(int number);

  RetryBudgets retry;
  int poison = 0;
  bool bad_machine = false;  // one of the two, until well after other faults have stopped
  // A corpus that the second machine never has, and the first one from the start or only later.
  bool missing_corpus = false, found_corpus = false;
  std::vector<std::vector<Submission>> roadmaps;  // revisions of each, in order
};

class Simulation {
 public:
  struct Options {
    uint64_t seed = 0;
    bool faults = true;
    Bug bug = Bug::kNone;
    // The only misfortune, apart from `faults`: the coordinator ends after so many operations of
    // its disk, and with its machine's power where `cut_power` says so.
    std::optional<int64_t> dies_after = {};
    bool cut_power = false;
    bool new_database = false;  // the coordinator makes its database too
    bool check_when_opened = false;
  };
  // A place for lock files and spools, emptied for each simulation, and the disk.
  struct Stage {
    std::string folder;
    MemoryDisk disk;
    MemoryDisk::Files empty_database;  // made once: saves time

    explicit Stage(const std::string& folder);
    std::string database() const { return folder + "/sim.db"; }
  };
  Simulation(const Options& options, Stage* stage);
  ~Simulation();

  // Until every trial has ended, faults have stopped, and nothing is owed; or until something is
  // wrong. Returns what is wrong, first things first; empty when nothing is.
  std::vector<std::string> Run();
  // After a Run that found nothing wrong.
  const std::string& results() const { return results_; }
  const Marks& marks() const { return marks_; }

 private:
  // One roadmap's person: submits each revision at its time, again until it is answered.
  struct Person {
    size_t next = 0;  // revision to submit
    bool unpaused = false, resumed = false;
  };
  void SubmitNext(size_t roadmap);
  // In the end: lets everything go on, and tries again what failed by bad luck.
  void SetRight(size_t roadmap);
  void ReleaseWorkers();
  void RetryUnlucky();
  void Faults();
  void Strike();
  void Meddle();
  void MeddleWithRoadmap(Engine& engine, const std::string& roadmap);
  void MeddleWithWorkers(Engine& engine);
  void Look(Engine& engine);
  SimWorker& AnyWorker() { return *workers_[dice_.Below(static_cast<int>(workers_.size()))]; }
  void Supervise(SimWorker& worker);
  bool EverythingEnded();
  void StopFaults();

  const Options options_;
  Stage* const stage_;
  const SimWorkload workload_;
  Agenda agenda_;
  Dice dice_;
  Marks marks_;
  SimOracle oracle_;
  std::unique_ptr<SimCoordinator> coordinator_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  std::vector<Person> people_;
  bool calm_ = false;  // faults have stopped for good
  bool machine_is_bad_ = false, released_ = false;
  absl::Time corpus_comes_ = absl::InfinitePast();  // to the first machine
  absl::Duration pace_;                             // longest time between two misfortunes
  int64_t looked_at_ = -1;  // the coordinator's step when the end was last looked for
  std::string results_;
};

}  // namespace saffron
