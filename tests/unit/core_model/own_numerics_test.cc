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

TEST(OwnNumericsTest, OnlyBfloat16HasAVersionOfItsOwn) {
  EXPECT_THAT(OwnNumerics(kFloat32), IsEmpty());
  EXPECT_THAT(OwnNumerics({{"model.type", "saffu"}}), IsEmpty());
  EXPECT_EQ(OwnNumerics(kBf16), (Params{{"numerics.bf16", int64_t{kBf16NumericsVersion}}}));
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
  Params unknown = kFloat32;
  unknown["numerics.fp8"] = int64_t{7};
  EXPECT_THAT(error(unknown), HasSubstr("numerics.fp8: it was made for version 7"));
}

}  // namespace
}  // namespace saffron
