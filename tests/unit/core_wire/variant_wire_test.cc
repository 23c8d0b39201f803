#include "core/wire/variant_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
using ::testing::HasSubstr;

ResolvedVariant Must(const Params& given) {
  auto resolved = ResolvedVariant::Resolve(given);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *resolved : ResolvedVariant();
}

std::string ErrorOf(const v1::Variant& message) {
  const auto variant = VariantFromProto(message);
  EXPECT_EQ(variant.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(variant.status().message());
}

v1::Param* FindParam(v1::Variant& message, const std::string& key) {
  for (v1::Param& param : *message.mutable_params()) {
    if (param.key() == key) return &param;
  }
  return nullptr;
}

TEST(VariantWire, GoesThereAndBackThroughBytes) {
  for (const Params& given :
       {Params{}, Params{{"model.type", "noop"}},
        Params{{"train.steps", int64_t{300}}, {"train.lr", 0.1 + 0.2}, {"train.epsilon", 1e-300}},
        Params{{"model.type", "softmax_regression"}, {"model.input", "pixels"}},
        Params{{"model.type", "transformer"}, {"train.precision", "bf16"}}}) {
    const ResolvedVariant variant = Must(given);
    v1::Variant received;
    ASSERT_TRUE(received.ParseFromString(VariantToProto(variant).SerializeAsString()));
    const auto back = VariantFromProto(received);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, variant);
    EXPECT_EQ(back->Digest(), variant.Digest());
  }
}

TEST(VariantWire, RefusesOtherNumericsOfItsOwn) {
  v1::Variant message =
      VariantToProto(Must({{"model.type", "transformer"}, {"train.precision", "bf16"}}));
  FindParam(message, "numerics.bf16")->mutable_value()->set_integer(1);
  const absl::Status status = VariantFromProto(message).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("numerics.bf16"));
}

TEST(VariantWire, KeysAreSorted) {
  const v1::Variant message =
      VariantToProto(Must({{"model.type", "transformer"}, {"train.precision", "bf16"}}));
  for (int i = 1; i < message.params_size(); ++i) {
    EXPECT_LT(message.params(i - 1).key(), message.params(i).key());
  }
}

TEST(VariantWire, RefusesAMissingKey) {
  v1::Variant message = VariantToProto(Must({}));
  message.mutable_params()->DeleteSubrange(0, 1);
  EXPECT_THAT(ErrorOf(message), HasSubstr("data.corpus: sent nothing, resolved here to \"sotu\""));
}

TEST(VariantWire, RefusesAKeyThatDoesNotMatter) {
  v1::Variant message = VariantToProto(Must({}));
  v1::Param* param = message.add_params();
  param->set_key("train.lr");
  param->mutable_value()->set_number(0.5);
  EXPECT_THAT(ErrorOf(message), HasSubstr("train.lr: sent 0.5, resolved here to nothing"));
}

TEST(VariantWire, RefusesAnotherType) {
  v1::Variant message = VariantToProto(Must({}));
  FindParam(message, "model.bits")->mutable_value()->set_number(64);
  EXPECT_THAT(ErrorOf(message), HasSubstr("model.bits: sent 64.0, resolved here to 64"));
}

TEST(VariantWire, RefusesUnknownKeysAndBadValues) {
  v1::Variant message = VariantToProto(Must({}));
  FindParam(message, "model.bits")->mutable_value()->set_integer(-1);
  EXPECT_THAT(ErrorOf(message), HasSubstr("model.bits: want an integer in [2, 1024], got -1"));
  message = VariantToProto(Must({}));
  FindParam(message, "model.bits")->set_key("model.bots");
  EXPECT_THAT(ErrorOf(message), HasSubstr("model.bots: no such key; did you mean model.bits?"));
}

TEST(VariantWire, RefusesDuplicatesAndMissingValues) {
  v1::Variant message = VariantToProto(Must({}));
  *message.add_params() = message.params(0);
  EXPECT_THAT(ErrorOf(message), HasSubstr("data.corpus appears twice"));
  message = VariantToProto(Must({}));
  FindParam(message, "model.bits")->clear_value();
  EXPECT_THAT(ErrorOf(message), HasSubstr("model.bits has no value"));
  EXPECT_THAT(ErrorOf(v1::Variant()), HasSubstr("data.corpus: sent nothing"));
}

TEST(VariantWire, RefusesNotANumber) {
  v1::Variant message = VariantToProto(Must({{"train.steps", int64_t{3}}}));
  FindParam(message, "train.lr")
      ->mutable_value()
      ->set_number(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(ErrorOf(message), HasSubstr("train.lr: want a number in (0, 100], got nan"));
}

}  // namespace
}  // namespace saffron
