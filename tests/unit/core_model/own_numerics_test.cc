#include "core/model/own_numerics.h"

#include "core/base/numerics_version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Params = std::map<std::string, ParamValue>;

const Params kBf16 = {{"model.type", "transformer"}, {"train.precision", "bf16"}};
const Params kFloat32 = {{"model.type", "transformer"}, {"train.precision", "float32"}};

TEST(OwnNumericsTest, ReadoutsSolvedOnHiddenStatesHaveAVersionOfTheirOwn) {
  const Params readout = {{"numerics.readout", int64_t{kReadoutNumericsVersion}}};
  for (const char* solved : {"ridge", "explicit"}) {
    EXPECT_EQ(OwnNumerics({{"model.type", "transformer"}, {"solve.readout", solved}}), readout);
  }
  EXPECT_THAT(OwnNumerics({{"model.type", "transformer"}, {"solve.readout", "prior"}}), IsEmpty());
}

TEST(OwnNumericsTest, AVariantMayHaveSeveral) {
  Params params = kBf16;
  params["solve.readout"] = "ridge";
  EXPECT_EQ(OwnNumerics(params).size(), 2u);
  params.merge(OwnNumerics(params));
  EXPECT_EQ(TakeOwnNumerics(&params), absl::OkStatus());
  EXPECT_EQ(params.size(), 3u);
}

Params LogLinear(int64_t order, const char* templates) {
  return {{"model.type", "log_linear"}, {"model.order", order}, {"model.templates", templates}};
}

TEST(OwnNumericsTest, Bfloat16HasAVersionOfItsOwn) {
  EXPECT_THAT(OwnNumerics(kFloat32), IsEmpty());
  EXPECT_THAT(OwnNumerics({{"model.type", "saffu"}}), IsEmpty());
  EXPECT_EQ(OwnNumerics(kBf16), (Params{{"numerics.bf16", int64_t{kBf16NumericsVersion}}}));
}

TEST(OwnNumericsTest, TemplatesThatBeginWithAsLongAChainAsTheModelHaveAVersionOfTheirOwn) {
  const Params left_out = {{"numerics.left_out", int64_t{kLeftOutNumericsVersion}}};
  for (const int64_t order : {1, 2}) {
    EXPECT_EQ(OwnNumerics(LogLinear(order, "skip+pair")), left_out);
    EXPECT_EQ(OwnNumerics(LogLinear(order, "1.2.4")), left_out);
    EXPECT_THAT(OwnNumerics(LogLinear(order, "skip+2.3")), IsEmpty());
    EXPECT_THAT(OwnNumerics(LogLinear(order, "none")), IsEmpty());
  }
  EXPECT_THAT(OwnNumerics(LogLinear(3, "skip+pair")), IsEmpty());
  EXPECT_EQ(OwnNumerics(LogLinear(3, "1.3+1.2.4")), left_out);
  EXPECT_THAT(OwnNumerics(LogLinear(4, "1.3+1.2.4")), IsEmpty());
  EXPECT_EQ(OwnNumerics(LogLinear(4, "1.2.3.5")), left_out);
  EXPECT_THAT(OwnNumerics(LogLinear(5, "1.2.3.5")), IsEmpty());
  EXPECT_THAT(
      OwnNumerics(
          {{"model.type", "log_linear"}, {"model.order", "two"}, {"model.templates", int64_t{13}}}),
      IsEmpty());
  Params not_refolded = LogLinear(2, "1.3");
  not_refolded["solve.refold"] = false;
  EXPECT_THAT(OwnNumerics(not_refolded), IsEmpty());
}

TEST(OwnNumericsTest, WhatThisProgramComputesIsTakenAndTheRestIsTheVariant) {
  Params params = kBf16;
  params.merge(OwnNumerics(kBf16));
  EXPECT_EQ(TakeOwnNumerics(&params), absl::OkStatus());
  EXPECT_EQ(params, kBf16);
  params = kFloat32;
  EXPECT_EQ(TakeOwnNumerics(&params), absl::OkStatus());
  EXPECT_EQ(params, kFloat32);
}

TEST(OwnNumericsTest, AnyOtherVersionIsRefusedByName) {
  const auto error = [](Params params) {
    const absl::Status status = TakeOwnNumerics(&params);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  Params newer = kBf16;
  newer["numerics.bf16"] = int64_t{kBf16NumericsVersion + 1};
  EXPECT_THAT(error(newer), HasSubstr("numerics.bf16: it was made for version 3"));
  EXPECT_THAT(error(kBf16), HasSubstr("numerics.bf16: it was made for version 1"));
  EXPECT_THAT(error(LogLinear(2, "1.3")),
              HasSubstr("numerics.left_out: it was made for version 1"));
  Params unknown = kFloat32;
  unknown["numerics.fp8"] = int64_t{7};
  EXPECT_THAT(error(unknown), HasSubstr("numerics.fp8: it was made for version 7"));
}

}  // namespace
}  // namespace saffron
