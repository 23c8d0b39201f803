#include "core/base/check.h"

#include <gtest/gtest.h>

namespace saffron {
namespace {

TEST(CheckDeathTest, AbortsWithPlaceConditionAndMessage) {
  EXPECT_DEATH(CHECK(1 + 1 == 3) << "arithmetic " << 7,
               "check_test.cc:[0-9]+: CHECK failed: 1 \\+ 1 == 3 arithmetic 7");
}

TEST(Check, CostsNothingWhenItHolds) {
  int evaluated = 0;
  CHECK(true) << ++evaluated;
  EXPECT_EQ(evaluated, 0);
}

}  // namespace
}  // namespace saffron
