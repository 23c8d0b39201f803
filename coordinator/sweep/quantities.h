#pragma once
// Durations and sizes as people write them. Printing and reading agree: ParseX(XText(v)) == v.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace saffron {

// "2h", "1h 30m", "90s", "500ms", "1.5h" as milliseconds; d, h, m, s and ms, largest first, each at
// most once. Nothing when the text is something else, is not a whole number of milliseconds, or is
// over 10 years.
std::optional<int64_t> ParseDurationMs(std::string_view text);
std::string DurationText(int64_t milliseconds);

// "2GiB", "512 MiB", "1.5GB", "4096B" as bytes: B, kB, MB, GB, TB (powers of 1000) and KiB, MiB,
// GiB, TiB (of 1024). Nothing when the text is something else or is not a whole number of bytes
// below 2^53.
std::optional<int64_t> ParseBytes(std::string_view text);
std::string BytesText(int64_t bytes);

}  // namespace saffron
