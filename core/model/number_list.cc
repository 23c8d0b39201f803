#include "core/model/number_list.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/check.h"

namespace saffron {

std::optional<std::vector<int64_t>> ParseNumberList(const std::string& text) {
  std::vector<int64_t> numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(part, &number)) return std::nullopt;
    numbers.push_back(number);
  }
  return numbers;
}

std::string NumberListText(const std::vector<int64_t>& numbers) {
  return absl::StrJoin(numbers, ",");
}

int64_t NumberAt(const ParamValue& value, int64_t i) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  const auto numbers = ParseNumberList(std::get<std::string>(value));
  CHECK(numbers.has_value()) << std::get<std::string>(value) << " is no list of numbers";
  return (*numbers)[std::min<size_t>(i, numbers->size() - 1)];
}

}  // namespace saffron
