#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"

namespace saffron {
namespace {

// Pairs of many groups are many; all of them are in the JSON.
constexpr size_t kRows = 40;

std::string Signed(double value) {
  if (value < 0) return absl::StrCat("−", FormatNumber(-value));
  return absl::StrCat(value > 0 ? "+" : "", FormatNumber(value));
}

// "model.bits" of a variant that the baseline has otherwise, or not at all.
std::vector<std::string> ChangedKeys(const StudyVariant& variant, const StudyVariant* baseline) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : variant.params) {
    if (baseline == nullptr || key == "init_from.variant" || key == "init_from.derive") continue;
    const auto base = baseline->params.find(key);
    if (base == baseline->params.end() || base->second != value) keys.push_back(key);
  }
  return keys;
}

std::string ToBaseline(const Study& study, const StudyVariant& variant,
                       const StudyVariant& baseline) {
  if (!variant.Has(study.shown) || !baseline.Has(study.shown)) return "";
  if (EvaluationData(variant.params) != EvaluationData(baseline.params)) return "other data";
  return FormatPercent(variant.Mean(study.shown), baseline.Mean(study.shown));
}

}  // namespace

void PrintAblations(const SectionContext& context) {
  const Study& study = context.study;
  if (study.metric.empty() || study.ablations.empty()) return;
  context.Heading("What each change is worth");
  const StudyVariant* baseline = study.baseline();
  const bool replicated =
      std::any_of(study.ablations.begin(), study.ablations.end(),
                  [&](const StudyAblation& a) { return context.variant(a.variant).effect.n > 1; });
  std::set<std::string> blocks;
  for (const StudyAblation& ablation : study.ablations) blocks.insert(ablation.block);

  std::vector<TextTable::Column> columns;
  if (blocks.size() > 1) columns.push_back({"block", TextTable::Align::kLeft});
  columns.push_back({"change", TextTable::Align::kLeft, /*elastic=*/true});
  columns.push_back({study.shown, TextTable::Align::kRight});
  if (baseline) columns.push_back({"to baseline", TextTable::Align::kRight});
  if (replicated) columns.push_back({"95 % interval", TextTable::Align::kRight});
  columns.push_back({"what", TextTable::Align::kLeft, /*elastic=*/true});
  TextTable table(std::move(columns));
  for (const StudyAblation& ablation : study.ablations) {
    if (table.rows() == kRows) break;
    const StudyVariant& variant = context.variant(ablation.variant);
    const bool has = variant.Has(study.shown);
    std::vector<std::string> row;
    if (blocks.size() > 1) row.push_back(ablation.block);
    row.push_back(ablation.groups);
    row.push_back(has ? context.Shown(variant) : "no result");
    if (baseline) row.push_back(ToBaseline(study, variant, *baseline));
    if (replicated) {
      const Interval interval = MeanInterval(variant.effect);
      row.push_back(variant.effect.n < 2
                        ? ""
                        : absl::StrCat(Signed(interval.low), " to ", Signed(interval.high)));
    }
    row.push_back(Describe(study, variant, ChangedKeys(variant, baseline)));
    table.AddRow(std::move(row));
  }
  table.Print(context.Style(), context.out);
  if (study.ablations.size() > kRows) {
    context.Say(absl::StrCat("… and ", study.ablations.size() - kRows,
                             " more: --output json has them all."));
  }
  if (replicated) {
    context.Say(
        "95 % interval: of the difference to the baseline, paired by seed (Student's t over the "
        "seeds).");
  }
}

}  // namespace saffron
