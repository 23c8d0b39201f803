#include "coordinator/cli/views.h"

#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/progress.h"
#include "coordinator/report/json.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/table.h"

namespace saffron {
namespace {

using Json = nlohmann::ordered_json;
using Align = TextTable::Align;

TextTable::Style Style() { return {.width = 0, .indent = 0, .colour = UseColour(STDOUT_FILENO)}; }

// One record as a CSV line under its header; nested values are left out.
void PrintRecordAsCsv(const Json& record, std::ostream& out) {
  ResultTable table;
  std::vector<Cell>& row = table.rows.emplace_back();
  for (const auto& [key, value] : record.items()) {
    if (value.is_structured()) continue;
    table.columns.push_back(key);
    if (value.is_number_integer()) {
      row.push_back(value.get<int64_t>());
    } else if (value.is_number()) {
      row.push_back(value.get<double>());
    } else if (value.is_boolean()) {
      row.push_back(std::string(value.get<bool>() ? "true" : "false"));
    } else if (value.is_string()) {
      row.push_back(value.get<std::string>());
    } else {
      row.push_back(std::monostate());
    }
  }
  PrintResult(table, {.mode = OutputMode::kCsv}, out);
}

Json PlanJson(const v1::PlanResponse& plan) {
  Json json = {{"variants", plan.variants()},
               {"collapsed", plan.collapsed()},
               {"excluded", plan.excluded()},
               {"trials", plan.trials()},
               {"new", plan.trials_new()},
               {"cached", plan.trials_cached()},
               {"pending", plan.trials_pending()},
               {"failed", plan.trials_failed()},
               {"cancelled", plan.trials_cancelled()},
               {"orphaned", plan.trials_orphaned()},
               {"estimated_core_seconds", plan.estimated_core_seconds()}};
  json["changes"] = Json::array();
  for (const v1::Change& change : plan.changes()) {
    json["changes"].push_back({{"key", change.key()},
                               {"from", change.from()},
                               {"to", change.to()},
                               {"trials", change.trials()}});
  }
  json["blocks"] = Json::array();
  for (const v1::BlockPlan& block : plan.blocks()) {
    json["blocks"].push_back({{"name", block.name()},
                              {"variants", block.variants()},
                              {"collapsed", block.collapsed()},
                              {"excluded", block.excluded()}});
  }
  json["notes"] = Json::array();
  for (const std::string& note : plan.notes()) json["notes"].push_back(note);
  return json;
}

void PrintPlanTables(const v1::PlanResponse& plan, std::ostream& out) {
  TextTable trials({{.title = "trials", .align = Align::kRight}, {.title = ""}});
  const auto add = [&trials](int64_t n, const std::string& what, bool always = false) {
    if (n > 0 || always) trials.AddRow({absl::StrCat(n), what});
  };
  add(plan.trials_new(), "new: would run", true);
  add(plan.trials_cached(), "cached: have a result already", true);
  add(plan.trials_pending(), "pending: queued or running");
  add(plan.trials_failed(), "failed before: 'run' and 'resume' try them again");
  add(plan.trials_cancelled(), "cancelled before: 'run' and 'resume' try them again");
  add(plan.trials_orphaned(), "orphaned: of the last revision, no longer named");
  trials.Print(Style(), out);

  if (plan.changes_size() > 0) {
    out << "\n";
    TextTable changes({{.title = "why new"},
                       {.title = "from"},
                       {.title = "to"},
                       {.title = "trials", .align = Align::kRight}});
    for (const v1::Change& change : plan.changes()) {
      changes.AddRow({change.key(), change.from().empty() ? "-" : change.from(), change.to(),
                      absl::StrCat(change.trials())});
    }
    changes.Print(Style(), out);
  }

  out << "\n";
  TextTable blocks({{.title = "block"},
                    {.title = "variants", .align = Align::kRight},
                    {.title = "collapsed", .align = Align::kRight},
                    {.title = "excluded", .align = Align::kRight}});
  for (const v1::BlockPlan& block : plan.blocks()) {
    blocks.AddRow({block.name(), absl::StrCat(block.variants()), absl::StrCat(block.collapsed()),
                   absl::StrCat(block.excluded())});
  }
  blocks.AddRow({"all", absl::StrCat(plan.variants()), absl::StrCat(plan.collapsed()),
                 absl::StrCat(plan.excluded())},
                /*bold=*/true);
  blocks.Print(Style(), out);
  if (plan.collapsed() > 0) {
    out << "\nCollapsed: the same as a variant that stands before it, once keys that do not matter "
           "are left out.\n";
  }
  out << "\n" << PlanSummary(plan) << "\n";
  for (const std::string& note : plan.notes()) out << "note: " << note << "\n";
}

Json StatusJson(const v1::RoadmapStatus& status) {
  Json json = {{"roadmap", status.name()},
               {"roadmap_id", status.roadmap_id()},
               {"revision", status.revision()},
               {"total", status.total()},
               {"queued", status.queued()},
               {"running", status.running()},
               {"succeeded", status.succeeded()},
               {"diverged", status.diverged()},
               {"pruned", status.pruned()},
               {"failed", status.failed()},
               {"cancelled", status.cancelled()},
               {"workers", status.workers()},
               {"slots", status.slots()},
               {"cost_done_s", status.cost_done()},
               {"cost_total_s", status.cost_total()},
               {"metric", status.metric()}};
  json["best_value"] = status.has_best() ? Json(status.best_value()) : Json();
  json["best_trial"] = status.has_best() ? Json(status.best_trial()) : Json();
  json["best_label"] = status.has_best() ? Json(status.best_label()) : Json();
  json["last_failure"] = status.last_failure();
  json["paused"] = status.paused();
  json["roadmap_paused"] = status.roadmap_paused();
  json["roadmap_paused_reason"] = status.roadmap_paused_reason();
  json["priority"] = status.priority();
  json["waiting"] = status.waiting();
  json["archived"] = status.archived();
  json["without_corpus"] = status.without_corpus();
  json["missing_corpora"] = status.missing_corpora();
  return json;
}

void PrintStatusTable(const v1::RoadmapStatus& status, std::ostream& out) {
  out << status.name() << " (roadmap " << status.roadmap_id() << ", revision " << status.revision()
      << "): " << ProgressText(status, {}) << "\n\n";
  TextTable states({{.title = "trials", .align = Align::kRight}, {.title = "state"}});
  const std::pair<const char*, int64_t> rows[] = {
      {"queued", status.queued()},       {"running", status.running()},
      {"succeeded", status.succeeded()}, {"diverged", status.diverged()},
      {"pruned", status.pruned()},       {"failed", status.failed()},
      {"cancelled", status.cancelled()}};
  for (const auto& [state, n] : rows) {
    if (n > 0) states.AddRow({absl::StrCat(n), state});
    if (std::string_view(state) == "queued" && status.waiting() > 0) {
      states.AddRow({absl::StrCat(status.waiting()), "  of them waiting for what they start from"});
    }
    if (std::string_view(state) == "queued" && status.without_corpus() > 0) {
      states.AddRow(
          {absl::StrCat(status.without_corpus()), "  of them waiting for what no worker has"});
    }
  }
  if (status.archived() > 0) {
    states.AddRow({absl::StrCat(status.archived()), "archived: of earlier revisions"});
  }
  states.Print(Style(), out);
  if (status.has_best()) {
    out << "\nbest " << status.metric() << " " << FormatNumber(status.best_value()) << ": trial "
        << status.best_trial() << ", " << status.best_label() << "\n";
  }
  if (!status.paused().empty()) out << "paused: " << status.paused() << "\n";
  if (status.roadmap_paused()) {
    out << "roadmap paused"
        << (status.roadmap_paused_reason().empty() ? "" : ": " + status.roadmap_paused_reason())
        << "; 'saffron resume " << status.name() << "' lets it go on\n";
  }
  if (status.priority() != 1) out << "priority " << FormatNumber(status.priority()) << "\n";
  if (!status.missing_corpora().empty()) out << status.missing_corpora() << "\n";
  if (!status.last_failure().empty()) out << "last failure: " << status.last_failure() << "\n";
  if (status.queued() + status.running() > 0) {
    out << Plural(status.workers(), "worker") << " connected, " << Plural(status.slots(), "slot")
        << "\n";
  }
}

}  // namespace

std::string PlanSummary(const v1::PlanResponse& plan) {
  std::string text = absl::StrCat(Plural(plan.trials_new(), "trial"), " to run");
  if (plan.trials_new() > 0) {
    absl::StrAppend(&text, ", about ", FormatSeconds(plan.estimated_core_seconds()),
                    " of one core");
  }
  if (plan.trials_cached() > 0) absl::StrAppend(&text, ", ", plan.trials_cached(), " done before");
  if (plan.trials_pending() > 0) {
    absl::StrAppend(&text, ", ", plan.trials_pending(), " queued or running");
  }
  return text;
}

std::vector<std::string> PlanChanges(const v1::PlanResponse& plan, int most) {
  std::vector<std::string> lines;
  for (const v1::Change& change : plan.changes()) {
    if (std::ssize(lines) == most) {
      lines.push_back(absl::StrCat("... and ", plan.changes_size() - most,
                                   " more changes; 'saffron plan' names them all"));
      break;
    }
    const std::string what =
        change.key().empty() ? "more than one key differs"
        : change.from().empty()
            ? absl::StrCat(change.key(), ": ", change.to(), " is new")
            : absl::StrCat(change.key(), ": ", change.from(), " became ", change.to());
    lines.push_back(absl::StrCat(what, ": ", Plural(change.trials(), "trial"), " to run"));
  }
  return lines;
}

bool HasChanges(const v1::PlanResponse& plan) {
  return plan.trials_new() > 0 || plan.trials_orphaned() > 0;
}

void PrintPlan(const v1::PlanResponse& plan, OutputMode mode, std::ostream& out) {
  switch (mode) {
    case OutputMode::kTable:
      return PrintPlanTables(plan, out);
    case OutputMode::kJson:
      out << JsonText(PlanJson(plan), 2) << "\n";
      return;
    case OutputMode::kCsv:
      return PrintRecordAsCsv(PlanJson(plan), out);
    case OutputMode::kQuiet:
      out << plan.trials_new() << "\n";
      return;
  }
}

void PrintStatus(const v1::RoadmapStatus& status, OutputMode mode, std::ostream& out) {
  switch (mode) {
    case OutputMode::kTable:
      return PrintStatusTable(status, out);
    case OutputMode::kJson:
      out << JsonText(StatusJson(status), 2) << "\n";
      return;
    case OutputMode::kCsv:
      return PrintRecordAsCsv(StatusJson(status), out);
    case OutputMode::kQuiet:
      out << Finished(status) << "/" << status.total() << "\n";
      return;
  }
}

void PrintRecord(const Json& record, OutputMode mode, std::ostream& out) {
  switch (mode) {
    case OutputMode::kTable:
      return;
    case OutputMode::kJson:
      out << JsonText(record, 2) << "\n";
      return;
    case OutputMode::kCsv:
      return PrintRecordAsCsv(record, out);
    case OutputMode::kQuiet: {
      const Json& first = record.begin().value();
      out << (first.is_string() ? first.get<std::string>() : JsonText(first)) << "\n";
      return;
    }
  }
}

void PrintExplanation(int64_t trial, const v1::ExplainResponse& explanation, OutputMode mode,
                      std::ostream& out) {
  Json json = {{"trial", trial}, {"state", explanation.state()}, {"reasons", Json::array()}};
  for (const std::string& reason : explanation.reasons()) json["reasons"].push_back(reason);
  switch (mode) {
    case OutputMode::kTable:
      out << "trial " << trial << " is " << explanation.state() << "\n";
      for (const std::string& reason : explanation.reasons()) out << "  " << reason << "\n";
      return;
    case OutputMode::kJson:
      out << JsonText(json, 2) << "\n";
      return;
    case OutputMode::kCsv: {
      ResultTable table = {.columns = {"trial", "state", "reason"}, .rows = {}};
      for (const std::string& reason : explanation.reasons()) {
        table.rows.push_back({trial, explanation.state(), reason});
      }
      return PrintResult(table, {.mode = mode}, out);
    }
    case OutputMode::kQuiet:
      out << explanation.state() << "\n";
      return;
  }
}

}  // namespace saffron
