#include "core/model/varying_keys.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Params = std::map<std::string, ParamValue>;

std::set<std::string> Varying(const std::vector<Params>& variants) {
  std::vector<const Params*> pointers;
  for (const Params& params : variants) pointers.push_back(&params);
  return VaryingKeys(pointers);
}

Params Trained(int64_t steps, int64_t eval_every) {
  return {{"model.type", "saffu"}, {"train.steps", steps}, {"train.eval_every", eval_every}};
}

TEST(VaryingKeysTest, AKeyVariesWhenTwoVariantsThatHaveItDifferInIt) {
  EXPECT_THAT(Varying({}), IsEmpty());
  EXPECT_THAT(Varying({{{"model.bits", int64_t{16}}}, {{"model.bits", int64_t{32}}}}),
              ElementsAre("model.bits"));
  EXPECT_THAT(Varying({{{"model.bits", int64_t{16}}}, {{"model.order", int64_t{3}}}}), IsEmpty());
}

TEST(VaryingKeysTest, HowOftenAVariantIsEvaluatedTellsNothingThatItsStepsDoNot) {
  EXPECT_THAT(Varying({Trained(100, 10), Trained(200, 20)}), ElementsAre("train.steps"));
}

TEST(VaryingKeysTest, WhatAVariantStartsFromIsNamedWhereNothingElseTells) {
  const auto grown = [](double lr, std::string from) {
    return Params{{"train.lr", lr}, {"init_from.variant", from}};
  };
  EXPECT_THAT(Varying({grown(0.1, "ab"), grown(0.2, "cd")}), ElementsAre("train.lr"));
  EXPECT_THAT(Varying({grown(0.1, "ab"), grown(0.1, "cd")}), ElementsAre("init_from.variant"));
}

TEST(VaryingKeysTest, WhatAloneTellsTwoVariantsApartIsNamed) {
  EXPECT_THAT(Varying({Trained(100, 10), Trained(200, 20), Trained(200, 50)}),
              ElementsAre("train.eval_every", "train.steps"));
}

}  // namespace
}  // namespace saffron
