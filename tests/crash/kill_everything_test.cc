// kill -9 at random moments of a roadmap of real models: of everything at once, and of one process
// after the other. SAFFRON_CRASH_SEED gives other moments than the usual ones, SAFFRON_CRASH_ROUNDS
// more of them, SAFFRON_CRASH_SWEEP=FILE another sweep, on the corpora of SAFFRON_DATA.

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;

uint64_t Seed() {
  const char* given = std::getenv("SAFFRON_CRASH_SEED");
  return given == nullptr ? 20 : std::strtoull(given, nullptr, 10);
}

// How often to kill.
int Rounds(int usual) {
  const char* given = std::getenv("SAFFRON_CRASH_ROUNDS");
  return given == nullptr ? usual : std::atoi(given);
}

class KillTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* given = std::getenv("SAFFRON_CRASH_SWEEP"); given != nullptr) {
      const char* data = std::getenv("SAFFRON_DATA");
      ASSERT_NE(data, nullptr) << "SAFFRON_CRASH_SWEEP reads corpora from SAFFRON_DATA";
      scene_.environment["SAFFRON_DATA"] = data;
      sweep_ = given;
    } else {
      scene_.AddTinyCorpus();
      sweep_ = scene_.Write("sweep.yaml", TinySweep());
    }
    ASSERT_EQ(scene_.Run(RunCommand("calm.db"), absl::Minutes(60)).exit_code, 0);
  }

  std::vector<std::string> RunCommand(const std::string& database) const {
    return {"run", sweep_, "--workers", "2", "--seeds", seeds_, "--db", scene_.Path(database)};
  }
  double Uniform() { return random_.Uniform(draws_++); }
  absl::Duration UpTo(absl::Duration most) { return most * Uniform(); }

  // Waits for a random moment: soon, or soon after up to three more trials are done.
  void WaitForAMoment(const std::string& database) {
    if (Uniform() < 0.3) return absl::SleepFor(UpTo(absl::Milliseconds(150)));
    const std::string done = "(SELECT count(*) FROM trials WHERE state = 'succeeded')";
    const std::vector<std::string> before = scene_.Holds(done + " > 0", database)
                                                ? scene_.Rows("SELECT " + done, database)
                                                : std::vector<std::string>{"0"};
    const std::string target = absl::StrCat(before[0], " + ", static_cast<int>(4 * Uniform()));
    Eventually([&] { return scene_.Holds(done + " >= " + target, database); }, absl::Seconds(30));
    absl::SleepFor(UpTo(absl::Milliseconds(80)));
  }

  // Every trial of `database` has one result, and all are those of the undisturbed run, bit for
  // bit.
  void ExpectAsIfNothingHadHappened(const std::string& database) {
    const std::string metrics = scene_.DeterministicMetrics(database);
    EXPECT_EQ(metrics, scene_.DeterministicMetrics("calm.db"));
    EXPECT_THAT(metrics, HasSubstr("test/perplexity"));
    const Ended check = scene_.Run({"check", "--db", scene_.Path(database)});
    EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
    EXPECT_EQ(scene_.One("SELECT count(*) FROM trials WHERE state <> 'succeeded'", database), "0");
    EXPECT_EQ(scene_.One("SELECT count(*) FROM (SELECT trial FROM attempts WHERE outcome = "
                         "'succeeded' GROUP BY trial HAVING count(*) > 1)",
                         database),
              "0")
        << "a trial counted twice";
  }

  Scene scene_;
  std::string sweep_;
  // So many that there is something left to kill in the last round.
  const std::string seeds_ = absl::StrCat(std::max(6, Rounds(20) * 6 / 20));
  CounterRandom random_{Seed(), RandomPurpose::kTest};
  uint64_t draws_ = 0;
};

TEST_F(KillTest, ARunKilledTimeAndAgainEndsWithTheResultsOfOneThatWasNot) {
  // Each round goes on where the one before was killed.
  int killed = 0;
  for (int round = 0; round < Rounds(20); ++round) {
    auto process = scene_.Start(RunCommand("killed.db"));
    WaitForAMoment("killed.db");
    if (process->running()) ++killed;
    process->SignalGroup(SIGKILL);
    process->Wait();
  }
  EXPECT_GE(2 * killed, Rounds(20)) << "the roadmap was finished before it could be killed";
  EXPECT_TRUE(scene_.Holds("(SELECT count(*) FROM attempts WHERE outcome IS NOT 'succeeded') > 0",
                           "killed.db"))
      << "no kill hit a trial";
  const Ended last = scene_.Run(RunCommand("killed.db"), absl::Minutes(60));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  ExpectAsIfNothingHadHappened("killed.db");
}

TEST_F(KillTest, CoordinatorAndWorkersKilledOneAfterTheOtherLoseNothing) {
  scene_.environment["SAFFRON_DB"] = scene_.Path("cluster.db");
  const auto worker = [this] {
    return scene_.Start({"worker", "--coordinator", scene_.address()});
  };
  std::unique_ptr<Process> serve = scene_.Serve({"--lease", "1"});
  std::unique_ptr<Process> workers[] = {worker(), worker()};
  ASSERT_EQ(scene_.Run({"submit", sweep_, "--seeds", seeds_}).exit_code, 0);
  for (int round = 0; round < Rounds(12); ++round) {
    WaitForAMoment("cluster.db");
    const int victim = static_cast<int>(3 * Uniform());
    if (victim == 2) {
      serve.reset();
      serve = scene_.Start({"serve", "--lease", "1", "--listen", scene_.address()});
    } else {
      workers[victim].reset();
      workers[victim] = worker();
    }
  }
  ASSERT_TRUE(serve->WaitFor("serving "));
  const Ended wait = scene_.Run({"wait", "last"}, absl::Minutes(60));
  EXPECT_EQ(wait.exit_code, 0) << wait.err;
  ExpectAsIfNothingHadHappened("cluster.db");
}

}  // namespace
}  // namespace saffron
