// What people decide is done, and what is done was decided.

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "tests/sim/sim_oracle.h"

namespace saffron {
namespace {

bool Next(Statement& statement) {
  const absl::StatusOr<bool> row = statement.Next();
  CHECK(row.ok()) << row.status();
  return *row;
}

std::optional<std::string> TextOf(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return std::string(row.Text(column));
}

}  // namespace

void SimOracle::NoteControl(const std::string& kind, int64_t worker, int64_t roadmap,
                            const std::string& reason) {
  control_changed_ = true;
  const std::string machine = reason.substr(0, reason.find(": "));
  if (kind == "pause") paused_.insert(roadmap);
  if (kind == "unpause") paused_.erase(roadmap);
  if (kind == "drain") drained_.insert(worker);
  if (kind == "undrain") drained_.erase(worker);
  if (kind == "node_quarantined") barred_.insert(machine);
  if (kind == "node_forgiven" || kind == "node_trusted") barred_.erase(machine);
}

void SimOracle::CheckStart(TrialId trial, int64_t worker) {
  const auto one = [](Statement& statement, const auto&... args) {
    const auto value = statement.One(args...);
    CHECK(value.ok()) << value.status();
    return value->value_or(0);
  };
  Statement& parent = Query(
      "SELECT count(*) FROM trials t JOIN trials p ON p.id = t.parent "
      "WHERE t.id = ? AND p.state <> 'succeeded'");
  Require(one(parent, trial.value) == 0, trial, "a trial starts after its parent's success");
  Require(drained_.count(worker) == 0, trial, "a drained worker gets no work");
  if (!barred_.empty()) {
    Statement& machine = Query("SELECT hostname FROM workers WHERE id = ?");
    machine.Start(worker);
    CHECK(Next(machine));
    Require(barred_.count(std::string(machine.Text(0))) == 0, trial,
            "a machine in quarantine gets no work");
    while (Next(machine)) {
    }
  }
  if (paused_.empty()) return;
  // Of any revision: the trial may have changed hands since.
  bool may_start = false;
  Statement& roadmaps = Query("SELECT DISTINCT roadmap FROM roadmap_trials WHERE trial = ?");
  roadmaps.Start(trial.value);
  while (Next(roadmaps)) may_start = may_start || paused_.count(roadmaps.Int(0)) == 0;
  Require(may_start, trial, "nothing of a paused roadmap is started");
}

void SimOracle::CheckControl(const Scheduler& scheduler) {
  const auto require = [&](bool holds, const char* rule, int64_t id) {
    if (!holds) Violate(absl::StrCat(rule, " (", id, ")"));
  };
  Statement& roadmaps = Query("SELECT id, priority, paused FROM roadmaps");
  roadmaps.Start();
  while (Next(roadmaps)) {
    const Scheduler::RoadmapControl control = scheduler.Control(RoadmapId{roadmaps.Int(0)});
    require(control.priority == roadmaps.Double(1) && control.paused == TextOf(roadmaps, 2),
            "a roadmap is controlled as recorded", roadmaps.Int(0));
  }
  Statement& workers = Query(
      "SELECT w.id, w.drained, n.standing FROM workers w LEFT JOIN nodes n "
      "ON n.hostname = w.hostname WHERE w.left_us IS NULL");
  workers.Start();
  while (Next(workers)) {
    const auto view = scheduler.ViewWorker(WorkerId{workers.Int(0)});
    if (!view) continue;  // it has not been heard of since a restart
    require(view->drained == TextOf(workers, 1), "a worker is drained as recorded", workers.Int(0));
    require(view->slots == 0 || StandingName(scheduler.nodes().StandingOf(view->host)) ==
                                    TextOf(workers, 2).value_or("normal"),
            "a machine stands as recorded", workers.Int(0));
  }
}

void SimOracle::CheckFiles(const std::map<std::string, std::string>& files) {
  if (!std::exchange(files_changed_, false)) return;
  Statement& kept =
      Query("SELECT DISTINCT sha256, kind, trial FROM artifacts WHERE deleted_us IS NULL");
  kept.Start();
  while (Next(kept)) {
    if (files.count(std::string(kept.Text(0))) > 0) continue;
    Violate(absl::StrCat("a file that is kept is there: ", std::string(kept.Text(1)), " of trial ",
                         kept.Int(2)));
  }
}

}  // namespace saffron
