#include "core/derive/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

using testing::HasSubstr;

TEST(Verify, RecordsWhatGrowingChanged) {
  for (const NamedShape& named : RmsShapes()) {
    const auto ops = ParseDeriveOps("mlp:x2,key:+2,hidden:+3");
    const auto derivation = DeriveAndVerify(MakeModel(named.shape, 1), *ops, DrawModel, 3);
    ASSERT_TRUE(derivation.ok()) << derivation.status();
    const DerivationReport& report = derivation->report;
    EXPECT_EQ(report.ops, "mlp:x2,key:+2,hidden:+3");
    EXPECT_EQ(report.probe_tokens, 4 * kContext);
    EXPECT_GT(report.max_logit, 0.1);
    EXPECT_LE(report.max_change, 1e-12);
    EXPECT_LE(report.max_change_float, 1e-4 * std::max(1.0, report.max_logit));
    EXPECT_GT(report.max_change_float, 0) << "key factors are not powers of two";
  }
}

TEST(Verify, AChangedModelIsRefusedWithTheFigure) {
  const GrowableModel parent = MakeModel(RmsShapes()[1].shape, 1);
  GrowableModel child = Grow(parent, "hidden:+5");
  child.shape.final_epsilon *= 2;
  auto report = MeasureChange(parent, child);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->max_change, kChangeMax);
  report->ops = "hidden:+5";
  const absl::Status status = CheckChange(*report);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("derive hidden:+5: logits changed by "));
}

TEST(Verify, ANumberThatIsNoneIsAChange) {
  GrowableModel parent = MakeModel(RmsShapes()[1].shape, 1);
  parent.parameters[0] = std::numeric_limits<double>::quiet_NaN();
  const auto derivation = DeriveAndVerify(parent, *ParseDeriveOps("mlp:x2"), DrawModel, 3);
  EXPECT_EQ(derivation.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace saffron
