#include "tests/sim/sim_oracle.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/scheduler/invariants.h"
#include "coordinator/store/integrity.h"
#include "core/base/check.h"

namespace saffron {
namespace {

bool IsResultName(const std::string& name) {
  const std::optional<Outcome> outcome = OutcomeFromName(name);
  return outcome && IsResult(*outcome);
}

bool Next(Statement& statement) {
  const absl::StatusOr<bool> row = statement.Next();
  CHECK(row.ok()) << row.status();
  return *row;
}

}  // namespace

Statement& SimOracle::Query(const char* sql) {
  absl::StatusOr<Statement*> statement = reader_->Use(sql);
  CHECK(statement.ok()) << statement.status();
  return **statement;
}

void SimOracle::Require(bool holds, TrialId trial, const char* rule) {
  if (!holds) Violate(absl::StrCat("trial ", trial.value, ": ", rule));
}

void SimOracle::ToldMeasurementsAreKept(AttemptId attempt, int64_t below) {
  int64_t& told = told_steps_[attempt.trial];
  told = std::max(told, below);
  touched_.insert(attempt.trial);
}

void SimOracle::Opened(const Scheduler& scheduler) {
  absl::StatusOr<Database> reader = Database::Open(database_, Database::Mode::kReadOnly);
  CHECK(reader.ok()) << reader.status();
  reader_ = std::make_unique<Database>(*std::move(reader));
  std::vector<TrialId> all;
  Statement& trials = Query("SELECT id FROM trials");
  trials.Start();
  while (Next(trials)) all.push_back(TrialId{trials.Int(0)});
  for (const auto& [id, trial] : seen_) {
    Require(std::count(all.begin(), all.end(), id) == 1, id, "a trial is for ever");
  }
  touched_.insert(all.begin(), all.end());
  control_changed_ = true;
  if (check_when_opened_) CheckDatabase();
  Stepped(scheduler);
}

std::set<TrialId> SimOracle::NewEvents() {
  std::set<TrialId> trials;
  Statement& events =
      Query("SELECT id, trial, kind, worker, roadmap, reason FROM events WHERE id > ? ORDER BY id");
  events.Start(last_event_);
  while (Next(events)) {
    last_event_ = std::max(last_event_, events.Int(0));
    const std::string kind(events.Text(2));
    if (events.IsNull(1)) {
      NoteControl(kind, events.Int(3), events.Int(4), std::string(events.Text(5)));
      continue;
    }
    const TrialId trial{events.Int(1)};
    trials.insert(trial);
    if (kind == "failed" || kind == "cancelled") ended_lately_.insert(trial);
    if (kind == "leased") CheckStart(trial, events.Int(3));
  }
  return trials;
}

void SimOracle::Stepped(const Scheduler& scheduler) {
  for (const std::string& violation : FindViolations(scheduler)) Violate(violation);
  ended_lately_.clear();
  touched_.merge(NewEvents());
  for (TrialId id : std::exchange(touched_, {})) CheckTrial(id, scheduler);
  if (std::exchange(control_changed_, false)) CheckControl(scheduler);
  for (AttemptId attempt : std::exchange(told_, {})) CheckTold(attempt);
}

SimOracle::Trial SimOracle::LoadTrial(TrialId id) {
  Trial trial;
  Statement& row =
      Query("SELECT state, failure_class, attempts, budget_from FROM trials WHERE id = ?");
  row.Start(id.value);
  CHECK(Next(row)) << "trial " << id.value;
  trial = {.state = std::string(row.Text(0)),
           .failure = std::string(row.Text(1)),
           .attempts = row.Int(2),
           .budget_from = row.Int(3),
           .made = {}};
  (void)Next(row);
  Statement& attempts = Query(
      "SELECT number, outcome, failure_class, worker, message FROM attempts WHERE trial = ? "
      "ORDER BY number");
  attempts.Start(id.value);
  while (Next(attempts)) {
    Require(attempts.Int(0) == std::ssize(trial.made) + 1, id, "attempts are numbered 1, 2, ...");
    trial.made.push_back({std::string(attempts.Text(1)), std::string(attempts.Text(2)),
                          attempts.Int(3), attempts.Text(4) == kNoCorpusMessage});
  }
  return trial;
}

void SimOracle::CheckTrial(TrialId id, const Scheduler& scheduler) {
  const Trial trial = LoadTrial(id);
  CheckAttempts(id, trial);
  CheckHistory(id, trial);
  CheckBudgets(id, trial, scheduler);
  CheckValues(id, trial);
  const Scheduler::Trial* scheduled = scheduler.FindTrial(id);
  Require(scheduled != nullptr && scheduled->attempts == trial.attempts &&
              TrialStateName(scheduled->state) == trial.state,
          id, "the scheduler's state is the recorded one");
  seen_[id] = trial;
}

void SimOracle::CheckAttempts(TrialId id, const Trial& trial) {
  Require(trial.attempts == std::ssize(trial.made), id, "every attempt is on record");
  const auto open = std::count_if(trial.made.begin(), trial.made.end(),
                                  [](const Attempt& a) { return a.outcome.empty(); });
  Require(
      open == (trial.state == "leased" ? 1 : 0) && (open == 0 || trial.made.back().outcome.empty()),
      id, "the newest attempt is open while the trial is leased, and no other ever");
  const auto results = std::count_if(trial.made.begin(), trial.made.end(),
                                     [](const Attempt& a) { return IsResultName(a.outcome); });
  Require(results == (IsResultName(trial.state) ? 1 : 0), id, "a trial counts once");
  std::set<int64_t> lacking;
  for (const Attempt& attempt : trial.made) {
    if (!attempt.no_corpus) continue;
    Require(attempt.outcome == "cancelled" && attempt.failure.empty(), id,
            "nothing is charged for a corpus that a worker lacks");
    Require(lacking.insert(attempt.worker).second, id,
            "a worker is not given again what it could not open");
  }
}

void SimOracle::CheckHistory(TrialId id, const Trial& trial) {
  auto before = seen_.find(id);
  if (before == seen_.end()) return;
  const Trial& was = before->second;
  if (IsResultName(was.state)) Require(trial.state == was.state, id, "a result is for ever");
  Require(trial.attempts >= was.attempts, id, "an attempt is for ever");
  const bool ended = was.state == "failed" || was.state == "cancelled" || ended_lately_.count(id);
  Require(trial.budget_from == was.budget_from || ended, id,
          "budgets are fresh only for a trial that had ended");
}

void SimOracle::CheckBudgets(TrialId id, const Trial& trial, const Scheduler& scheduler) {
  std::array<int, kFailureClasses> failures = {};
  std::set<int64_t> lost_with;
  for (int64_t i = trial.budget_from; i < std::ssize(trial.made); ++i) {
    const std::optional<FailureClass> failure = FailureClassFromName(trial.made[i].failure);
    if (failure) ++failures[static_cast<int>(*failure)];
    if (failure == FailureClass::kWorkerLost) lost_with.insert(trial.made[i].worker);
  }
  const bool is_poison = poison_ > 0 && std::ssize(lost_with) >= poison_;
  Require(!is_poison || (trial.state != "queued" && trial.state != "leased"), id,
          "a trial that ends its workers is given up");
  for (int c = 0; c < kFailureClasses; ++c) {
    const FailureClass failure = static_cast<FailureClass>(c);
    const int64_t budget = budgets_.Of(failure);
    if (budget >= 0) Require(failures[c] <= budget + 1, id, "no budget is exceeded");
    if (trial.state == "failed" && trial.failure == FailureClassName(failure)) {
      Require((budget >= 0 && failures[c] == budget + 1) ||
                  (failure == FailureClass::kWorkerLost && is_poison),
              id, "a trial is given up only when its budget is spent");
    }
  }
  const Scheduler::Trial* scheduled = scheduler.FindTrial(id);
  if (scheduled == nullptr || std::holds_alternative<Ended>(scheduled->state)) return;
  Require(scheduled->failures == failures, id, "failures are counted as they are recorded");
}

void SimOracle::CheckValues(TrialId id, const Trial& trial) {
  const SimTrial& expected = FixedOf(id).trial;
  const bool has_result = IsResultName(trial.state);
  Statement& results = Query("SELECT key, value, kind FROM results WHERE trial = ?");
  results.Start(id.value);
  int count = 0;
  while (Next(results)) {
    ++count;
    Require(results.Text(0) == "test/perplexity" && results.Double(1) == expected.Perplexity() &&
                results.Int(2) == 0,
            id, "a result is that of its variant and seed");
  }
  Require(count == (has_result ? 1 : 0), id, "a result has its final metrics, and only a result");
  if (has_result) {
    Require(trial.state == (expected.Diverges() ? "diverged" : "succeeded"), id,
            "a result is that of its variant and seed");
  }
  Statement& curve = Query("SELECT step, value FROM metrics WHERE trial = ? ORDER BY step");
  curve.Start(id.value);
  int64_t step = 0;
  while (Next(curve)) {
    ++step;
    Require(curve.Int(0) == step && step <= SimTrial::kSteps, id,
            "measurements are recorded once and in order");
    Require(curve.Double(1) == expected.Loss(curve.Int(0)), id,
            "a measurement is that of its variant and seed");
  }
  if (has_result) Require(step == SimTrial::kSteps, id, "the curve of a result is complete");
  Require(step >= std::min<int64_t>(told_steps_[id], SimTrial::kSteps) &&
              told_steps_[id] <= SimTrial::kSteps,
          id, "measurements that a worker was told are kept, are kept");
}

void SimOracle::CheckTold(AttemptId attempt) {
  const Trial& trial = seen_.count(attempt.trial) > 0
                           ? seen_[attempt.trial]
                           : (seen_[attempt.trial] = LoadTrial(attempt.trial));
  if (IsResultName(trial.state)) return;  // and CheckHistory sees that it stays
  // Or it was refused, because the trial had been cancelled.
  Statement& cancelled =
      Query("SELECT count(*) FROM events WHERE trial = ? AND kind = 'cancelled'");
  const auto count = cancelled.One(attempt.trial.value);
  Require(count.ok() && **count > 0, attempt.trial, "an acknowledged result is in the database");
}

// ---- In the end

void SimOracle::CheckDatabase() {
  const absl::StatusOr<IntegrityReport> report = CheckIntegrity(*reader_, /*pages=*/true);
  CHECK(report.ok()) << report.status();
  for (const std::string& problem : report->problems) Violate(problem);
}

const SimOracle::Fixed& SimOracle::FixedOf(TrialId id) {
  auto found = fixed_.find(id);
  if (found != fixed_.end()) return found->second;
  Statement& row = Query(
      "SELECT v.json ->> '$.\"model.bits\"', t.seed, t.parent, v.init_checkpoint FROM trials t "
      "JOIN variants v ON v.id = t.variant WHERE t.id = ?");
  row.Start(id.value);
  CHECK(Next(row)) << "trial " << id.value;
  SimTrial trial{.bits = row.Int(0), .seed = static_cast<uint64_t>(row.Int(1))};
  const TrialId parent{row.IsNull(2) ? 0 : row.Int(2)};  // 0: none
  const std::string role(row.Text(3));
  (void)Next(row);
  bool may_start = true;
  if (parent.value > 0 && parent < id) {
    const Fixed& from = FixedOf(parent);
    may_start = from.may_succeed;
    trial.start = from.trial.Model(role);
  }
  const bool has_result = may_start && !trial.Fails() && !trial.EndsWorker();
  return fixed_[id] = {trial, has_result && !trial.Diverges(), has_result,
                       may_start && trial.Fails()};
}

std::map<RoadmapId, std::vector<int64_t>> SimOracle::Unfinished() {
  std::map<RoadmapId, std::vector<int64_t>> unfinished;
  struct Without {
    int64_t roadmap, trial;
    bool by_itself;  // it failed as it would anywhere
  };
  std::vector<Without> without;
  Statement& rows = Query(
      "SELECT r.id, t.id, t.failure_class IS 'error' FROM roadmaps r JOIN roadmap_trials rt ON "
      "rt.roadmap = r.id "
      "AND rt.revision = r.revision JOIN trials t ON t.id = rt.trial "
      "WHERE t.state IN ('failed', 'cancelled')");
  rows.Start();
  while (Next(rows)) without.push_back({rows.Int(0), rows.Int(1), rows.Int(2) != 0});
  for (const auto& [roadmap, trial, by_itself] : without) {
    const Fixed& fixed = FixedOf(TrialId{trial});
    // Lost with the neighbour that ended their worker it was not tried to its end.
    if (fixed.has_result || (fixed.fails && !by_itself)) {
      unfinished[RoadmapId{roadmap}].push_back(trial);
    }
  }
  return unfinished;
}

std::string SimOracle::ResultsTable() {
  Statement& rows = Query(
      "SELECT r.name, v.digest, t.seed, t.state, "
      "(SELECT group_concat(key || '=' || value) FROM results WHERE trial = t.id), "
      "(SELECT group_concat(key || '@' || step || '=' || value) FROM metrics WHERE trial = t.id) "
      "FROM roadmaps r JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision "
      "JOIN trials t ON t.id = rt.trial JOIN variants v ON v.id = t.variant ORDER BY 1, 2, 3");
  rows.Start();
  std::string table;
  while (Next(rows)) {
    for (int i = 0; i < 6; ++i) absl::StrAppend(&table, std::string(rows.Text(i)), "|");
    table += '\n';
  }
  return table;
}

void SimOracle::CountEvents(Marks* marks) {
  Statement& kinds = Query("SELECT kind, count(*) FROM events GROUP BY kind");
  kinds.Start();
  while (Next(kinds)) (*marks)[absl::StrCat("event ", std::string(kinds.Text(0)))] += kinds.Int(1);
  const std::pair<const char*, const char*> reasons[] = {
      {"trials of a worker whose connection broke went to idle ones", "its connection broke, *"},
      {"trials were made orphans", "its parent, trial *"},
      {"trials were quarantined with their workers lost", "quarantined: * different workers *"},
      {"what failed on a bad machine alone was tried elsewhere", "it failed only on *"}};
  for (const auto& [mark, pattern] : reasons) {
    Statement& count = Query("SELECT count(*) FROM events WHERE reason GLOB ?");
    (*marks)[mark] += count.One(pattern)->value_or(0);
  }
}

}  // namespace saffron
