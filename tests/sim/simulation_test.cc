// Saffron under every fault we could think of, thousands of times over; see simulation.h.
//
// SAFFRON_SIMULATION_SEEDS=100000 runs more seeds than usual; SAFFRON_SIMULATION_FIRST=N begins at
// seed N. A failure prints the command that repeats it.

#include "tests/sim/simulation.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using ::testing::IsEmpty;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

class SimulationTest : public testing::Test {
 protected:
  static std::string MakeFolder() {
    std::string pattern = std::filesystem::exists("/dev/shm")
                              ? "/dev/shm/saffron_sim_XXXXXX"
                              : testing::TempDir() + "saffron_sim_XXXXXX";
    return ::mkdtemp(pattern.data());
  }
  ~SimulationTest() override { std::filesystem::remove_all(folder_); }

  // What the workload of the seed comes to without faults.
  const std::string& CalmResults(uint64_t seed) {
    std::string& results = calm_[seed % SimWorkload::kCount];
    if (results.empty()) {
      Simulation calm({.seed = seed % SimWorkload::kCount, .faults = false}, &stage_);
      EXPECT_THAT(calm.Run(), IsEmpty());
      results = calm.results();
    }
    return results;
  }

  const std::string folder_ = MakeFolder();
  Simulation::Stage stage_{folder_};
  std::map<uint64_t, std::string> calm_;
};

// Rare things that a batch of a thousand seeds must have met, or it has proved less than it says.
const char* const kMarks[] = {
    "a call was overtaken by a newer one",
    "a file was not wanted",
    "a held call was given up for news",
    "a missing corpus was found",
    "a parent was trained again for its model",
    "a power cut lost or tore unsynced writes",
    "a result was adopted from a dead worker's spool",
    "a result was committed that nobody heard of",
    "a result went before its checkpoint",
    "a roadmap was edited",
    "a running attempt was abandoned",
    "a spool's end was torn",
    "a state could not be had",
    "a stored file was deleted",
    "a trial ended its worker",
    "a trial started from another's checkpoint",
    "a trial went on from another attempt's state",
    "a worker had to register again",
    "a worker lacked a trial's corpus",
    "a worker left before it had delivered",
    "a worker left with everything delivered",
    "an attempt was handed back",
    "event attempt_cancelled",
    "event attempt_failed",
    "event cancel",
    "event cancelled",
    "event diverged",
    "event drain",
    "event failed",
    "event late_result",
    "event left",
    "event lost",
    "event node_forgiven",
    "event node_quarantined",
    "event node_trusted",
    "event pause",
    "event priority",
    "event recovered",
    "event resume",
    "event resumed",
    "event retry",
    "event started",
    "event undrain",
    "event unpause",
    "failures were retried by selector",
    "no answer came in time",
    "the clock was ahead after a restart",
    "the clock was behind after a restart",
    "the coordinator could not start",
    "the coordinator died while writing",
    "the coordinator was busy",
    "the coordinator was frozen",
    "the coordinator was stopped and started again",
    "the disk refused to sync",
    "the disk refused writes",
    "the disk was full",
    "trials of a worker whose connection broke went to idle ones",
    "trials were made orphans",
    "trials were quarantined with their workers lost",
    "what failed on a bad machine alone was tried elsewhere",
};

TEST_F(SimulationTest, NoFaultLosesRepeatsOrInventsAResult) {
  const int first = FromEnvironment("SAFFRON_SIMULATION_FIRST", 1);
  const int seeds = FromEnvironment("SAFFRON_SIMULATION_SEEDS", 1000);
  Marks marks;
  for (int seed = first; seed < first + seeds; ++seed) {
    const std::string& expected = CalmResults(seed);
    Simulation simulation({.seed = static_cast<uint64_t>(seed)}, &stage_);
    const std::vector<std::string> violations = simulation.Run();
    const std::string repeat = absl::StrCat(
        "seed ", seed, "; to repeat it: SAFFRON_SIMULATION_SEEDS=1 SAFFRON_SIMULATION_FIRST=", seed,
        " ctest -R NoFaultLosesRepeatsOrInventsAResult --output-on-failure");
    ASSERT_THAT(violations, IsEmpty()) << repeat;
    ASSERT_EQ(simulation.results(), expected) << repeat;
    for (const auto& [mark, n] : simulation.marks()) marks[mark] += n;
  }
  for (const auto& [mark, n] : marks) RecordProperty(mark, static_cast<int>(n));
  for (const char* mark : kMarks) EXPECT_TRUE(seeds < 1000 || marks[mark] > 0) << mark;
}

