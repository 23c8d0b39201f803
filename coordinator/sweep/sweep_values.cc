#include "coordinator/sweep/sweep_values.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "coordinator/sweep/problems.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

absl::StatusOr<ParamValue> EvaluateOverConstants(std::string_view text,
                                                 const Constants& constants) {
  ASSIGN_OR_RETURN(const Expression expression, Expression::Parse(text));
  std::vector<std::string> known;
  for (const auto& [name, value] : constants) known.push_back(name);
  for (const Expression::Name& name : expression.names()) {
    if (constants.count(name.name) > 0 || FindParam(name.name) == nullptr) continue;
    return absl::InvalidArgumentError(absl::StrCat("want constants in a value, got the key ",
                                                   name.name, " (", expression.Where(name.column),
                                                   "); `derived` may read keys"));
  }
  const auto look_up = [&constants](const std::string& name) -> const ParamValue* {
    const auto found = constants.find(name);
    return found == constants.end() ? nullptr : &found->second;
  };
  ASSIGN_OR_RETURN(const auto values, Bind(expression, look_up, known));
  return expression.Evaluate(values);
}

}  // namespace

absl::StatusOr<ParamValue> ValueOf(const v1::SweepValue& value, const Constants& constants) {
  switch (value.kind_case()) {
    case v1::SweepValue::kBoolean:
      return value.boolean();
    case v1::SweepValue::kInteger:
      return static_cast<int64_t>(value.integer());
    case v1::SweepValue::kText:
      return value.text();
    case v1::SweepValue::kNumber:
      if (std::isfinite(value.number())) return value.number();
      return absl::InvalidArgumentError(
          absl::StrCat("want a finite number, got ", ParamValueText(value.number())));
    case v1::SweepValue::kExpression:
      return EvaluateOverConstants(value.expression(), constants);
    case v1::SweepValue::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("want a value, got nothing");
}

absl::StatusOr<ParamValue> FitToKey(const ParamSpec& spec, const ParamValue& value, bool computed) {
  ParamValue fitting = value;
  const auto* real = std::get_if<double>(&value);
  if (computed && real != nullptr && spec.type == ParamType::kInt) {
    const double whole = std::round(*real);
    if (std::abs(*real - whole) <= 1e-9 * std::max(1.0, std::abs(whole))) fitting = whole;
  }
  absl::StatusOr<ParamValue> checked = CheckedParam(spec, fitting);
  if (checked.ok()) return checked;
  std::string what(checked.status().message());
  what = std::string(absl::StripPrefix(what, spec.key + ": "));
  if (computed && real != nullptr && spec.type == ParamType::kInt && fitting == value) {
    absl::StrAppend(&what, "; round(), floor() and ceil() make integers");
  }
  return absl::InvalidArgumentError(what);
}

absl::Status UnknownName(const Expression& expression, const Expression::Name& name,
                         const std::vector<std::string>& known) {
  std::string near = NearestName(name.name, known);
  // Keys are also near by their last part; that is for those who may name keys at all.
  const bool keys = known.size() >= AllParams().size();
  if (near.empty() && keys) near = NearestParam(name.name);
  const std::string list =
      keys || known.empty() ? "" : absl::StrCat(" (", absl::StrJoin(known, ", "), ")");
  return absl::InvalidArgumentError(
      absl::StrCat("want ", keys ? "a registered key or a constant" : "a constant", list, ", got ",
                   name.name, " (", expression.Where(name.column), ")", DidYouMean(near)));
}

std::vector<std::string> KnownNames(const Constants& constants) {
  std::vector<std::string> names;
  for (const ParamSpec& spec : AllParams()) names.push_back(spec.key);
  for (const auto& [name, value] : constants) names.push_back(name);
  return names;
}

}  // namespace saffron
