// A coordinator that more workers call than it can serve at once.

#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/sim/sim_fleet.h"

namespace saffron {
namespace {

TEST(RetryStorm, TenThousandWorkersThatComeBackAtTheSameMomentAreServedWithinThirtySeconds) {
  std::string folder = testing::TempDir() + "saffron_storm_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  Submission submission;
  submission.name = "storm";
  submission.spec_digest = "digest";
  submission.numerics = 1;
  submission.seed_count = 100;
  submission.blocks = {"grid"};
  submission.variants.push_back({.digest = "noop",
                                 .params = {{"model.type", std::string("noop")}},
                                 .label = "noop",
                                 .origins = {{0, 0, "grid", ""}},
                                 .corpus = {},
                                 .fingerprint = {}});
  // On a slow machine: half a millisecond a call, which is more than twice what it may take, and
  // ten for a sync of the disk.
  SimFleet fleet({.workers = 10'000,
                  .trial_seconds = 600,
                  .database = absl::StrCat(folder, "/storm.db"),
                  .submission = submission,
                  .numerics = 1,
                  .cost = [](double, int64_t answers, bool wrote) {
                    return absl::Microseconds(500) * answers + absl::Milliseconds(wrote ? 10 : 0);
                  }});
  const double seconds = fleet.SettleSeconds(/*most=*/60);
  std::filesystem::remove_all(folder);
  EXPECT_LT(seconds, 30) << "of virtual time";
  EXPECT_GT(fleet.busy(), 5'000) << "nobody was sent away: the inbox has no bound";
  // Two calls each, and those that were sent away, with ever longer pauses between them.
  EXPECT_LT(fleet.calls(), 200'000);
}

}  // namespace
}  // namespace saffron
