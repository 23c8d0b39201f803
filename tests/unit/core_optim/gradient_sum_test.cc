#include "core/optim/gradient_sum.h"

#include <gtest/gtest.h>

#include "core/optim/parameter_average.h"

namespace saffron {
namespace {

constexpr int kSize = 21;

ParameterArena<double> MakeSumArena() {
  ParameterArena<double> arena =
      ParameterArena<double>::Create({.parameters = kSize, .gradients = kSize}).value();
  double* g = arena.gradients().data();
  arena.segments() = {{.begin = 0, .size = 12, .gradient = g, .decay = true},
                      {.begin = 12, .size = kSize - 12, .gradient = g + 12}};
  return arena;
}

TEST(GradientSum, IsTheWeightedSumOfTheParts) {
  ParameterArena<double> arena = MakeSumArena();
  auto sum = GradientSum<double>::Create(kSize).value();
  for (int step = 0; step < 2; ++step) {  // the second must not see the first
    for (int part = 0; part < 3; ++part) {
      sum.Restore(arena);
      for (int i = 0; i < kSize; ++i) arena.gradients()[i] = (part + 1) * (i - 7.0) + step;
      sum.Add(arena, 0.25 * (part + 1), part == 0);
    }
    sum.Install(arena);
    ASSERT_EQ(arena.segments().size(), 2u);
    EXPECT_TRUE(arena.segments()[0].decay);
    EXPECT_FALSE(arena.segments()[1].decay);
    for (const auto& segment : arena.segments()) {
      for (int64_t i = 0; i < segment.size; ++i) {
        EXPECT_DOUBLE_EQ(
            segment.gradient[i],
            0.25 * (1 + 4 + 9) * (static_cast<double>(segment.begin + i) - 7) + 1.5 * step);
      }
    }
  }
}

TEST(GradientSum, TakesRowsThatComeAndGo) {
  ParameterArena<double> arena = MakeSumArena();
  auto sum = GradientSum<double>::Create(kSize).value();
  double* g = arena.gradients().data();
  std::fill_n(g, kSize, 1.0);
  for (int part = 0; part < 2; ++part) {
    sum.Restore(arena);
    arena.segments() = {{.begin = 0, .size = 7, .gradient = part == 0 ? g : nullptr, .decay = true},
                        {.begin = 7,
                         .size = 7,
                         .gradient = part == 1 ? g : nullptr,
                         .decay = true,
                         .idle = part == 0},
                        {.begin = 14, .size = 7, .gradient = nullptr, .decay = true, .idle = true}};
    sum.Add(arena, 0.5, part == 0);
  }
  sum.Install(arena);
  ASSERT_EQ(arena.segments().size(), 1u);
  for (int i = 0; i < kSize; ++i) EXPECT_EQ(arena.segments()[0].gradient[i], i < 14 ? 0.5 : 0) << i;
}

TEST(GradientSum, GivesTheModelItsSegmentsBack) {
  ParameterArena<double> arena = MakeSumArena();
  auto sum = GradientSum<double>::Create(kSize).value();
  const double* own = arena.segments()[1].gradient;
  sum.Add(arena, 1, true);
  sum.Install(arena);
  EXPECT_NE(arena.segments()[1].gradient, own);
  sum.Restore(arena);
  EXPECT_EQ(arena.segments()[1].gradient, own);
  sum.Restore(arena);
  EXPECT_EQ(arena.segments()[1].gradient, own);
}

TEST(ParameterAverage, FollowsItsFormula) {
  std::vector<double> p(kSize, 1.0);
  auto average = ParameterAverage<double>::Start(p, 0.3).value();
  std::vector<double> want = p;
  for (int step = 1; step <= 5; ++step) {
    for (int i = 0; i < kSize; ++i) p[i] = i - step;
    average.Add(p, step);
    const double d = std::min(0.3, (1.0 + step) / (10.0 + step));
    for (int i = 0; i < kSize; ++i) {
      want[i] = d * want[i] + (1 - d) * p[i];
      EXPECT_NEAR(average.values()[i], want[i], 1e-12) << step << " " << i;
    }
  }
}

TEST(ParameterAverage, SwapsInAndOut) {
  std::vector<float> p = {1, 2};
  auto average = ParameterAverage<float>::Start(p, 0.9).value();
  p = {3, 4};
  average.Swap(absl::MakeSpan(p));
  EXPECT_EQ(p, (std::vector<float>{1, 2}));
  average.Swap(absl::MakeSpan(p));
  EXPECT_EQ(p, (std::vector<float>{3, 4}));
}

}  // namespace
}  // namespace saffron
