#include "core/wire/variant_wire.h"

#include <map>
#include <string>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/own_numerics.h"

namespace saffron {
namespace {

void SetValue(const ParamValue& value, v1::ParamValue* out) {
  std::visit(
      [out](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          out->set_boolean(v);
        } else if constexpr (std::is_same_v<T, int64_t>) {
          out->set_integer(v);
        } else if constexpr (std::is_same_v<T, double>) {
          out->set_number(v);
        } else {
          out->set_text(v);
        }
      },
      value);
}

absl::StatusOr<ParamValue> ValueOf(const v1::Param& param) {
  switch (param.value().kind_case()) {
    case v1::ParamValue::kBoolean:
      return ParamValue(param.value().boolean());
    case v1::ParamValue::kInteger:
      return ParamValue(int64_t{param.value().integer()});
    case v1::ParamValue::kNumber:
      return ParamValue(param.value().number());
    case v1::ParamValue::kText:
      return ParamValue(param.value().text());
    case v1::ParamValue::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("variant: ", param.key(), " has no value"));
}

// The first key whose presence or value differs; there is one.
std::string Difference(const Params& sent, const Params& resolved) {
  const auto text = [](const Params& params, const std::string& key) {
    const auto found = params.find(key);
    return found == params.end() ? std::string("nothing") : ParamValueText(found->second);
  };
  Params all = sent;
  all.insert(resolved.begin(), resolved.end());
  for (const auto& [key, value] : all) {
    const std::string a = text(sent, key), b = text(resolved, key);
    if (a != b) return absl::StrCat(key, ": sent ", a, ", resolved here to ", b);
  }
  return "order";
}

}  // namespace

v1::Variant VariantToProto(const ResolvedVariant& variant) {
  v1::Variant out;
  Params params = variant.params();
  params.merge(OwnNumerics(variant.params()));
  for (const auto& [key, value] : params) {
    v1::Param* param = out.add_params();
    param->set_key(key);
    SetValue(value, param->mutable_value());
  }
  return out;
}

absl::StatusOr<ResolvedVariant> VariantFromProto(const v1::Variant& message) {
  Params given;
  for (const v1::Param& param : message.params()) {
    ASSIGN_OR_RETURN(ParamValue value, ValueOf(param));
    if (!given.emplace(param.key(), std::move(value)).second) {
      return absl::InvalidArgumentError(absl::StrCat("variant: ", param.key(), " appears twice"));
    }
  }
  RETURN_IF_ERROR(TakeOwnNumerics(&given));
  ASSIGN_OR_RETURN(ResolvedVariant variant, ResolvedVariant::Resolve(given));
  if (variant.params() != given) {
    return absl::InvalidArgumentError(
        absl::StrCat("variant: this program and the sender disagree about what the keys mean (",
                     Difference(given, variant.params()), "); run the same build on both ends"));
  }
  return variant;
}

}  // namespace saffron
