#include "core/data/process.h"

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::HasSubstr;

TEST(RunProcess, ArgumentsReachTheProgramAsTheyAre) {
  const auto run = RunProcess({"printf", "%s|", "a b", "$HOME", "*", "';"});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->ok());
  EXPECT_EQ(run->output, "a b|$HOME|*|';|");
}

TEST(RunProcess, ReportsExitCodeSignalAndErrors) {
  const auto failed = RunProcess({"sh", "-c", "echo oh no >&2; exit 3"});
  EXPECT_EQ(failed->exit_code, 3);
  EXPECT_EQ(failed->Explain(), "exit code 3: oh no");
  const auto killed = RunProcess({"sh", "-c", "kill -9 $$"});
  EXPECT_EQ(killed->signal, 9);
  EXPECT_FALSE(killed->ok());
  EXPECT_EQ(killed->Explain(), "killed by signal 9");
}

TEST(RunProcess, RunsInTheGivenFolderWithAnEmptyInput) {
  Scratch scratch;
  scratch.Write("here", "");
  const auto run = RunProcess({"sh", "-c", "cat; ls"}, scratch.Path(""));
  EXPECT_EQ(run->output, "here\n");
}

TEST(RunProcess, AMissingProgramIsNotFound) {
  const auto run = RunProcess({"no-such-program-anywhere"});
  EXPECT_EQ(run.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(run.status().message()), HasSubstr("no-such-program-anywhere"));
}

TEST(RunProcess, MuchOutputOnBothPipesNeitherBlocksNorPilesUp) {
  const auto run = RunProcess(
      {"sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end"});
  ASSERT_TRUE(run->ok());
  EXPECT_LT(run->output.size(), 300'000u);
  EXPECT_THAT(run->output, testing::EndsWith("end\n"));
}

TEST(RunProcess, SignalsThatWeBlockReachTheChild) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const auto run = RunProcess({"sh", "-c", "kill -TERM $$; sleep 5"});
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(run->signal, SIGTERM);
}

TEST(TemporaryFolder, IsGoneWithItsContentsAfterwards) {
  std::string path;
  {
    const auto folder = TemporaryFolder::Make();
    ASSERT_TRUE(folder.ok()) << folder.status();
    path = folder->path();
    std::filesystem::create_directories(path + "/deep/er");
  }
  EXPECT_FALSE(path.empty());
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace saffron
