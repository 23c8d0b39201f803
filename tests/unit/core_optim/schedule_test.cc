#include "core/optim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/golden/fixtures/read_fixture.h"

namespace saffron {
namespace {

using testing::HasSubstr;

// Ten steps of warm-up, a hundred in all: the setting of the reference values below.
Schedule MakeSchedule(const std::string& name, double final_fraction) {
  return Schedule::Make(
             name,
             {.steps = 100, .warmup = 10, .final_fraction = final_fraction, .decay_fraction = 0.3})
      .value();
}

TEST(Schedule, FollowsItsFormula) {
  const Schedule linear = MakeSchedule("linear", 0);
  EXPECT_NEAR(linear.Factor(11), 89.0 / 90, 1e-15);
  EXPECT_NEAR(linear.Factor(40), 2.0 / 3, 1e-15);
  EXPECT_NEAR(linear.Factor(85), 1.0 / 6, 1e-15);
  const Schedule cosine = MakeSchedule("cosine", 0);
  EXPECT_NEAR(cosine.Factor(40), 0.75, 1e-15);  // cos(pi/3) = 1/2
  EXPECT_NEAR(cosine.Factor(55), 0.5, 1e-15);
  EXPECT_NEAR(cosine.Factor(85), 0.06698729810778065, 1e-15);  // (1 - sqrt(3)/2) / 2
  EXPECT_NEAR(MakeSchedule("cosine", 0.1).Factor(40), 0.775, 1e-15);
  const Schedule root = MakeSchedule("inverse_sqrt", 0);
  EXPECT_NEAR(root.Factor(40), 0.5, 1e-15);
  EXPECT_NEAR(root.Factor(100), std::sqrt(0.1), 1e-15);
  const Schedule wsd = MakeSchedule("wsd", 0.1);
  EXPECT_EQ(wsd.Factor(11), 1);
  EXPECT_EQ(wsd.Factor(70), 1);
  EXPECT_NEAR(wsd.Factor(75), 0.85, 1e-15);
  EXPECT_NEAR(wsd.Factor(85), 0.55, 1e-15);
  EXPECT_EQ(MakeSchedule("constant", 0.1).Factor(77), 1);
}

TEST(Schedule, FollowsTheReference) {
  const nlohmann::json fixture = ReadFixture("schedules")["schedules"];
  struct Case {
    const char* name;      // in the file
    const char* schedule;  // ours
    double final_fraction;
    DecayShape shape = DecayShape::kLinear;
    int first = 1;  // the reference warms wsd up from its final fraction, not from zero
  };
  for (const Case& c : {Case{"linear", "linear", 0},
                        {"cosine", "cosine", 0},
                        {"cosine_min", "cosine", 0.1},
                        {"inv_sqrt", "inverse_sqrt", 0},
                        {"wsd_linear", "wsd", 0.1, DecayShape::kLinear, 10},
                        {"wsd_cosine", "wsd", 0.1, DecayShape::kCosine, 10},
                        {"wsd_1-sqrt", "wsd", 0.1, DecayShape::kRoot, 10}}) {
    const Schedule schedule = Schedule::Make(c.schedule, {.steps = 100,
                                                          .warmup = 10,
                                                          .final_fraction = c.final_fraction,
                                                          .decay_fraction = 0.3,
                                                          .decay_shape = c.shape})
                                  .value();
    for (int step = c.first; step <= 100; ++step) {
      ExpectClose(schedule.Factor(step), fixture[c.name][step].get<double>(), 1e-12,
                  std::string(c.name) + " step " + std::to_string(step));
    }
  }
}

TEST(Schedule, InverseSqrtWithoutWarmUpHalvesSomewhereInTheRun) {
  const Schedule root = Schedule::Make("inverse_sqrt", {.steps = 100}).value();
  EXPECT_LT(root.Factor(1), 1);
  EXPECT_NEAR(root.Factor(30), 0.5, 1e-15);  // 1 / sqrt(1 + 30/10)
}

TEST(Schedule, EveryOneWarmsUpToTheFullRateAndNeverExceedsIt) {
  for (const std::string& name : ScheduleNames()) {
    const Schedule schedule = MakeSchedule(name, 0.1);
    EXPECT_DOUBLE_EQ(schedule.Factor(1), 0.1) << name;
    EXPECT_DOUBLE_EQ(schedule.Factor(5), 0.5) << name;
    EXPECT_DOUBLE_EQ(schedule.Factor(10), 1) << name;
    for (int step = 11; step <= 100; ++step) {
      EXPECT_LE(schedule.Factor(step), schedule.Factor(step - 1)) << name << " " << step;
      EXPECT_GT(schedule.Factor(step), 0) << name << " " << step;
    }
  }
}

TEST(Schedule, TheDecayingOnesEndAtTheFinalFraction) {
  for (const std::string name : {"linear", "cosine", "wsd"}) {
    for (const int warmup : {0, 10}) {
      const Schedule schedule =
          Schedule::Make(name, {.steps = 50, .warmup = warmup, .final_fraction = 0.1}).value();
      EXPECT_NEAR(schedule.Factor(50), 0.1, 1e-15) << name << " " << warmup;
    }
  }
}

TEST(Schedule, ARunOfOneStepIsDefined) {
  for (const std::string& name : ScheduleNames()) {
    for (const int warmup : {0, 1}) {
      const double factor = Schedule::Make(name, {.steps = 1, .warmup = warmup})->Factor(1);
      EXPECT_GT(factor, 0) << name;
      EXPECT_LE(factor, 1) << name;
    }
  }
}

TEST(Schedule, BadSettingsAreRefusedByName) {
  const auto message = [](const std::string& name, const ScheduleConfig& config) {
    return std::string(Schedule::Make(name, config).status().message());
  };
  EXPECT_THAT(message("step", {.steps = 1}),
              HasSubstr("constant, cosine, inverse_sqrt, linear, wsd"));
  EXPECT_THAT(message("linear", {.steps = 0}), HasSubstr("steps: want >= 1, got 0"));
  EXPECT_THAT(message("linear", {.steps = 5, .warmup = 6}), HasSubstr("warm-up: want in [0, 5]"));
  EXPECT_THAT(message("linear", {.steps = 5, .final_fraction = 2}), HasSubstr("final fraction"));
  EXPECT_THAT(message("wsd", {.steps = 5, .decay_fraction = 0}), HasSubstr("decay fraction"));
}

}  // namespace
}  // namespace saffron
