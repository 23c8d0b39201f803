#pragma once
// What tells variants apart, for people who read labels and tables.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/model/variant.h"

namespace saffron {

// Keys with more than one value in `variants`. A key that only some have does not vary for that:
// whether a variant has it follows from the values of others. A key that says how a variant is
// measured rather than what it is (ParamSpec::about_measuring), the digest of the variant that
// one starts from, and versions (own_numerics.h) are among them only when two variants differ in
// nothing else.
std::set<std::string> VaryingKeys(const std::vector<const Params*>& variants);

}  // namespace saffron
