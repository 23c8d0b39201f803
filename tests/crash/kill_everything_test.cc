// kill -9 of coordinator, workers and slots together, at random moments of a roadmap of real
// models.

#include <signal.h>

#include <string>

#include "absl/time/clock.h"
#include "core/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;

constexpr int kRounds = 20;
constexpr uint64_t kSeed = 20;

TEST(KillEverything, ARoadmapKilledTwentyTimesEndsWithTheResultsOfOneThatWasNot) {
  Scene scene;
  scene.AddTinyCorpus();
  const std::string sweep = scene.Write("sweep.yaml", TinySweep());
  const auto run = [&](const std::string& database) {
    return std::vector<std::string>{"run", sweep, "--workers", "2", "--db", scene.Path(database)};
  };
  const absl::Time begun = absl::Now();
  ASSERT_EQ(scene.Run(run("calm.db")).exit_code, 0);
  const absl::Duration calm = absl::Now() - begun;

  // Moments from before the database exists to after most of the work is done; the rounds go on
  // where the one before was killed.
  const CounterRandom random(kSeed, RandomPurpose::kTest);
  int killed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double u = random.Uniform(static_cast<uint64_t>(round));
    const absl::Duration after = calm * (0.02 + 0.5 * u * u);
    auto process = scene.Start(run("killed.db"));
    const absl::Time until = absl::Now() + after;
    while (process->running() && absl::Now() < until) SleepBriefly();
    if (process->running()) ++killed;
    process->SignalGroup(SIGKILL);
    process->Wait();
  }
  EXPECT_GE(killed, 3) << "the roadmap was finished before it could be killed";

  const Ended last = scene.Run(run("killed.db"));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  const std::string metrics = scene.DeterministicMetrics("killed.db");
  EXPECT_EQ(metrics, scene.DeterministicMetrics("calm.db"));
  EXPECT_THAT(metrics, HasSubstr("test/perplexity"));
  EXPECT_EQ(scene.One("PRAGMA integrity_check", "killed.db"), "ok");
  EXPECT_EQ(
      scene.One("SELECT count(*) FROM (SELECT trial FROM attempts WHERE outcome = 'succeeded' "
                "GROUP BY trial HAVING count(*) > 1)",
                "killed.db"),
      "0")
      << "a trial counted twice";
  EXPECT_EQ(scene.One("SELECT count(*) FROM trials WHERE state <> 'succeeded'", "killed.db"), "0");
}

}  // namespace
}  // namespace saffron
