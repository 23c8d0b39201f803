#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"
#include "coordinator/report/table.h"

namespace saffron {
namespace {

constexpr size_t kTop = 10;

struct Entry {
  size_t rank;  // 1 = best
  int variant;
};

// The ten best, and of every kind of model that is not among them its best one.
std::vector<Entry> Entries(const SectionContext& context) {
  std::vector<Entry> entries;
  std::set<std::string> types;
  for (size_t i = 0; i < context.ranked.size(); ++i) {
    const bool is_new = types.insert(TypeOf(context.variant(context.ranked[i]))).second;
    if (i < kTop || is_new) entries.push_back({i + 1, context.ranked[i]});
  }
  return entries;
}

std::vector<const StudyVariant*> Ranked(const SectionContext& context) {
  std::vector<const StudyVariant*> variants;
  for (const int i : context.ranked) variants.push_back(&context.variant(i));
  return variants;
}

}  // namespace

void PrintLeaderboard(const SectionContext& context) {
  const Study& study = context.study;
  if (context.ranked.empty()) return;
  context.Heading(absl::StrCat("Leaderboard: ", Measure(study), " over ",
                               context.data.empty() ? "the same data" : context.data, ", ",
                               study.minimize ? "lower" : "higher", " is better"));
  const bool two = study.metric != study.shown;
  std::vector<TextTable::Column> columns = {
      {"#", TextTable::Align::kRight},
      {MetricTitle(study, study.metric), TextTable::Align::kRight}};
  if (two) columns.push_back({MetricTitle(study, study.shown), TextTable::Align::kRight});
  for (const char* title : {"parameters", "time", "trial"}) {
    columns.push_back({title, TextTable::Align::kRight});
  }
  columns.push_back({"what", TextTable::Align::kLeft, /*elastic=*/true});

  const std::vector<Entry> entries = Entries(context);
  std::vector<const StudyVariant*> top;
  for (const Entry& entry : entries) {
    if (entry.rank <= kTop) top.push_back(&context.variant(entry.variant));
  }
  const std::vector<std::string> differing = VaryingKeys(Ranked(context));
  std::vector<std::string> shared, own = VaryingKeys(top);
  std::erase(own, "model.type");
  std::set_difference(differing.begin(), differing.end(), own.begin(), own.end(),
                      std::back_inserter(shared));
  const std::string main_type = MainType(study);

  TextTable table(std::move(columns));
  for (const Entry& entry : entries) {
    const StudyVariant& variant = context.variant(entry.variant);
    const auto& [n, mean, sd] = variant.metrics.at(study.metric);
    std::vector<std::string> row = {
        absl::StrCat(entry.rank),
        n > 1 ? absl::StrCat(FormatNumber(mean), " ± ", FormatNumber(sd)) : FormatNumber(mean)};
    if (two) row.push_back(context.Shown(variant));
    row.push_back(variant.Has("model/parameters") ? FormatCount(variant.Mean("model/parameters"))
                                                  : "");
    row.push_back(variant.Has("time/total_s") ? FormatSeconds(variant.Mean("time/total_s")) : "");
    row.push_back(absl::StrCat(variant.trial));
    if (TypeOf(variant) == main_type) {
      row.push_back(DescribeParams(variant.params, own));
    } else {
      std::vector<std::string> keys = differing;
      std::erase(keys, "model.type");
      row.push_back(
          absl::StrCat("reference ", TypeOf(variant), ": ", DescribeParams(variant.params, keys)));
    }
    table.AddRow(std::move(row), /*bold=*/entry.rank == 1);
  }
  table.Print({.width = context.options.width, .indent = 2, .colour = context.options.colour},
              context.out);

  if (!shared.empty() && !top.empty()) {
    const std::string same = DescribeParams(top.front()->params, shared);
    if (!same.empty()) context.Say(absl::StrCat("The first ", top.size(), " share ", same, "."));
  }
  if (two) {
    context.Say(absl::StrCat("Ranked by ", study.metric, "; ", study.shown,
                             " took no part in the choice."));
  } else if (absl::StartsWith(study.metric, "test/")) {
    context.Say(absl::StrCat("Ranked by ", study.metric, " itself: the best of ",
                             context.ranked.size(),
                             " on the test split looks better than it is. A roadmap with `metric: "
                             "{name: valid/",
                             Measure(study), "}` chooses on validation and reports the test."));
  }
  int64_t elsewhere = 0;
  for (const StudyVariant& variant : study.variants) {
    elsewhere += variant.Has(study.metric) && EvaluationData(variant.params) != context.data;
  }
  if (elsewhere > 0) {
    context.Say(
        absl::StrCat(elsewhere, " more ", elsewhere == 1 ? "variant was" : "variants were",
                     " measured over other data or vocabularies, whose values do not compare "
                     "with these; see the blocks below."));
  }
}

}  // namespace saffron
