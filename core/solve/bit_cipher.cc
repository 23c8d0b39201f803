#include "core/solve/bit_cipher.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

using Code = std::vector<int32_t>;

// c + {bit}, ascending; empty when c has the bit already.
Code WithBit(const Code& c, int32_t bit) {
  const auto at = std::lower_bound(c.begin(), c.end(), bit);
  if (at != c.end() && *at == bit) return {};
  Code longer(c.begin(), at);
  longer.push_back(bit);
  longer.insert(longer.end(), at, c.end());
  return longer;
}

}  // namespace

absl::StatusOr<std::vector<Code>> BitCipherCodes(int types, int bits) {
  if (bits < 1 || (bits < 31 && (1 << bits) <= types)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.bits: want 2^bits above the number of types, ", types, ", got ", bits));
  }
  std::vector<Code> codes;
  codes.reserve(types);
  for (int32_t i = 0; i < bits && static_cast<int>(codes.size()) < types; ++i) codes.push_back({i});
  size_t weight_begin = 0;  // of the codes one bit lighter
  while (static_cast<int>(codes.size()) < types) {
    const size_t weight_end = codes.size();
    std::set<Code> used;
    for (int32_t bit = bits - 1; bit >= 0; --bit) {
      for (size_t c = weight_end; c-- > weight_begin;) {
        Code longer = WithBit(codes[c], bit);
        if (longer.empty() || !used.insert(longer).second) continue;
        codes.push_back(std::move(longer));
        if (static_cast<int>(codes.size()) == types) return codes;
      }
    }
    weight_begin = weight_end;
  }
  return codes;
}

absl::StatusOr<SparseRows> BitCipherRows(int types, int bits) {
  ASSIGN_OR_RETURN(const auto codes, BitCipherCodes(types, bits));
  SparseRows rows{.dim = bits, .begin = {0}, .index = {}, .value = {}};
  for (const Code& code : codes) {
    for (int32_t bit : code) {
      rows.index.push_back(bit);
      rows.value.push_back(1.0f / static_cast<float>(code.size()));
    }
    rows.begin.push_back(static_cast<int32_t>(rows.index.size()));
  }
  return rows;
}

}  // namespace saffron
