#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"
#include "core/model/registry.h"

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

// Those of `indices` that are of `type`.
std::vector<const StudyVariant*> OfType(const SectionContext& context,
                                        const std::vector<int>& indices, const std::string& type) {
  std::vector<const StudyVariant*> variants;
  for (const int i : indices) {
    if (TypeOf(context.variant(i)) == type) variants.push_back(&context.variant(i));
  }
  return variants;
}

// "type=kneser_ney order=2": a model of another type than most, by what it is and what is not at
// its default or varies among its like.
std::string DescribeOther(const SectionContext& context, const StudyVariant& variant) {
  const std::string type = TypeOf(variant);
  const auto varying = VaryingKeys(OfType(context, context.ranked, type));
  std::vector<std::string> keys;
  for (const auto& [key, value] : variant.params) {
    if (key == "model.type") continue;
    const ParamSpec* spec = FindParam(key);
    const bool chosen =
        absl::StartsWith(key, "model.") && spec != nullptr && spec->default_value != value;
    if (chosen || std::find(varying.begin(), varying.end(), key) != varying.end()) {
      keys.push_back(key);
    }
  }
  const std::string what = Describe(context.study, variant, keys);
  return absl::StrCat("type=", type, what.empty() ? "" : " ", what);
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
  std::vector<int> top_ten;
  for (const Entry& entry : entries) {
    if (entry.rank <= kTop) top_ten.push_back(entry.variant);
  }
  // What tells the leaders apart goes into their rows, what they share below the table.
  const std::string main_type = MainType(study);
  const auto leaders = OfType(context, top_ten, main_type);
  const std::vector<std::string> differing =
      VaryingKeys(OfType(context, context.ranked, main_type));
  const std::vector<std::string> own = VaryingKeys(leaders);
  std::vector<std::string> shared;
  std::set_difference(differing.begin(), differing.end(), own.begin(), own.end(),
                      std::back_inserter(shared));

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
    row.push_back(TypeOf(variant) == main_type ? Describe(study, variant, own)
                                               : DescribeOther(context, variant));
    table.AddRow(std::move(row), /*bold=*/entry.rank == 1);
  }
  table.Print(context.Style(), context.out);

  if (leaders.size() > 1) {
    const std::string same = DescribeParams(leaders.front()->params, shared);
    if (!same.empty()) {
      context.Say(absl::StrCat("The ", main_type, " models among the first ", top_ten.size(),
                               " share ", same, "."));
    }
  }
  const bool replicated = std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    return context.variant(entry.variant).metrics.at(study.metric).n > 1;
  });
  if (replicated) {
    context.Say(
        "±: standard deviation over the seeds, of one run, not of the mean; what another held-out "
        "text would change is not in it.");
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
