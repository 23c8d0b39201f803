#include "coordinator/report/number_format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace saffron {
namespace {

std::string NotFinite(double value) {
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

}  // namespace

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return NotFinite(value);
  const double size = std::abs(value);
  if (size < 1e9 && value == std::round(value)) return absl::StrFormat("%.0f", value);
  if (size >= 1e6 || size < 1e-3) return absl::StrFormat("%.3g", value);
  if (size >= 1000) return absl::StrFormat("%.0f", value);
  if (size >= 100) return absl::StrFormat("%.1f", value);
  if (size >= 10) return absl::StrFormat("%.2f", value);
  if (size >= 1) return absl::StrFormat("%.3f", value);
  return absl::StrFormat("%.4f", value);
}

std::string FormatCount(double value) {
  if (!std::isfinite(value)) return NotFinite(value);
  static constexpr std::array<const char*, 6> kUnits = {"", "k", "M", "G", "T", "P"};
  size_t unit = 0;
  // 999.5 would print as 1000 of its unit.
  while (std::abs(value) >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const bool whole = unit == 0 && value == std::round(value);
  return absl::StrCat(absl::StrFormat(whole ? "%.0f" : "%.3g", value), kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds)) return NotFinite(seconds);
  if (seconds < 9.995) return absl::StrFormat("%.2f s", seconds);
  if (seconds < 99.95) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole % 3600 / 60);
}

std::string FormatPercent(double value, double reference) {
  const double percent = 100 * (value / reference - 1);
  if (!std::isfinite(percent)) return "";
  const std::string digits =
      absl::StrFormat(std::abs(percent) < 99.95 ? "%.1f" : "%.0f", std::abs(percent));
  if (digits == "0.0") return "0 %";
  return absl::StrCat(percent > 0 ? "+" : "−", digits, " %");
}

std::string FormatProbability(double p) {
  if (p < 1e-4) return "< 0.0001";
  return absl::StrFormat("%.2g", p);
}

std::string Plural(int64_t n, const std::string& what) {
  return absl::StrCat(n, " ", what, n == 1 ? "" : "s");
}

std::string FormatCell(const Cell& cell) {
  // What is short as it stands was chosen, not measured: 0.003, not 0.0030.
  constexpr size_t kShort = 5;
  const std::string exact = ExactCell(cell);
  const double* number = std::get_if<double>(&cell);
  return number == nullptr || exact.size() <= kShort ? exact : FormatNumber(*number);
}

std::string ExactCell(const Cell& cell) {
  if (const int64_t* integer = std::get_if<int64_t>(&cell)) return absl::StrCat(*integer);
  if (const std::string* text = std::get_if<std::string>(&cell)) return *text;
  if (const double* number = std::get_if<double>(&cell)) {
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), *number);
    return std::string(buffer.data(), end.ptr);
  }
  return "";
}

}  // namespace saffron
