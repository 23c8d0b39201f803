#include "core/train/solve_choices.h"

#include <map>
#include <string>

#include "absl/strings/match.h"

namespace saffron {

GainMode GainModeOf(const ResolvedVariant& variant) {
  static const auto* const modes =
      new std::map<std::string, GainMode>{{"calibrated", GainMode::kCalibrated},
                                          {"geometric", GainMode::kGeometric},
                                          {"knorm", GainMode::kKnorm}};
  return modes->at(variant.String("solve.gains"));
}

Discounts DiscountsOf(const ResolvedVariant& variant) {
  return variant.String("model.discounts") == "modified" ? Discounts::kModified
                                                         : Discounts::kSingle;
}

std::vector<HistoryKind> HistoriesOf(const ResolvedVariant& variant) {
  static const std::pair<const char*, HistoryKind> kinds[] = {
      {"all", HistoryKind::kAll},
      {"recent", HistoryKind::kRecent},
      {"followers", HistoryKind::kFollowers}};
  std::vector<HistoryKind> histories;
  for (const auto& [name, kind] : kinds) {
    if (absl::StrContains(variant.String("model.history"), name)) histories.push_back(kind);
  }
  return histories;
}

}  // namespace saffron
