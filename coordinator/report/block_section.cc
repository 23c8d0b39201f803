#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"

namespace saffron {
namespace {

constexpr size_t kFailureRows = 8;

// The best of `members` by the metric, or -1 when none has a value. The first of equals.
int Best(const Study& study, const std::vector<int>& members) {
  int best = -1;
  for (const int i : members) {
    if (!study.variants[i].Has(study.metric)) continue;
    if (best < 0 || study.Better(study.variants[i].Mean(study.metric),
                                 study.variants[best].Mean(study.metric))) {
      best = i;
    }
  }
  return best;
}

// Where it may be compared with the ranked ones.
const StudyVariant* Baseline(const SectionContext& context) {
  for (const int i : context.ranked) {
    const StudyVariant& variant = context.variant(i);
    if (variant.role == "baseline" && variant.Has(context.study.shown)) return &variant;
  }
  return nullptr;
}

}  // namespace

std::vector<BlockFindings> FindBlocks(const SectionContext& context) {
  const Study& study = context.study;
  if (study.metric.empty() || study.blocks.size() < 2) return {};
  std::vector<BlockFindings> found;
  for (const auto& [name, members] : study.blocks) {
    std::map<std::string, std::vector<int>> groups;
    std::vector<const StudyVariant*> variants;
    for (const int i : members) {
      groups[EvaluationData(context.variant(i).params)].push_back(i);
      variants.push_back(&context.variant(i));
    }
    // What a block changes throughout is told, too; of grown models, their operators tell it.
    const bool grown = std::any_of(variants.begin(), variants.end(),
                                   [](const StudyVariant* v) { return v->parent != 0; });
    if (study.baseline() != nullptr && !grown) variants.push_back(study.baseline());
    const std::vector<std::string> keys = VaryingKeys(variants);
    for (const auto& [data, group] : groups) {
      found.push_back({.name = name.empty() ? "baseline" : name,
                       .data = data,
                       .variants = group.size(),
                       .best = Best(study, group),
                       .keys = keys});
    }
  }
  return found;
}

void PrintBlocks(const SectionContext& context) {
  const Study& study = context.study;
  if (study.metric.empty() || study.blocks.size() < 2) return;
  context.Heading("What each block found");
  const StudyVariant* baseline = Baseline(context);
  std::vector<TextTable::Column> columns = {
      {"block", TextTable::Align::kLeft},
      {"variants", TextTable::Align::kRight},
      {absl::StrCat("best ", study.shown), TextTable::Align::kRight}};
  if (baseline) columns.push_back({"to baseline", TextTable::Align::kRight});
  columns.push_back({"what", TextTable::Align::kLeft, /*elastic=*/true});
  TextTable table(std::move(columns));
  std::string last;
  for (const BlockFindings& block : FindBlocks(context)) {
    const bool first = table.rows() == 0 || block.name != last;
    last = block.name;
    std::vector<std::string> row = {first ? block.name : "", absl::StrCat(block.variants)};
    if (block.best < 0) {
      row.push_back("no result");
      if (baseline) row.push_back("");
      row.push_back("");
    } else {
      const StudyVariant& variant = context.variant(block.best);
      row.push_back(context.Shown(variant));
      if (baseline) {
        row.push_back(block.data == context.data
                          ? FormatPercent(variant.Mean(study.shown), baseline->Mean(study.shown))
                          : "other data");
      }
      row.push_back(Describe(study, variant, block.keys));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.Style(), context.out);
}

void PrintFailures(const SectionContext& context) {
  const Study& study = context.study;
  if (study.failures.empty()) return;
  context.Heading("Without a result");
  TextTable table({{"trials", TextTable::Align::kRight},
                   {"state", TextTable::Align::kLeft},
                   {"why", TextTable::Align::kLeft, /*elastic=*/true},
                   {"look", TextTable::Align::kLeft}});
  size_t rows = 0;
  int64_t more = 0;
  for (const StudyFailure& failure : study.failures) {
    if (++rows > kFailureRows) {
      more += failure.trials;
      continue;
    }
    const std::string why = failure.failure_class.empty() || failure.failure_class == "error"
                                ? failure.message
                                : absl::StrCat(failure.failure_class, ": ", failure.message);
    const std::string flags = failure.example ? absl::StrCat("explain ", failure.example) : "";
    table.AddRow({absl::StrCat(failure.trials), failure.state, why, flags});
  }
  table.Print(context.Style(), context.out);
  if (more > 0) context.Say(absl::StrCat("… and ", more, " more trials with other messages."));
}

}  // namespace saffron
