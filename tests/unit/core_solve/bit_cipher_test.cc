#include "core/solve/bit_cipher.h"

#include <gtest/gtest.h>

#include <set>

namespace saffron {
namespace {

TEST(BitCipher, ThreeBitsByHand) {
  const auto codes = BitCipherCodes(7, 3);
  ASSERT_TRUE(codes.ok());
  EXPECT_EQ(*codes,
            (std::vector<std::vector<int32_t>>{{0}, {1}, {2}, {1, 2}, {0, 2}, {0, 1}, {0, 1, 2}}));
}

TEST(BitCipher, CodesAreDistinctAndNeverGetLighter) {
  const auto codes = BitCipherCodes(8192, 64);
  ASSERT_TRUE(codes.ok());
  ASSERT_EQ(codes->size(), 8192u);
  std::set<std::vector<int32_t>> seen;
  size_t weight = 1;
  for (const auto& code : *codes) {
    EXPECT_TRUE(seen.insert(code).second);
    EXPECT_GE(code.size(), weight);
    weight = code.size();
  }
  EXPECT_EQ(weight, 3u);  // 64 + 2016 codes of one and two bits, the rest of three
}

TEST(BitCipher, ACodeBookOfAllButTheEmptyCodeIsUsedUp) {
  const auto codes = BitCipherCodes(255, 8);
  ASSERT_TRUE(codes.ok());
  EXPECT_EQ(codes->back().size(), 8u);
}

TEST(BitCipher, RefusesTooFewBits) {
  EXPECT_FALSE(BitCipherCodes(256, 8).ok());
  const auto status = BitCipherRows(4096, 12).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(BitCipherRows(4095, 12).ok());
}

TEST(BitCipher, RowsHaveNormOne) {
  const auto rows = BitCipherRows(300, 12);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->rows(), 300);
  for (int w = 0; w < 300; ++w) {
    float norm = 0;
    for (int e = rows->begin[w]; e < rows->begin[w + 1]; ++e) norm += rows->value[e];
    EXPECT_NEAR(norm, 1, 1e-6);
  }
}

}  // namespace
}  // namespace saffron
