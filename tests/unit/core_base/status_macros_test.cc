#include "core/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace saffron {
namespace {

absl::StatusOr<std::unique_ptr<int>> Half(int n) {
  if (n % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(n / 2);
}

absl::StatusOr<int> Quarter(int n) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(n));
  ASSIGN_OR_RETURN(std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

absl::Status CheckDivisible(int n, int* reached) {
  RETURN_IF_ERROR(Quarter(n).status());
  ++*reached;
  return absl::OkStatus();
}

TEST(StatusMacros, PassValuesOn) {
  EXPECT_EQ(*Quarter(12), 3);
  int reached = 0;
  EXPECT_TRUE(CheckDivisible(8, &reached).ok());
  EXPECT_EQ(reached, 1);
}

TEST(StatusMacros, StopAtTheFirstError) {
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
  int reached = 0;
  EXPECT_EQ(CheckDivisible(7, &reached), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(reached, 0);
}

}  // namespace
}  // namespace saffron
