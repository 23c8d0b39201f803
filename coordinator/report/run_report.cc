#include "coordinator/report/run_report.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/report/json.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_json.h"
#include "coordinator/report/report_sections.h"
#include "coordinator/report/study.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

void PrintHead(const SectionContext& context) {
  const Study& study = context.study;
  int64_t trials = 0;
  std::vector<std::string> states;
  for (const char* state :
       {"succeeded", "diverged", "pruned", "failed", "cancelled", "leased", "queued"}) {
    const auto found = study.trial_states.find(state);
    if (found == study.trial_states.end()) continue;
    trials += found->second;
    const std::string name = found->first == "leased" ? "running" : found->first;
    states.push_back(absl::StrCat(found->second, " ", name));
  }
  context.Heading(absl::StrCat(
      study.name, ", revision ", study.revision, ": ", Plural(study.variants.size(), "variant"),
      ", ", Plural(trials, "trial"), states.empty() ? "" : ": ", absl::StrJoin(states, ", ")));
  if (!study.question.empty()) context.Say(study.question);
}

// `sql` as one argument of a shell. Double quotes where nothing in it means something to the shell.
std::string ShellQuoted(const std::string& sql) {
  if (sql.find_first_of("\"$`\\!") == std::string::npos) return absl::StrCat("\"", sql, "\"");
  std::string quoted = "'";
  for (const char c : sql) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

// Questions that the report left open, as SQL that answers them.
std::vector<std::string> NextQueries(const SectionContext& context) {
  const Study& study = context.study;
  const std::string roadmap = absl::StrCat("roadmap = ", SqlText(study.name));
  std::vector<std::string> queries;
  if (context.ranked.empty()) {
    queries.push_back(absl::StrCat("SELECT state, count(*) AS trials FROM v_trials WHERE ", roadmap,
                                   " GROUP BY state"));
    return queries;
  }
  const std::string metric = absl::StrCat(roadmap, " AND metric = ", SqlText(study.metric));
  queries.push_back(
      absl::StrCat("SELECT round(mean, 2) AS mean, block, label FROM v_variants WHERE ", metric,
                   " ORDER BY mean", study.minimize ? "" : " DESC", " LIMIT 25"));
  queries.push_back(
      absl::StrCat("SELECT block, count(*) AS variants, round(", study.minimize ? "min" : "max",
                   "(mean), 2) AS best, round(avg(mean), 2) AS average FROM v_variants WHERE ",
                   metric, " GROUP BY block ORDER BY best", study.minimize ? "" : " DESC"));
  const StudyVariant& best = context.variant(context.ranked.front());
  const auto steps = best.params.find("train.steps");
  if (steps != best.params.end() && steps->second != ParamValue(int64_t{0})) {
    queries.push_back(absl::StrCat("SELECT step, metric, value FROM v_curves WHERE ", roadmap,
                                   " AND trial = ", best.trial, " ORDER BY metric, step"));
  } else {
    queries.push_back(absl::StrCat("SELECT metric, value FROM v_results WHERE ", roadmap,
                                   " AND trial = ", best.trial, " ORDER BY metric"));
  }
  return queries;
}

void PrintNext(const SectionContext& context, const ReadSource& source) {
  context.Heading("Next");
  const std::string flags = source.Flags().empty() ? "" : absl::StrCat(" ", source.Flags());
  const std::string& program = context.options.program;
  context.out << "  Results: " << source.Where() << "\n";
  // Commands are never wrapped: they are there to be copied.
  for (const std::string& query : NextQueries(context)) {
    context.out << "  " << program << " query" << flags << " " << ShellQuoted(query) << "\n";
  }
  if (!context.ranked.empty()) {
    context.out << "  " << program << " show" << flags << " "
                << context.variant(context.ranked.front()).trial << "\n";
  }
}

}  // namespace

absl::Status PrintRunReport(ReadSource& source, const std::string& roadmap,
                            const RunReportOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const Study study, LoadStudy(source, roadmap));
  const SectionContext context = MakeContext(study, options, out);
  if (options.mode == OutputMode::kJson) {
    out << JsonText(ReportJson(context), 1) << "\n";
    return absl::OkStatus();
  }
  if (options.mode != OutputMode::kTable) {
    PrintResult(LeaderboardRows(context), {.mode = options.mode}, out);
    return absl::OkStatus();
  }
  PrintHead(context);
  PrintLeaderboard(context);
  PrintBestAgainstBiggest(context);
  PrintStartComparison(context);
  PrintBlocks(context);
  PrintAblations(context);
  PrintFailures(context);
  PrintNext(context, source);
  return absl::OkStatus();
}

}  // namespace saffron
