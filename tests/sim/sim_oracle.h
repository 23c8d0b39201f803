#pragma once
// What must hold after every step, judged from outside: the database as a reader sees it, against
// the scheduler, against what workers were told, and against what it held before.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/sqlite.h"
#include "tests/sim/agenda.h"
#include "tests/sim/sim_worker.h"

namespace saffron {

class SimOracle {
 public:
  // `budgets` and `poison` (RoadmapPolicy) are those of every roadmap.
  SimOracle(const std::string& database, const RetryBudgets& budgets, int poison = 0)
      : database_(database), budgets_(budgets), poison_(poison) {}
  // Looks at the whole database whenever it is opened.
  void CheckDatabaseWhenOpened() { check_when_opened_ = true; }

  // ---- What workers are told.
  void ToldResultIsKept(AttemptId attempt) { told_.push_back(attempt); }
  void ToldMeasurementsAreKept(AttemptId attempt, int64_t below);

  // ---- The coordinator's life.
  void Opened(const Scheduler& scheduler);  // started, or started again: checks every trial
  void Closed() { reader_.reset(); }
  void Stepped(const Scheduler& scheduler);  // nothing is being written

  // ---- The folder of stored files.
  void FilesChanged() { files_changed_ = true; }
  // By digest; looks only where they may have changed.
  void CheckFiles(const std::map<std::string, std::string>& files);

  // ---- In the end.
  void CheckDatabase();  // with every rule of CheckIntegrity; requires Opened
  // By roadmap, trials without a result that would have one if they were tried often enough.
  std::map<RoadmapId, std::vector<int64_t>> Unfinished();
  // Trials, outcomes, results and curves of every roadmap's current revision, as text.
  std::string ResultsTable();
  void CountEvents(Marks* marks);

  void Violate(const std::string& what) { violations_.push_back(what); }
  // In the order they were noticed.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  struct Attempt {
    std::string outcome, failure;  // empty: open; empty: none
    int64_t worker = 0;
    bool no_corpus = false;  // its worker could not open it
  };
  // What a trial is, whatever happens to it.
  struct Fixed {
    SimTrial trial;
    bool may_succeed = false;
    bool has_result = false;  // in the end: it succeeds or diverges
    bool fails = false;       // it is tried, and fails
  };
  struct Trial {
    std::string state, failure;
    int64_t attempts = 0, budget_from = 0;
    std::vector<Attempt> made;
  };

  void Require(bool holds, TrialId trial, const char* rule);
  void CheckTrial(TrialId id, const Scheduler& scheduler);
  Trial LoadTrial(TrialId id);
  void CheckAttempts(TrialId id, const Trial& trial);
  void CheckHistory(TrialId id, const Trial& trial);
  void CheckBudgets(TrialId id, const Trial& trial, const Scheduler& scheduler);
  void CheckValues(TrialId id, const Trial& trial);
  void CheckTold(AttemptId attempt);
  // Trials with events that were not seen yet.
  std::set<TrialId> NewEvents();
  const Fixed& FixedOf(TrialId id);

  // ---- What people decide (sim_oracle_control.cc)
  void NoteControl(const std::string& kind, int64_t worker, int64_t roadmap,
                   const std::string& reason);
  // By what was decided until then.
  void CheckStart(TrialId trial, int64_t worker);
  void CheckControl(const Scheduler& scheduler);

  Statement& Query(const char* sql);

  const std::string database_;
  const RetryBudgets budgets_;
  const int poison_;
  bool check_when_opened_ = false;
  std::unique_ptr<Database> reader_;
  int64_t last_event_ = 0;
  std::set<TrialId> ended_lately_;  // failed or cancelled since the last step, if only for a moment
  std::map<TrialId, Trial> seen_;
  std::vector<AttemptId> told_;            // since the last step
  std::map<TrialId, int64_t> told_steps_;  // measurements of the trial that a worker let go of
  std::set<TrialId> touched_;              // since the last step
  std::map<TrialId, Fixed> fixed_;
  std::set<int64_t> paused_, drained_;  // roadmaps, workers; by the events so far
  std::set<std::string> barred_;        // machines in quarantine
  bool control_changed_ = false, files_changed_ = false;
  std::vector<std::string> violations_;
};

}  // namespace saffron
