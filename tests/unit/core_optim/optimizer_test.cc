#include "core/optim/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/random.h"
#include "tests/unit/core_optim/arena.h"

namespace saffron {
namespace {

using testing::HasSubstr;

constexpr double kStart[5] = {1, -2, 0.5, 0.25, 3};
constexpr double kGradients[3][5] = {
    {0.5, -1, 0.25, 0, 2}, {0.1, 0.2, -0.3, 0, -4}, {-1, 0.5, 0.125, 1, 0}};

// A vector of five.
template <typename T>
ParameterArena<T> MakeArena(int64_t n) {
  return MakeArena<T>(1, n, TensorRole::kVector);
}

// Three steps from kStart must give `want`, which was computed apart, in double, from the papers'
// formulas (and agrees with PyTorch's optimisers to the last digits).
template <typename T>
void ExpectPath(const std::string& name, const OptimizerConfig& config, const double (&want)[3][5],
                double tolerance) {
  ParameterArena<T> arena = MakeArena<T>(5);
  auto optimizer = MakePrepared<T>(name, config, arena);
  std::copy(kStart, kStart + 5, arena.parameters().begin());
  for (int step = 0; step < 3; ++step) {
    std::copy(kGradients[step], kGradients[step] + 5, arena.gradients().begin());
    optimizer->Step(arena, 0.1);
    for (int i = 0; i < 5; ++i) {
      EXPECT_NEAR(arena.parameters()[i], want[step][i], tolerance)
          << name << " step " << step + 1 << " element " << i;
    }
  }
  EXPECT_EQ(optimizer->steps_done(), 3);
}

constexpr double kAdam[3][5] = {
    {0.900000002, -1.900000001, 0.4000000039999998, 0.25, 2.9000000005},
    {0.8196959063846518, -1.8488973939904947, 0.414294476547747, 0.25, 2.9366103530878296},
    {0.8484412907102491, -1.841579836512242, 0.40533044001645374, 0.18611864116605287,
     2.9649102617263012}};
constexpr double kAdamW[3][5] = {
    {0.890000002, -1.880000001, 0.3950000039999998, 0.2475, 2.8700000004999997},
    {0.7998471188087057, -1.8094936200644078, 0.40531218658706175, 0.245025, 2.877637395428698},
    {0.8201677478795616, -1.7839732440657123, 0.39223030693652305, 0.1802524419970312,
     2.877313121476482}};
constexpr double kSgd[3][5] = {{0.95, -1.9, 0.475, 0.25, 2.8},
                               {0.895, -1.83, 0.4825, 0.25, 3.02},
                               {0.9455, -1.817, 0.47675, 0.15, 3.218}};

TEST(Optimizer, AdamFollowsThePublishedAlgorithm) {
  ExpectPath<double>("adam", {}, kAdam, 1e-14);
  ExpectPath<float>("adam", {}, kAdam, 2e-6);
}

TEST(Optimizer, AdamWDecaysApartFromTheGradient) {
  const OptimizerConfig config = {.beta2 = 0.95, .weight_decay = 0.1};
  ExpectPath<double>("adamw", config, kAdamW, 1e-14);
  ExpectPath<float>("adamw", config, kAdamW, 2e-6);
}

TEST(Optimizer, SgdGathersMomentum) {
  ExpectPath<double>("sgd", {}, kSgd, 1e-14);
  ExpectPath<float>("sgd", {}, kSgd, 2e-6);
}

TEST(Optimizer, AdamWLeavesSegmentsWithoutDecayToAdam) {
  ParameterArena<float> a = MakeArena<float>(5), w = MakeArena<float>(5);
  auto adam = MakePrepared<float>("adam", {}, a);
  auto adamw = MakePrepared<float>("adamw", {.weight_decay = 0.5}, w);
  w.segments()[0].decay = false;
  for (auto* arena : {&a, &w}) {
    std::copy(kStart, kStart + 5, arena->parameters().begin());
    std::copy(kGradients[0], kGradients[0] + 5, arena->gradients().begin());
  }
  adam->Step(a, 0.1);
  adamw->Step(w, 0.1);
  EXPECT_TRUE(std::ranges::equal(a.parameters(), w.parameters()));
}

TEST(Optimizer, AMissingGradientIsAGradientOfZeros) {
  for (const std::string& name : OptimizerNames()) {
    ParameterArena<float> a = MakeArena<float>(5), b = MakeArena<float>(5);
    auto one = MakePrepared<float>(name, {.update_momentum = 0.9}, a);
    auto other = MakePrepared<float>(name, {.update_momentum = 0.9}, b);
    for (auto* arena : {&a, &b}) {
      std::copy(kStart, kStart + 5, arena->parameters().begin());
      std::copy(kGradients[0], kGradients[0] + 5, arena->gradients().begin());
    }
    one->Step(a, 0.1);
    other->Step(b, 0.1);
    std::ranges::fill(a.gradients(), 0.0f);
    b.segments()[0].gradient = nullptr;
    const std::vector<float> before(b.parameters().begin(), b.parameters().end());
    for (int step = 0; step < 5; ++step) {
      one->Step(a, 0.1);
      other->Step(b, 0.1);
    }
    EXPECT_TRUE(std::ranges::equal(a.parameters(), b.parameters())) << name;
    EXPECT_FALSE(std::ranges::equal(before, b.parameters())) << name;
  }
}

TEST(Optimizer, SkippingIdleSegmentsChangesNoBit) {
  for (const std::string& name : OptimizerNames()) {
    ParameterArena<float> marked = MakeArena<float>(5), written = MakeArena<float>(5);
    auto one = MakePrepared<float>(name, {}, marked),
         other = MakePrepared<float>(name, {}, written);
    for (auto* arena : {&marked, &written}) {
      std::copy(kStart, kStart + 5, arena->parameters().begin());
      std::copy(kGradients[0], kGradients[0] + 2, arena->gradients().begin());
    }
    marked.segments() = {
        {.begin = 0, .size = 2, .gradient = marked.gradients().data(), .decay = true},
        {.begin = 2, .size = 3, .gradient = nullptr, .decay = true, .idle = true}};
    for (int step = 0; step < 3; ++step) {
      one->Step(marked, 0.1);
      other->Step(written, 0.1);
    }
    EXPECT_TRUE(std::ranges::equal(marked.parameters(), written.parameters())) << name;
    EXPECT_EQ(marked.parameters()[2] != 0.5f, one->decays()) << name;
  }
}

TEST(Optimizer, AnElementsBitsDoNotDependOnWhereItStands) {
  constexpr int kRows = 3, kCols = 13, kSize = kRows * kCols;
  const CounterRandom random(5, RandomPurpose::kTest);
  for (const std::string& name : OptimizerNames()) {
    const TensorRole role = TensorRole::kHidden;
    ParameterArena<float> whole = MakeArena<float>(kRows, kCols, role);
    ParameterArena<float> cut = MakeArena<float>(kRows, kCols, role);
    auto whole_optimizer = MakePrepared<float>(name, {.factored_min = 2}, whole);
    auto cut_optimizer = MakePrepared<float>(name, {.factored_min = 2}, cut);
    cut.segments().clear();
    for (const auto& [begin, end] : {std::pair{0, 3}, {3, 14}, {14, 22}, {22, 23}, {23, kSize}}) {
      cut.segments().push_back({.begin = begin,
                                .size = end - begin,
                                .gradient = cut.gradients().data() + begin,
                                .decay = true});
    }
    for (int step = 0; step < 3; ++step) {
      for (int i = 0; i < kSize; ++i) {
        whole.gradients()[i] = cut.gradients()[i] =
            static_cast<float>(random.Normal(static_cast<uint64_t>(step * kSize + i)));
      }
      whole_optimizer->Step(whole, 0.01);
      cut_optimizer->Step(cut, 0.01);
    }
    EXPECT_TRUE(std::ranges::equal(whole.parameters(), cut.parameters())) << name;
  }
}

TEST(Optimizer, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const absl::Status status = MakeOptimizer<float>("lion", {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("adafactor, adam, adamw, muon, sgd"));
}

TEST(Optimizer, ASettingOutOfRangeIsRefusedByName) {
  const auto message = [](const OptimizerConfig& config) {
    return std::string(MakeOptimizer<float>("adam", config).status().message());
  };
  EXPECT_THAT(message({.momentum = 1}), HasSubstr("momentum: want in [0, 1), got 1"));
  EXPECT_THAT(message({.beta1 = -0.1}), HasSubstr("beta1"));
  EXPECT_THAT(message({.beta2 = 1.5}), HasSubstr("beta2"));
  EXPECT_THAT(message({.epsilon = 0}), HasSubstr("epsilon: want > 0"));
  EXPECT_THAT(message({.weight_decay = std::nan("")}), HasSubstr("weight_decay"));
  EXPECT_THAT(message({.l2 = -1}), HasSubstr("l2: want >= 0, got -1"));
  EXPECT_THAT(message({.update_clip = 0}), HasSubstr("update_clip: want > 0"));
  EXPECT_THAT(message({.factored_min = 1}), HasSubstr("factored_min: want >= 2, got 1"));
  EXPECT_THAT(message({.update_momentum = 1}), HasSubstr("update_momentum"));
  EXPECT_THAT(message({.muon_momentum = 1}), HasSubstr("muon_momentum"));
  EXPECT_THAT(message({.muon_rate = 0}), HasSubstr("muon_rate"));
}

TEST(Optimizer, StateAndParametersAreAllThatALaterStepDependsOn) {
  constexpr int kRows = 4, kCols = 6, kSize = kRows * kCols;
  const OptimizerConfig config = {.factored_min = 2, .update_momentum = 0.5};
  const CounterRandom random(6, RandomPurpose::kTest);
  for (const std::string& name : OptimizerNames()) {
    ParameterArena<float> arena = MakeArena<float>(kRows, kCols, TensorRole::kHidden);
    ParameterArena<float> resumed = MakeArena<float>(kRows, kCols, TensorRole::kHidden);
    auto optimizer = MakePrepared<float>(name, config, arena);
    auto other = MakePrepared<float>(name, config, resumed);
    const auto step = [&](ParameterArena<float>& arena, Optimizer<float>& optimizer, int number) {
      for (int i = 0; i < kSize; ++i) {
        arena.gradients()[i] = static_cast<float>(random.Normal(number * kSize + i));
      }
      optimizer.Step(arena, 0.01);
    };
    for (int number = 0; number < 3; ++number) step(arena, *optimizer, number);

    std::ranges::copy(arena.parameters(), resumed.parameters().begin());
    const auto from = optimizer->State(), to = other->State();
    ASSERT_EQ(from.size(), to.size()) << name;
    ASSERT_FALSE(from.empty()) << name;
    for (size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(from[i].tensor.name, "w") << name;
      EXPECT_EQ(from[i].slot, to[i].slot) << name;
      EXPECT_EQ(from[i].tensor.stored(), static_cast<int64_t>(from[i].values.size())) << name;
      std::ranges::copy(from[i].values, to[i].values.begin());
    }
    other->RestoreSteps(optimizer->steps_done());
    for (int number = 3; number < 6; ++number) {
      step(arena, *optimizer, number);
      step(resumed, *other, number);
    }
    EXPECT_TRUE(std::ranges::equal(arena.parameters(), resumed.parameters())) << name;
  }
}

TEST(Optimizer, ATensorWithoutSegmentsIsFrozen) {
  for (const std::string& name : OptimizerNames()) {
    ParameterArena<float> arena = MakeArena<float>(4, 4, TensorRole::kHidden);
    arena.tensors() = {
        {.name = "a", .rows = 2, .cols = 4, .role = TensorRole::kHidden},
        {.name = "b", .begin = 8, .rows = 2, .cols = 4, .role = TensorRole::kHidden}};
    arena.segments() = {{.begin = 8, .size = 8, .gradient = arena.gradients().data() + 8}};
    auto optimizer = MakePrepared<float>(name, {.weight_decay = 0.5}, arena);
    std::ranges::fill(arena.parameters(), 1.0f);
    std::ranges::fill(arena.gradients(), 0.5f);
    optimizer->Step(arena, 0.1);
    EXPECT_EQ(arena.parameters()[7], 1.0f) << name;
    EXPECT_NE(arena.parameters()[8], 1.0f) << name;
    for (const StateArray<float>& state : optimizer->State()) {
      const bool moved = std::ranges::any_of(state.values, [](float x) { return x != 0; });
      EXPECT_EQ(moved, state.tensor.name == "b")
          << name << " " << state.tensor.name << "/" << state.slot;
    }
  }
}

TEST(Optimizer, BlocksThatATensorIsStoredInChangeNoBit) {
  constexpr int kRows = 5, kCols = 19, kBlock = 8;
  const CounterRandom random(7, RandomPurpose::kTest);
  for (const std::string& name : OptimizerNames()) {
    const OptimizerConfig config = {.l2 = 0.1, .weight_decay = 0.1, .factored_min = 2};
    ParameterArena<float> plain = MakeArena<float>(kRows, kCols, TensorRole::kHidden);
    ParameterTensor tensor = {
        .name = "w", .rows = kRows, .cols = kCols, .role = TensorRole::kHidden, .block = kBlock};
    ParameterArena<float> blocked = MakeArena<float>(1, tensor.stored(), TensorRole::kHidden);
    blocked.tensors() = {tensor};
    auto one = MakePrepared<float>(name, config, plain);
    auto other = MakePrepared<float>(name, config, blocked);
    const auto fill = [&](absl::Span<float> a, absl::Span<float> b, uint64_t seed) {
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < kCols; ++j) {
          a[i * kCols + j] = b[tensor.at(i, j)] =
              static_cast<float>(random.Normal(seed + static_cast<uint64_t>(i * kCols + j)));
        }
      }
    };
    fill(plain.parameters(), blocked.parameters(), 0);
    for (int step = 1; step <= 3; ++step) {
      fill(plain.gradients(), blocked.gradients(), 1000u * static_cast<uint64_t>(step));
      one->Step(plain, 0.01);
      other->Step(blocked, 0.01);
    }
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kCols; ++j) {
        ASSERT_EQ(plain.parameters()[i * kCols + j], blocked.parameters()[tensor.at(i, j)])
            << name << " " << i << " " << j;
      }
    }
  }
}

