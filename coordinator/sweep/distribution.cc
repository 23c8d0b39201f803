#include "coordinator/sweep/distribution.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/base/check.h"

namespace saffron {
namespace {

constexpr int kRedraws = 64;

double RoundToDigits(double value, int digits) {
  char buffer[64];
  const char* const end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                        std::chars_format::scientific, digits - 1)
                              .ptr;
  double rounded = value;
  std::from_chars(buffer, end, rounded);
  return rounded;
}

}  // namespace

bool IsQuantized(v1::Parameter::Distribution kind) { return kind >= v1::Parameter::Q_UNIFORM; }
bool IsNormal(v1::Parameter::Distribution kind) {
  return kind == v1::Parameter::NORMAL || kind == v1::Parameter::LOG_NORMAL ||
         kind == v1::Parameter::Q_NORMAL || kind == v1::Parameter::Q_LOG_NORMAL;
}
bool IsLogarithmic(v1::Parameter::Distribution kind) {
  return kind == v1::Parameter::LOG_UNIFORM_VALUES ||
         kind == v1::Parameter::INV_LOG_UNIFORM_VALUES ||
         kind == v1::Parameter::Q_LOG_UNIFORM_VALUES;
}
bool IsExponent(v1::Parameter::Distribution kind) {
  return kind == v1::Parameter::LOG_UNIFORM || kind == v1::Parameter::Q_LOG_UNIFORM;
}

int64_t Distribution::GridSize() const {
  if (IsNormal(kind)) return 0;
  if (count > 0) return count;
  double size = 0;
  if (kind == v1::Parameter::INT_UNIFORM) size = max - min + 1;
  if (kind == v1::Parameter::Q_UNIFORM) size = std::floor(max / q) - std::ceil(min / q) + 1;
  // A grid this long is refused anyway.
  return static_cast<int64_t>(std::clamp(size, 0.0, 1e15));
}

ParamValue Distribution::GridPoint(int64_t i) const {
  CHECK(i >= 0 && i < GridSize()) << "point " << i << " of " << GridSize();
  if (count > 0) {
    return AsValue(
        Between(count == 1 ? 0 : static_cast<double>(i) / static_cast<double>(count - 1)));
  }
  if (kind == v1::Parameter::INT_UNIFORM) return AsValue(min + static_cast<double>(i));
  return AsValue((std::ceil(min / q) + static_cast<double>(i)) * q);
}

std::optional<ParamValue> Distribution::Draw(const CounterRandom& random, int64_t index) const {
  for (uint64_t attempt = 0; attempt < kRedraws; ++attempt) {
    const ParamValue value =
        AsValue(Sample(random, static_cast<uint64_t>(index) * kRedraws + attempt));
    if (CheckedParam(*key, value).ok()) return value;
  }
  return std::nullopt;
}

double Distribution::Sample(const CounterRandom& random, uint64_t counter) const {
  if (IsNormal(kind)) {
    const double x = mu + sigma * random.Normal(counter);
    return kind == v1::Parameter::NORMAL || kind == v1::Parameter::Q_NORMAL ? x : std::exp(x);
  }
  if (kind == v1::Parameter::INT_UNIFORM) {
    return min + static_cast<double>(random.Below(counter, static_cast<uint64_t>(max - min) + 1));
  }
  const double u = random.Uniform(counter);
  return Between(kind == v1::Parameter::INV_LOG_UNIFORM_VALUES ? 1 - u : u);
}

// The point at `fraction` of the way from min to max, on the distribution's own scale.
double Distribution::Between(double fraction) const {
  const bool logarithmic = IsLogarithmic(kind);
  const double low = logarithmic ? std::log(min) : min;
  const double high = logarithmic ? std::log(max) : max;
  const double at = low + (high - low) * fraction;
  const double value = logarithmic || IsExponent(kind) ? std::exp(at) : at;
  if (IsExponent(kind)) return value;
  if (fraction == 0) return min;
  return fraction == 1 ? max : std::clamp(value, min, max);
}

// To the nearest multiple of q, but not out of the range.
double Distribution::Quantized(double value) const {
  double steps = std::round(value / q);
  if (!IsNormal(kind)) {
    const double low = IsExponent(kind) ? std::exp(min) : min;
    const double high = IsExponent(kind) ? std::exp(max) : max;
    steps =
        std::clamp(steps, std::ceil(low / q), std::max(std::ceil(low / q), std::floor(high / q)));
  }
  return RoundToDigits(steps * q, 12);
}

// Six digits that tell the values of the range apart: short to read, and the same on machines whose
// logarithms differ in the last bit.
double Distribution::Rounded(double value) const {
  double low = min, high = max;
  if (IsNormal(kind)) {
    low = mu - sigma;
    high = mu + sigma;
  }
  int digits = 6;
  if (!IsExponent(kind) && kind != v1::Parameter::LOG_NORMAL && high > low) {
    const double magnitude = std::max(std::abs(low), std::abs(high));
    digits += static_cast<int>(std::round(std::log10(std::max(1.0, magnitude / (high - low)))));
  }
  const double rounded = RoundToDigits(value, std::min(digits, 17));
  return IsNormal(kind) || IsExponent(kind) ? rounded : std::clamp(rounded, low, high);
}

ParamValue Distribution::AsValue(double value) const {
  if (kind != v1::Parameter::INT_UNIFORM)
    value = IsQuantized(kind) ? Quantized(value) : Rounded(value);
  if (key->type != ParamType::kInt)
    return kind == v1::Parameter::INT_UNIFORM ? std::round(value) : value;
  const double whole = std::round(value);
  if (std::abs(whole) < 0x1p63) return static_cast<int64_t>(whole);
  return value;
}

}  // namespace saffron
