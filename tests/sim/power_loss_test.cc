// The coordinator ends at any write, sync, truncation and deletion of a whole run, from the making
// of its database to its last result: killed, or with the power of its machine, which drops and
// tears whatever was not synced. Each time what is left is whole, page by page and by every rule of
// `saffron check`, the run goes on from it, every invariant of the simulation holds, and the
// results are the same.
//
// By default the power fails at every second operation and a kill, which leaves every write and so
// one of the things that a power cut may leave, strikes at every tenth. SAFFRON_POWER_CUTS=20 cuts
// the power at each moment that often, with other remains of the unsynced writes, and kills at
// every moment.

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/store/run_store.h"
#include "coordinator/store/sqlite.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/simulation.h"

namespace saffron {
namespace {

using ::testing::IsEmpty;

// 0: as usual.
int Draws() {
  const char* draws = std::getenv("SAFFRON_POWER_CUTS");
  return draws == nullptr ? 0 : std::atoi(draws);
}

class PowerLossTest : public testing::Test {
 protected:
  static constexpr uint64_t kWorkload = 4;  // both roadmaps are edited

  static std::string MakeFolder() {
    std::string pattern = testing::TempDir() + "saffron_power_XXXXXX";
    return ::mkdtemp(pattern.data());
  }
  ~PowerLossTest() override { std::filesystem::remove_all(folder_); }

  // Ends the coordinator at every operation, or every `stride`th; `draw` varies what is left.
  void EndAtEveryOperation(bool cut_power, uint64_t draw, int64_t stride) {
    Simulation::Options calm{.seed = kWorkload, .faults = false, .new_database = true};
    calm.seed += SimWorkload::kCount * draw;
    std::string expected;
    int64_t operations = stage_.disk.operations();
    {
      Simulation simulation(calm, &stage_);
      ASSERT_THAT(simulation.Run(), IsEmpty());
      expected = simulation.results();
    }
    operations = stage_.disk.operations() - operations;
    ASSERT_GT(operations, 300);
    for (int64_t n = 0; n < operations; n += stride) {
      Simulation::Options options = calm;
      options.dies_after = n;
      options.cut_power = cut_power;
      options.check_when_opened = true;
      Simulation simulation(options, &stage_);
      ASSERT_THAT(simulation.Run(), IsEmpty()) << "ended after " << n << " operations";
      ASSERT_EQ(simulation.results(), expected) << "ended after " << n << " operations";
    }
  }

  const std::string folder_ = MakeFolder();
  Simulation::Stage stage_{folder_};
};

TEST_F(PowerLossTest, APowerCutAtAnyWriteLosesNothing) {
  for (int draw = 0; draw < std::max(1, Draws()); ++draw) {
    SCOPED_TRACE(absl::StrCat("draw ", draw));
    EndAtEveryOperation(/*cut_power=*/true, draw, Draws() > 0 ? 1 : 2);
    if (HasFatalFailure()) return;
  }
}

TEST_F(PowerLossTest, AKillAtAnyWriteLosesNothing) {
  EndAtEveryOperation(/*cut_power=*/false, 0, Draws() > 0 ? 1 : 10);
}

// What a killed process wrote but could not sync looks committed to the next one.
TEST_F(PowerLossTest, NothingIsBelievedThatIsNotSynced) {
  MemoryDisk& disk = stage_.disk;
  disk.Load(stage_.empty_database);
  {
    auto db = *Database::Open(stage_.database(), Database::Mode::kReadWriteCreate);
    const auto commit = [&](int n) {
      return db.Execute(absl::StrCat("UPDATE coordinator SET coordinator_id = ", n)).ok();
    };
    EXPECT_TRUE(db.Execute("PRAGMA synchronous = FULL").ok() && commit(1));
    disk.FailSyncs(true);
    EXPECT_FALSE(commit(2));
    disk.DieAfter(0);
  }
  disk.RestartProcess();
  EXPECT_FALSE(RunStore::Open({.path = stage_.database()}, absl::Now()).ok());
  // Also where the sync fails because the disk is full, which alone keeps nobody from starting.
  disk.FailWrites(SQLITE_FULL);
  EXPECT_FALSE(RunStore::Open({.path = stage_.database()}, absl::Now()).ok());
  disk.FailSyncs(false);
  EXPECT_TRUE(RunStore::Open({.path = stage_.database()}, absl::Now()).ok());
}

}  // namespace
}  // namespace saffron
