#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"
#include "coordinator/report/scatter_plot.h"
#include "coordinator/report/statistics.h"

namespace saffron {
namespace {

constexpr size_t kFewest = 5;  // models that make the question worth asking
constexpr size_t kFrontRows = 12;

// Everything about the data, training size included: models are compared at one size of data.
std::string AllData(const StudyVariant& variant) {
  std::string text;
  for (const auto& [key, value] : variant.params) {
    if (absl::StartsWith(key, "data."))
      absl::StrAppend(&text, key, "=", ParamValueText(value), "\n");
  }
  return text;
}

// The roadmap's own kind of model on the best one's data, best first.
std::vector<int> Candidates(const SectionContext& context) {
  const std::string main_type = MainType(context.study);
  std::vector<int> candidates;
  std::string data;
  for (const int i : context.ranked) {
    const StudyVariant& variant = context.variant(i);
    if (TypeOf(variant) != main_type || !variant.Has(context.study.shown) ||
        !(variant.Mean("model/parameters") > 0)) {
      continue;
    }
    if (data.empty()) data = AllData(variant);
    if (AllData(variant) == data) candidates.push_back(i);
  }
  return candidates;
}

void PrintAnswer(const SectionContext& context, const std::vector<int>& candidates, int largest,
                 size_t larger) {
  const Study& study = context.study;
  const StudyVariant& best = context.variant(candidates.front());
  const double best_size = best.Mean("model/parameters");
  const StudyVariant& big = context.variant(largest);
  const std::string of =
      absl::StrCat("Of ", candidates.size(), " ", MainType(study),
                   " models trained on the same data, the best (", context.Shown(best), ") has ",
                   FormatCount(best_size), " parameters");
  if (larger == 0) {
    context.Say(absl::StrCat("Yes. ", of, ", and none has more."));
  } else {
    context.Say(absl::StrCat("No. ", of, "; ", Plural(larger, "model"),
                             larger == 1 ? " is" : " are", " larger. The largest has ",
                             FormatCount(big.Mean("model/parameters")), " and reaches ",
                             context.Shown(big), " (",
                             FormatPercent(big.Mean(study.shown), best.Mean(study.shown)), ")."));
  }
}

void PrintFront(const SectionContext& context, const std::vector<int>& candidates,
                const std::vector<int>& front) {
  const Study& study = context.study;
  std::vector<const StudyVariant*> on_front;
  for (const int i : front) on_front.push_back(&context.variant(candidates[i]));
  context.out << "\n";
  context.Say(absl::StrCat("No smaller model does better than these (", study.shown, "):"));
  TextTable table({{"parameters", TextTable::Align::kRight},
                   {MetricTitle(study, study.shown), TextTable::Align::kRight},
                   {"time", TextTable::Align::kRight},
                   {"trial", TextTable::Align::kRight},
                   {"what", TextTable::Align::kLeft, /*elastic=*/true}});
  const std::vector<std::string> keys = VaryingKeys(on_front);
  // Evenly over the front when it is long, both ends included.
  const size_t rows = std::min(on_front.size(), kFrontRows);
  for (size_t r = 0; r < rows; ++r) {
    const size_t i = rows == 1 ? 0 : r * (on_front.size() - 1) / (rows - 1);
    const StudyVariant& variant = *on_front[i];
    table.AddRow({FormatCount(variant.Mean("model/parameters")), context.Shown(variant),
                  variant.Has("time/total_s") ? FormatSeconds(variant.Mean("time/total_s")) : "",
                  absl::StrCat(variant.trial), Describe(study, variant, keys)});
  }
  table.Print(context.Style(), context.out);
}

// Where a logarithmic axis should end so that a few bad models do not squeeze the others: three
// interquartile ranges above the third quartile.
double OutlierFence(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double low = std::log(values[values.size() / 4]);
  const double high = std::log(values[values.size() * 3 / 4]);
  return std::exp(high + 3 * (high - low));
}

void PrintPlot(const SectionContext& context, const std::vector<int>& candidates, int largest,
               const std::vector<int>& front) {
  const Study& study = context.study;
  std::vector<ScatterPoint> points;
  std::vector<double> values;
  for (const int i : candidates) {
    const StudyVariant& variant = context.variant(i);
    points.push_back({variant.Mean("model/parameters"), variant.Mean(study.shown), 0});
    if (!(points.back().y > 0)) return;  // no logarithm
    values.push_back(points.back().y);
  }
  const double y_max = study.minimize ? OutlierFence(std::move(values)) : 0;
  for (const int i : front) points[i].mark = 'o';
  // Marks are drawn in order: the two that the answer names come last.
  const auto named = [&](int variant, char mark) {
    const StudyVariant& v = context.variant(variant);
    points.push_back({v.Mean("model/parameters"), v.Mean(study.shown), mark});
  };
  named(largest, 'L');
  named(candidates.front(), 'B');
  context.out << "\n";
  PrintScatter(
      points,
      {.width = std::clamp(context.options.width - 12, 20, 72),
       .height = 14,
       .indent = 2,
       .x_title = "parameters",
       .y_title = absl::StrCat(study.shown, " (B best, L largest, o no smaller is better)"),
       .y_max = y_max},
      context.out);
}

}  // namespace

std::optional<SizeFindings> FindSizes(const SectionContext& context) {
  const Study& study = context.study;
  SizeFindings found{.candidates = Candidates(context)};
  if (found.candidates.size() < kFewest) return std::nullopt;
  std::vector<double> sizes, values;
  std::vector<Point> points;
  found.largest = found.candidates.front();
  for (const int i : found.candidates) {
    const StudyVariant& variant = context.variant(i);
    const double size = variant.Mean("model/parameters"), value = variant.Mean(study.shown);
    sizes.push_back(size);
    values.push_back(value);
    points.push_back({size, study.minimize ? value : -value});
    // Of several equally large ones the best: candidates come best first.
    if (size > context.variant(found.largest).Mean("model/parameters")) found.largest = i;
  }
  found.correlation = RankCorrelation(sizes, values);
  if (std::isnan(found.correlation)) return std::nullopt;  // all of one size
  found.larger =
      std::count_if(sizes.begin(), sizes.end(), [&](double size) { return size > sizes.front(); });
  found.front = ParetoFront(points);
  return found;
}

void PrintBestAgainstBiggest(const SectionContext& context) {
  const Study& study = context.study;
  const std::optional<SizeFindings> found = FindSizes(context);
  if (!found) return;
  context.Heading("Is the best the biggest?");
  PrintAnswer(context, found->candidates, found->largest, found->larger);
  const bool bigger_is_better = (found->correlation < 0) == study.minimize;
  context.Say(absl::StrCat("Rank correlation of size and ", study.shown, ": ",
                           FormatNumber(found->correlation), " (larger tends to be ",
                           bigger_is_better ? "better" : "worse", ")."));
  PrintFront(context, found->candidates, found->front);
  PrintPlot(context, found->candidates, found->largest, found->front);
}

}  // namespace saffron
