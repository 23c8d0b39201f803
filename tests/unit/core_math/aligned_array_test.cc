#include "core/math/aligned_array.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace saffron {
namespace {

TEST(AlignedArray, IsZeroAndAlignedAtEverySize) {
  for (const int64_t size : {0, 1, 7, 1000, 16'383, 16'384, 16'385, 524'287, 524'288, 3'000'001}) {
    for (int round = 0; round < 2; ++round) {  // the second may get the first one's memory back
      AlignedArray<float> array(size);
      ASSERT_TRUE(array.ok());
      ASSERT_EQ(array.size(), size);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(array.data()) % 64, 0u);
      for (int64_t i = 0; i < size; ++i) ASSERT_EQ(array[i], 0.0f) << size << " " << i;
      for (float& x : array.span()) x = 1;
    }
  }
}

TEST(AlignedArray, MovesItsMemory) {
  AlignedArray<double> a(100'000);
  a[99'999] = 3;
  AlignedArray<double> b = std::move(a);
  a = AlignedArray<double>(10);
  EXPECT_EQ(b[99'999], 3);
  b = std::move(a);
  EXPECT_EQ(b.size(), 10);
}

TEST(AlignedArray, SaysWhenThereIsNoMemory) {
  const AlignedArray<double> array(int64_t{1} << 45);
  EXPECT_FALSE(array.ok());
  EXPECT_EQ(array.size(), 0);
}

}  // namespace
}  // namespace saffron
