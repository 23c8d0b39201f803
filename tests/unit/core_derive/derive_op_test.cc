#include "core/derive/derive_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(DeriveOps, AreReadInOrder) {
  const auto ops = ParseDeriveOps("mlp:256@0-1+3, hidden:x2 layers:+2@0,key:8");
  ASSERT_TRUE(ops.ok()) << ops.status();
  ASSERT_EQ(ops->size(), 4u);
  EXPECT_EQ((*ops)[0].kind, DeriveKind::kMlp);
  EXPECT_EQ((*ops)[0].size.From(64), 256);
  EXPECT_THAT((*ops)[0].layers, ElementsAre(0, 1, 3));
  EXPECT_EQ((*ops)[1].kind, DeriveKind::kHidden);
  EXPECT_EQ((*ops)[1].size.From(64), 128);
  EXPECT_EQ((*ops)[2].kind, DeriveKind::kLayers);
  EXPECT_EQ((*ops)[2].size.From(4), 6);
  EXPECT_THAT((*ops)[2].layers, ElementsAre(0));
  EXPECT_THAT((*ops)[3].layers, IsEmpty());
}

TEST(DeriveOps, PrintWhatTheyRead) {
  for (const std::string text :
       {"mlp:256", "mlp:256@0-1+3", "heads:+2@1", "value:x3@0+2+4-6", "key:64", "hidden:x2",
        "layers:+1@0", "layers:12", "mlp:x2,hidden:+8,layers:+1@3"}) {
    const auto ops = ParseDeriveOps(text);
    ASSERT_TRUE(ops.ok()) << ops.status();
    EXPECT_EQ(DeriveOpsText(*ops), text);
  }
}

TEST(DeriveOps, LayersAreASet) {
  EXPECT_EQ(DeriveOpsText(*ParseDeriveOps("mlp:9@3+1-2+2")), "mlp:9@1-3");
}

std::string Message(const std::string& text) {
  const auto ops = ParseDeriveOps(text);
  EXPECT_EQ(ops.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(ops.status().message());
}

TEST(DeriveOps, ErrorsNameTheColumnAndTheOperatorsThereAre) {
  EXPECT_THAT(Message("mlp:8,hiden:9"), HasSubstr("column 7: want the name of an operator (did you "
                                                  "mean hidden?), got \"hiden:9\""));
  EXPECT_THAT(Message("wings:2"), HasSubstr("mlp, heads, value, key, hidden, layers, experts"));
  EXPECT_THAT(Message("mlp"), HasSubstr("column 4: want : and a size, got the end"));
  EXPECT_THAT(Message("mlp:big"), HasSubstr("column 5: want a number from 1"));
  EXPECT_THAT(Message("mlp:0"), HasSubstr("want a number from 1"));
  EXPECT_THAT(Message("mlp:-3"), HasSubstr("column 5: want a number from 1"));
  EXPECT_THAT(Message("mlp:99999999999999999999"), HasSubstr("want a number from 1 to 1000000000"));
  EXPECT_THAT(Message("mlp:8@"), HasSubstr("column 7: want a number from 0"));
  EXPECT_THAT(Message("mlp:8@3-1"), HasSubstr("want layers in ascending order"));
  EXPECT_THAT(Message("hidden:8@1"), HasSubstr("want no layers"));
  EXPECT_THAT(Message("mlp:8;key:2"), HasSubstr("column 6: want a comma"));
  EXPECT_THAT(Message("mlp:8,"), HasSubstr("column 7: want an operator after the comma"));
  EXPECT_THAT(Message(""), HasSubstr("want an operator"));
}

}  // namespace
}  // namespace saffron
