#include "core/base/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace saffron {
namespace {

TEST(Process, AProcessIsGoneWhenItEndedAlsoBeforeItIsWaitedFor) {
  EXPECT_FALSE(IsProcessGone(::getpid()));
  EXPECT_FALSE(IsProcessGone(0));
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  EXPECT_FALSE(IsProcessGone(child));
  ::kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(IsProcessGone(child));
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(IsProcessGone(child));
}

TEST(Process, TheSpaceIsTheSameForParentAndChild) {
  const std::string space = ProcessSpace();
  EXPECT_FALSE(space.empty());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(ProcessSpace() == space ? 0 : 1);
  int status = 1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace saffron
