#pragma once
// Values of a spec: constants, expressions over them, and the fit of a value to its key.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/sweep/expression.h"
#include "core/model/registry.h"
#include "core/model/variant.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

using Constants = std::map<std::string, ParamValue>;

// What `value` is, given the constants. INVALID_ARGUMENT, "want …, got …", without place or key: an
// expression with an error, a value that is not set, or a number that is not finite.
absl::StatusOr<ParamValue> ValueOf(const v1::SweepValue& value, const Constants& constants);

// CheckedParam without the key in front of its message. A `computed` number within rounding error
// of an integer (0.1 * 300) becomes that integer where the key wants one.
absl::StatusOr<ParamValue> FitToKey(const ParamSpec& spec, const ParamValue& value, bool computed);

// "want a registered key or a constant, got NAME (column …); did you mean …?"
absl::Status UnknownName(const Expression& expression, const Expression::Name& name,
                         const std::vector<std::string>& known);

// Everything an expression of a block may name: registered keys, then constants.
std::vector<std::string> KnownNames(const Constants& constants);

// The pointers that Expression::Evaluate wants, from a look-up that gives nullptr for unknown
// names. INVALID_ARGUMENT naming the first unknown one, its column and the nearest of `known`.
template <typename LookUp>
absl::StatusOr<std::vector<const ParamValue*>> Bind(const Expression& expression,
                                                    const LookUp& look_up,
                                                    const std::vector<std::string>& known) {
  std::vector<const ParamValue*> values;
  for (const Expression::Name& name : expression.names()) {
    const ParamValue* value = look_up(name.name);
    if (value == nullptr) return UnknownName(expression, name, known);
    values.push_back(value);
  }
  return values;
}

}  // namespace saffron