TEST_F(SimulationTest, TheSameSeedRepeatsTheSameRun) {
  const auto marks_of = [this](uint64_t seed) {
    Simulation simulation({.seed = seed}, &stage_);
    simulation.Run();
    return simulation.marks();
  };
  for (uint64_t seed : {1, 2, 3}) EXPECT_EQ(marks_of(seed), marks_of(seed));
}

// ---- Each invariant notices the bug that it is there for.

class SimulationNotices : public SimulationTest, public testing::WithParamInterface<PlantedBug> {};

TEST_P(SimulationNotices, ThePlantedBug) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Simulation simulation({.seed = seed, .bug = GetParam().bug}, &stage_);
    // (Now and then another invariant comes first.)
    const std::string violations = absl::StrJoin(simulation.Run(), "\n");
    if (violations.find(GetParam().violation) != std::string::npos) return;
  }
  ADD_FAILURE() << "nobody noticed";
}

INSTANTIATE_TEST_SUITE_P(
    Bugs, SimulationNotices,
    testing::Values(
        PlantedBug{Bug::kAcknowledgesDespiteFailedCommit, "AcknowledgesDespiteFailedCommit",
                   "an acknowledged result is in the database"},
        PlantedBug{Bug::kDiskLiesAboutSyncs, "DiskLiesAboutSyncs", "is for ever"},
        PlantedBug{Bug::kMeasurementSkipped, "MeasurementSkipped",
                   "measurements that a worker was told are kept, are kept"},
        PlantedBug{Bug::kMeasurementDoubled, "MeasurementDoubled",
                   "measurements are recorded once and in order"},
        PlantedBug{Bug::kTrialCountsTwice, "TrialCountsTwice", "a trial counts once"},
        PlantedBug{Bug::kResultForgotten, "ResultForgotten", "a result is for ever"},
        PlantedBug{Bug::kBudgetForgotten, "BudgetForgotten",
                   "budgets are fresh only for a trial that had ended"},
        PlantedBug{Bug::kBudgetIgnored, "BudgetIgnored",
                   "a trial is given up only when its budget is spent"},
        PlantedBug{Bug::kStateNotStored, "StateNotStored", "every attempt is on record"},
        PlantedBug{Bug::kFailureMisfiled, "FailureMisfiled",
                   "failures are counted as they are recorded"},
        PlantedBug{Bug::kAttemptLeftOpen, "AttemptLeftOpen",
                   "the newest attempt is open while the trial is leased, and no other ever"},
        PlantedBug{Bug::kResultWithoutMetrics, "ResultWithoutMetrics",
                   "a result has its final metrics, and only a result"},
        PlantedBug{Bug::kMeasurementNotStored, "MeasurementNotStored",
                   "measurements that a worker was told are kept, are kept"},
        PlantedBug{Bug::kCancelNotStored, "CancelNotStored",
                   "the scheduler's state is the recorded one"},
        PlantedBug{Bug::kIndexDrifts, "IndexDrifts", "the slots do not add up"},
        PlantedBug{Bug::kLeaseNeverExpires, "LeaseNeverExpires",
                   "not every trial ends once faults have stopped"},
        PlantedBug{Bug::kVariantsSwapped, "VariantsSwapped", "is that of its variant and seed"},
        PlantedBug{Bug::kModelsSwapped, "ModelsSwapped", "is that of its variant and seed"},
        PlantedBug{Bug::kFileDeletedTooEarly, "FileDeletedTooEarly",
                   "a file that is kept is there"},
        PlantedBug{Bug::kPriorityNotStored, "PriorityNotStored",
                   "a roadmap is controlled as recorded"},
        PlantedBug{Bug::kPauseIgnored, "PauseIgnored", "nothing of a paused roadmap is started"},
        PlantedBug{Bug::kDrainIgnored, "DrainIgnored", "a drained worker gets no work"},
        PlantedBug{Bug::kQuarantineIgnored, "QuarantineIgnored",
                   "a machine in quarantine gets no work"},
        PlantedBug{Bug::kFailuresLeftOnBadMachine, "FailuresLeftOnBadMachine",
                   "is given up though it failed only on"},
        PlantedBug{Bug::kPoisonIgnored, "PoisonIgnored",
                   "a trial that ends its workers is given up"},
        PlantedBug{Bug::kParentNotAwaited, "ParentNotAwaited",
                   "a trial starts after its parent's success"},
        PlantedBug{Bug::kOrphanNotCleared, "OrphanNotCleared", "an orphan is cancelled"},
        PlantedBug{Bug::kMissingCorpusCharged, "MissingCorpusCharged",
                   "nothing is charged for a corpus that a worker lacks"},
        PlantedBug{Bug::kMissingCorpusUnheard, "MissingCorpusUnheard",
                   "a worker is not given again what it could not open"}),
    [](const testing::TestParamInfo<PlantedBug>& info) { return info.param.name; });

}  // namespace
}  // namespace saffron