TEST(Optimizer, OnesThatLookAtTensorsWantThemNamed) {
  ParameterArena<float> arena = MakeArena<float>(5);
  arena.tensors().clear();
  for (const std::string name : {"adafactor", "muon"}) {
    const absl::Status status = MakeOptimizer<float>(name, {}).value()->Prepare(arena);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << name;
  }
}

TEST(Adafactor, KeepsRowsAndColumnsOfLargeMatricesAlone) {
  const auto elements = [](int64_t rows, int64_t cols, TensorRole role) {
    ParameterArena<float> arena = MakeArena<float>(rows, cols, role);
    size_t count = 0;
    for (const auto& state : MakePrepared<float>("adafactor", {}, arena)->State()) {
      count += state.values.size();
    }
    return count;
  };
  EXPECT_EQ(elements(128, 200, TensorRole::kHidden), 328u);
  EXPECT_EQ(elements(127, 200, TensorRole::kHidden), 127u * 200);
  EXPECT_EQ(elements(128, 200, TensorRole::kVector), 128u * 200);
}

TEST(Muon, KeepsOneMomentOfHiddenMatricesAndTwoOfTheRest) {
  ParameterArena<float> arena = MakeArena<float>(4, 4, TensorRole::kHidden);
  EXPECT_EQ(MakePrepared<float>("muon", {}, arena)->State().size(), 1u);
  arena.tensors()[0].role = TensorRole::kReadout;
  EXPECT_EQ(MakePrepared<float>("muon", {}, arena)->State().size(), 2u);
}

