#pragma once
// The words for kinds of transformer parts: of sweep files and of files that hold a model.

#include <initializer_list>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

template <typename Kind>
using KindNames = std::initializer_list<std::pair<const char*, Kind>>;

// All words for a kind, each kind once.
template <typename Kind>
const KindNames<Kind>& NamesOf();

template <>
inline const KindNames<NormKind>& NamesOf() {
  static constexpr KindNames<NormKind> kNames = {{"rms", NormKind::kRms},
                                                 {"layer", NormKind::kLayer}};
  return kNames;
}
template <>
inline const KindNames<PositionKind>& NamesOf() {
  static constexpr KindNames<PositionKind> kNames = {{"none", PositionKind::kNone},
                                                     {"learned", PositionKind::kLearned},
                                                     {"rope", PositionKind::kRope},
                                                     {"alibi", PositionKind::kAlibi}};
  return kNames;
}
template <>
inline const KindNames<MlpKind>& NamesOf() {
  static constexpr KindNames<MlpKind> kNames = {{"relu", MlpKind::kRelu},
                                                {"gelu", MlpKind::kGelu},
                                                {"gelu_tanh", MlpKind::kGeluTanh},
                                                {"geglu", MlpKind::kGeglu},
                                                {"swiglu", MlpKind::kSwiglu}};
  return kNames;
}
template <>
inline const KindNames<MlpUnitBias>& NamesOf() {
  static constexpr KindNames<MlpUnitBias> kNames = {
      {"none", MlpUnitBias::kNone},
      {"multiplicative", MlpUnitBias::kMultiplicative},
      {"additive", MlpUnitBias::kAdditive}};
  return kNames;
}
template <>
inline const KindNames<MoeGates>& NamesOf() {
  static constexpr KindNames<MoeGates> kNames = {{"selected", MoeGates::kSelected},
                                                 {"all", MoeGates::kAll}};
  return kNames;
}
template <>
inline const KindNames<SecondPolicy>& NamesOf() {
  static constexpr KindNames<SecondPolicy> kNames = {{"all", SecondPolicy::kAll},
                                                     {"none", SecondPolicy::kNone},
                                                     {"threshold", SecondPolicy::kThreshold},
                                                     {"random", SecondPolicy::kRandom}};
  return kNames;
}
template <>
inline const KindNames<SlotOrder>& NamesOf() {
  static constexpr KindNames<SlotOrder> kNames = {{"token_major", SlotOrder::kTokenMajor},
                                                  {"choice_major", SlotOrder::kChoiceMajor},
                                                  {"priority", SlotOrder::kPriority}};
  return kNames;
}
template <>
inline const KindNames<DensePlace>& NamesOf() {
  static constexpr KindNames<DensePlace> kNames = {
      {"none", DensePlace::kNone}, {"before", DensePlace::kBefore}, {"after", DensePlace::kAfter}};
  return kNames;
}

template <typename Kind>
const char* NameOf(Kind kind) {
  for (const auto& [name, its_kind] : NamesOf<Kind>()) {
    if (its_kind == kind) return name;
  }
  CHECK(false) << "kind " << static_cast<int>(kind);
  return "";
}

// `name` must be one of them.
template <typename Kind>
Kind KindOf(const std::string& name) {
  for (const auto& [its_name, kind] : NamesOf<Kind>()) {
    if (name == its_name) return kind;
  }
  CHECK(false) << "no kind " << name;
  return {};
}

}  // namespace saffron
