#include "coordinator/sweep/quantities.h"

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace saffron {
namespace {

struct Unit {
  std::string_view name;
  int64_t size;
};

constexpr std::array<Unit, 5> kDurations = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 9> kBytes = {{{"TiB", int64_t{1} << 40},
                                         {"TB", 1'000'000'000'000},
                                         {"GiB", 1 << 30},
                                         {"GB", 1'000'000'000},
                                         {"MiB", 1 << 20},
                                         {"MB", 1'000'000},
                                         {"KiB", 1 << 10},
                                         {"kB", 1000},
                                         {"B", 1}}};
constexpr double kDurationMax = 10.0 * 366 * 86'400'000;
constexpr double kBytesMax = 0x1p53;

void SkipSpaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

// Takes a number and its unit from the front of `text`: the index of the unit and the product.
template <size_t N>
std::optional<std::pair<size_t, double>> TakeQuantity(std::string_view& text,
                                                      const std::array<Unit, N>& units) {
  if (text.empty() || !absl::ascii_isdigit(text.front())) return std::nullopt;
  double number = 0;
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (parsed.ec != std::errc()) return std::nullopt;
  text.remove_prefix(parsed.ptr - text.data());
  SkipSpaces(text);
  size_t letters = 0;
  while (letters < text.size() && absl::ascii_isalpha(text[letters])) ++letters;
  for (size_t i = 0; i < N; ++i) {
    if (units[i].name != text.substr(0, letters)) continue;
    text.remove_prefix(letters);
    return std::pair(i, number * static_cast<double>(units[i].size));
  }
  return std::nullopt;
}

std::optional<int64_t> Whole(double value, double max) {
  if (value > max || value != std::floor(value)) return std::nullopt;
  return static_cast<int64_t>(value);
}

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::optional<int64_t> ParseDurationMs(std::string_view text) {
  double total = 0;
  size_t least = 0;  // units from here on may follow
  do {
    const auto part = TakeQuantity(text, kDurations);
    if (!part.has_value() || part->first < least) return std::nullopt;
    least = part->first + 1;
    total += part->second;
    SkipSpaces(text);
  } while (!text.empty());
  return Whole(total, kDurationMax);
}

std::string DurationText(int64_t milliseconds) {
  std::string text;
  for (const Unit& unit : kDurations) {
    if (milliseconds < unit.size) continue;
    absl::StrAppend(&text, milliseconds / unit.size, Absl(unit.name));
    milliseconds %= unit.size;
  }
  return text.empty() ? "0ms" : text;
}

std::optional<int64_t> ParseBytes(std::string_view text) {
  const auto quantity = TakeQuantity(text, kBytes);
  if (!quantity.has_value() || !text.empty()) return std::nullopt;
  return Whole(quantity->second, kBytesMax);
}

std::string BytesText(int64_t bytes) {
  for (const Unit& unit : kBytes) {
    const bool binary = unit.name.size() == 3 || unit.size == 1;
    if (binary && bytes >= unit.size && bytes % unit.size == 0) {
      return absl::StrCat(bytes / unit.size, Absl(unit.name));
    }
  }
  return "0B";
}

}  // namespace saffron