TEST(Clip, ScalesALongGradientToTheWantedNorm) {
  ParameterArena<double> arena = MakeArena<double>(4);
  for (int i = 0; i < 4; ++i) arena.gradients()[i] = i + 1;
  EXPECT_DOUBLE_EQ(GlobalNorm(arena), std::sqrt(30.0));
  EXPECT_DOUBLE_EQ(ClipGlobalNorm(arena, 2), std::sqrt(30.0));
  EXPECT_NEAR(GlobalNorm(arena), 2, 1e-6);
  EXPECT_NEAR(arena.gradients()[3] / arena.gradients()[0], 4, 1e-12);
}

TEST(Clip, LeavesAShortGradientAlone) {
  ParameterArena<float> arena = MakeArena<float>(4);
  for (int i = 0; i < 4; ++i) arena.gradients()[i] = 0.1f * static_cast<float>(i);
  const std::vector<float> before(arena.gradients().begin(), arena.gradients().end());
  ClipGlobalNorm(arena, 1);
  EXPECT_TRUE(std::ranges::equal(arena.gradients(), before));
}

TEST(Clip, CountsSegmentsWithoutAGradientAsZero) {
  ParameterArena<double> arena = MakeArena<double>(4);
  arena.segments() = {{.begin = 0, .size = 2, .gradient = arena.gradients().data()},
                      {.begin = 2, .size = 2, .gradient = nullptr}};
  std::ranges::fill(arena.gradients(), 3.0);
  EXPECT_DOUBLE_EQ(GlobalNorm(arena), std::sqrt(18.0));
}

}  // namespace
}  // namespace saffron
