#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/report_sections.h"
#include "coordinator/report/start_comparison.h"

namespace saffron {
namespace {

constexpr size_t kBudgetRows = 12;
constexpr size_t kCatchUps = 3;

// How much the pair's models were trained on: tokens or images; 0 when the key is not theirs.
int64_t TrainingSize(const SectionContext& context, const StartPair& pair) {
  const Params& params = context.variant(pair.explicit_variant).params;
  for (const char* key : {"data.tokens", "data.examples"}) {
    const auto found = params.find(key);
    if (found != params.end()) return std::get<int64_t>(found->second);
  }
  return 0;
}

using Budget = NamedPairs;

// Pairs by training size and steps, the smallest first; by half decades of the steps alone when
// there would be too many rows.
std::vector<Budget> ByBudget(const SectionContext& context, const std::vector<StartPair>& pairs) {
  using Key = std::pair<int64_t, int64_t>;  // training size, steps
  std::map<Key, Budget> exact, coarse;
  std::set<int64_t> sizes;
  for (const StartPair& pair : pairs) sizes.insert(TrainingSize(context, pair));
  for (const StartPair& pair : pairs) {
    const int64_t size = TrainingSize(context, pair);
    Budget& budget = exact[{size, pair.steps}];
    budget.name = absl::StrCat("  ", pair.steps, " steps",
                               sizes.size() > 1 ? absl::StrCat(" on ", FormatCount(size)) : "");
    budget.pairs.push_back(pair);
    const auto half_decade = static_cast<int64_t>(2 * std::log10(static_cast<double>(pair.steps)));
    coarse[{0, half_decade}].pairs.push_back(pair);
  }
  std::vector<Budget> budgets;
  for (auto& [key, budget] : exact.size() <= kBudgetRows ? exact : coarse) {
    if (budget.name.empty()) {
      const auto [least, most] =
          std::minmax_element(budget.pairs.begin(), budget.pairs.end(),
                              [](const auto& a, const auto& b) { return a.steps < b.steps; });
      budget.name = absl::StrCat("  ", least->steps, "–", most->steps, " steps");
    }
    budgets.push_back(std::move(budget));
  }
  return budgets;
}

void AddTally(const Study& study, const std::string& name, const std::vector<StartPair>& pairs,
              bool replicated, TextTable& table) {
  const StartTally tally = Tally(study, pairs);
  std::vector<std::string> row = {name, absl::StrCat(tally.pairs),
                                  absl::StrCat(tally.explicit_wins),
                                  absl::StrCat(tally.random_wins)};
  if (replicated) row.push_back(tally.within_noise < 0 ? "" : absl::StrCat(tally.within_noise));
  row.push_back(FormatNumber(tally.median_ratio));
  row.push_back(FormatProbability(tally.p));
  for (const double seconds : {tally.explicit_seconds, tally.random_seconds}) {
    row.push_back(std::isnan(seconds) ? "" : FormatSeconds(seconds));
  }
  table.AddRow(std::move(row));
}

void PrintCatchUps(const SectionContext& context) {
  const Study& study = context.study;
  std::vector<CatchUp> found = FindCatchUps(study);
  if (found.empty()) return;
  if (found.size() > kCatchUps) found.resize(kCatchUps);
  std::vector<const StudyVariant*> variants;
  for (const CatchUp& catch_up : found)
    variants.push_back(&context.variant(catch_up.explicit_variant));
  const std::vector<std::string> keys = VaryingKeys(variants);
  context.out << "\n";
  context.Say("How much training from a random start equals the explicit solution alone:");
  TextTable table({{"what", TextTable::Align::kLeft, /*elastic=*/true},
                   {"explicit alone", TextTable::Align::kRight},
                   {"time", TextTable::Align::kRight},
                   {"matched by random after", TextTable::Align::kRight},
                   {"time", TextTable::Align::kRight}});
  const auto seconds = [](const StudyVariant& v) {
    return v.Has("time/total_s") ? FormatSeconds(v.Mean("time/total_s")) : "";
  };
  for (const CatchUp& catch_up : found) {
    const StudyVariant& solved = context.variant(catch_up.explicit_variant);
    const std::string what = DescribeParams(solved.params, keys);
    std::vector<std::string> row = {what.empty() ? TypeOf(solved) : what, context.Shown(solved),
                                    seconds(solved)};
    if (catch_up.random_variant >= 0) {
      const StudyVariant& random = context.variant(catch_up.random_variant);
      row.push_back(absl::StrCat(std::get<int64_t>(random.params.at("train.steps")), " steps (",
                                 context.Shown(random), ")"));
      row.push_back(seconds(random));
    } else {
      const StudyVariant& random = context.variant(catch_up.best_random);
      row.push_back(absl::StrCat("none of ", catch_up.candidates, ", up to ", catch_up.steps_tried,
                                 " steps (best ", context.Shown(random), ")"));
      row.push_back(seconds(random));
    }
    table.AddRow(std::move(row));
  }
  table.Print(context.Style(), context.out);
}

}  // namespace

std::vector<NamedPairs> NameStarts(const SectionContext& context) {
  const Study& study = context.study;
  if (study.metric.empty()) return {};
  const std::vector<StartPair> best = PairStarts(study, RateRule::kBest);
  if (best.empty()) return {};
  std::vector<NamedPairs> named;
  std::vector<StartPair> equal = PairStarts(study, RateRule::kEqual);
  if (!equal.empty()) named.push_back({"same steps and learning rate", std::move(equal)});
  named.push_back({"same steps, best learning rate", best});
  std::vector<Budget> budgets = ByBudget(context, best);
  if (budgets.size() > 1) std::move(budgets.begin(), budgets.end(), std::back_inserter(named));
  return named;
}

void PrintStartComparison(const SectionContext& context) {
  const Study& study = context.study;
  const std::vector<NamedPairs> rows = NameStarts(context);
  if (rows.empty()) return;
  const std::vector<StartPair> best = PairStarts(study, RateRule::kBest);

  context.Heading("Explicit or random start?");
  context.Say(absl::StrCat("Pairs of variants that differ only in how training starts, judged by ",
                           study.shown, "."));
  const bool replicated = Tally(study, best).within_noise >= 0;
  std::vector<TextTable::Column> columns = {{"", TextTable::Align::kLeft}};
  for (const char* title : {"pairs", "explicit wins", "random wins"}) {
    columns.push_back({title, TextTable::Align::kRight});
  }
  if (replicated) columns.push_back({"in noise", TextTable::Align::kRight});
  for (const char* title : {"ratio", "p", "explicit", "random"}) {
    columns.push_back({title, TextTable::Align::kRight});
  }
  TextTable table(std::move(columns));
  for (const NamedPairs& row : rows) AddTally(study, row.name, row.pairs, replicated, table);
  table.Print(context.Style(), context.out);

  context.Say(absl::StrCat(
      "Ratio: median of explicit / random; ", study.minimize ? "below" : "above",
      " 1 the explicit start is better. p: sign test over the pairs, as if each "
      "were an experiment of its own. Times: medians of a whole trial. ",
      replicated ? "In noise: leads that a t test over the seeds does not confirm at 5 %."
                 : "One seed each: read the signs together, not a single pair."));
  const bool uneven = std::any_of(best.begin(), best.end(), [](const StartPair& pair) {
    return pair.explicit_rates != pair.random_rates;
  });
  context.Say(
      absl::StrCat("The best learning rate is the one with the best ", study.metric, ". ",
                   uneven ? "Some pairs chose from different numbers of rates for the two starts."
                          : "Both starts chose from equally many rates in every pair."));
  if (const auto diverged = study.trial_states.find("diverged");
      diverged != study.trial_states.end()) {
    context.Say(absl::StrCat(Plural(diverged->second, "trial"),
                             ": diverged, and in no mean; a variant without another seed is in "
                             "no pair."));
  }
  PrintCatchUps(context);
}

}  // namespace saffron
