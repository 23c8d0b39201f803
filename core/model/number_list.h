#pragma once
// Values that are one whole number for all, or a list with one for each, "256,512"
// (ParamSpec::one_for_each).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/model/variant.h"

namespace saffron {

// Whole numbers between commas, with spaces around them as one likes; nothing where the text is
// something else.
std::optional<std::vector<int64_t>> ParseNumberList(const std::string& text);
std::string NumberListText(const std::vector<int64_t>& numbers);  // "256,512"

// The number that a checked value has for number `i` of those it is for: that of all, or that of
// the list, whose last one stands for any beyond it.
int64_t NumberAt(const ParamValue& value, int64_t i);

}  // namespace saffron
