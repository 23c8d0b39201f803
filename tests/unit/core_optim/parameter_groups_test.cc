#include "core/optim/parameter_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<ParameterTensor> Tensors() {
  return {{.name = "tok_embed", .begin = 0, .rows = 2, .cols = 2, .role = TensorRole::kEmbedding},
          {.name = "layers.0.w1", .begin = 4, .rows = 2, .cols = 2, .role = TensorRole::kHidden},
          {.name = "layers.0.b1", .begin = 8, .rows = 1, .cols = 2, .role = TensorRole::kVector},
          {.name = "layers.1.w1", .begin = 10, .rows = 2, .cols = 2, .role = TensorRole::kHidden},
          {.name = "readout", .begin = 14, .rows = 2, .cols = 2, .role = TensorRole::kReadout}};
}

std::vector<bool> Choose(const std::string& list) {
  return TensorPatterns::Parse(list)->Choose(Tensors()).value();
}

// A model's segments: matrices decay. The middle has no gradient.
ParameterArena<float> MakeModelArena() {
  ParameterArena<float> arena =
      ParameterArena<float>::Create({.parameters = 18, .gradients = 18}).value();
  float* g = arena.gradients().data();
  arena.segments() = {{.begin = 0, .size = 6, .gradient = g, .decay = true},
                      {.begin = 6, .size = 4, .gradient = nullptr, .decay = true, .idle = true},
                      {.begin = 10, .size = 8, .gradient = g + 10, .decay = true}};
  arena.tensors() = Tensors();
  return arena;
}

ParameterGroups<float> MakeGroups(const std::string& freeze, DecayRule decay) {
  return ParameterGroups<float>::Make(Tensors(), *TensorPatterns::Parse(freeze), decay).value();
}

TEST(TensorPatterns, ChooseByRoleByNameAndByStar) {
  EXPECT_THAT(Choose("embedding"), ElementsAre(true, false, false, false, false));
  EXPECT_THAT(Choose("hidden"), ElementsAre(false, true, false, true, false));
  EXPECT_THAT(Choose("layers.1.w1"), ElementsAre(false, false, false, true, false));
  EXPECT_THAT(Choose("layers.0.*, readout"), ElementsAre(false, true, true, false, true));
  EXPECT_THAT(Choose("*w1"), ElementsAre(false, true, false, true, false));
  EXPECT_THAT(Choose("l*.0.*1"), ElementsAre(false, true, true, false, false));
  EXPECT_THAT(Choose("*, !vector"), ElementsAre(true, true, false, true, true));
  EXPECT_THAT(Choose("* , ! layers.*, vector"), ElementsAre(true, false, true, false, true));
}

TEST(TensorPatterns, AnEntryThatFitsNothingIsRefusedWithTheTensorsThereAre) {
  const absl::Status status = TensorPatterns::Parse("layers.7.*")->Choose(Tensors()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no tensor fits \"layers.7.*\""));
  EXPECT_THAT(std::string(status.message()), HasSubstr("tok_embed, layers.0.w1"));
}

TEST(TensorPatterns, AnEmptyEntryIsRefused) {
  EXPECT_TRUE(TensorPatterns::Parse(" ")->empty());
  for (const std::string list : {"a,", ",a", "a,,b", "!"}) {
    EXPECT_EQ(TensorPatterns::Parse(list).status().code(), absl::StatusCode::kInvalidArgument)
        << list;
  }
}

TEST(ParameterGroups, FrozenTensorsLeaveTheSegments) {
  ParameterArena<float> arena = MakeModelArena();
  ParameterGroups<float> groups = MakeGroups("layers.0.*", DecayRule::kMatrices);
  EXPECT_EQ(groups.frozen_parameters(), 6);
  groups.Apply(arena);
  ASSERT_EQ(arena.segments().size(), 2u);
  EXPECT_EQ(arena.segments()[0].begin, 0);
  EXPECT_EQ(arena.segments()[0].size, 4);
  EXPECT_EQ(arena.segments()[1].begin, 10);
  EXPECT_EQ(arena.segments()[1].size, 8);
  EXPECT_EQ(arena.segments()[1].gradient, arena.gradients().data() + 10);
}

TEST(ParameterGroups, ARuleSaysWhatDecays) {
  ParameterArena<float> arena = MakeModelArena();
  MakeGroups("", DecayRule::kHidden).Apply(arena);
  std::vector<bool> decays(18);
  int64_t covered = 0;
  for (const ParameterSegment<float>& segment : arena.segments()) {
    EXPECT_EQ(segment.gradient == nullptr, segment.begin >= 6 && segment.begin < 10);
    if (segment.gradient != nullptr) {
      EXPECT_EQ(segment.gradient, arena.gradients().data() + segment.begin);
    }
    for (int64_t i = 0; i < segment.size; ++i) decays[segment.begin + i] = segment.decay;
    covered += segment.size;
  }
  EXPECT_EQ(covered, 18);
  for (int i = 0; i < 18; ++i) EXPECT_EQ(decays[i], (i >= 4 && i < 8) || (i >= 10 && i < 14)) << i;
}

TEST(ParameterGroups, ApplyingTwiceIsApplyingOnce) {
  ParameterArena<float> arena = MakeModelArena();
  ParameterGroups<float> groups = MakeGroups("embedding", DecayRule::kAll);
  groups.Apply(arena);
  const size_t count = arena.segments().size();
  groups.Apply(arena);
  EXPECT_EQ(arena.segments().size(), count);
}

TEST(ParameterGroups, WithoutRulesNothingIsTouched) {
  ParameterArena<float> arena = MakeModelArena();
  ParameterGroups<float> none;
  none.Apply(arena);
  EXPECT_EQ(arena.segments().size(), 3u);
}

TEST(ParameterGroups, FreezingEverythingIsRefused) {
  const auto groups =
      ParameterGroups<float>::Make(Tensors(), *TensorPatterns::Parse("*"), DecayRule::kMatrices);
  EXPECT_EQ(groups.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(groups.status().message()), HasSubstr("nothing is left to train"));
}

TEST(ParameterGroups, RulesWantTensors) {
  const auto groups = ParameterGroups<float>::Make({}, {}, DecayRule::kAll);
  EXPECT_EQ(groups.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace saffron
