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

SaffuSolveSpec DenseStreamsOf(const ResolvedVariant& variant) {
  static const std::pair<const char*, Stream> kinds[] = {
      {"x", Stream::kCipher}, {"c", Stream::kContext}, {"r", Stream::kBag}};
  SaffuSolveSpec spec = {.streams = {}};
  const std::string& dense = variant.String("model.dense");
  if (dense == "none") return spec;
  for (const auto& [name, stream] : kinds) {
    if (absl::StrContains(dense, name)) spec.streams.push_back(stream);
  }
  spec.bits = static_cast<int>(variant.Int("model.dense_bits"));
  spec.alpha = variant.Double("solve.dense_alpha");
  const auto set = [&variant](const char* key, int* value) {
    if (variant.Has(key)) *value = static_cast<int>(variant.Int(key));
  };
  set("model.dense_lags", &spec.context);
  set("model.dense_context_lags", &spec.context_lags);
  set("model.dense_radius", &spec.radius);
  return spec;
}

}  // namespace saffron
