// A coordinator and two workers on hosts of their own (network namespaces): one host is cut off for
// longer than a lease and comes back, the other worker is frozen for as long and thaws. Needs root.

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;

// Hosts on one switch, without a route to anywhere else.
class Hosts {
 public:
  explicit Hosts(int count) : count_(count) {
    ok_ = Do(absl::StrCat("netns add ", Switch())) &&
          Do(absl::StrCat("-n ", Switch(), " link add bridge type bridge")) &&
          Do(absl::StrCat("-n ", Switch(), " link set bridge up"));
    for (int i = 1; ok_ && i <= count; ++i) {
      const std::string port = absl::StrCat("port", i), in_switch = absl::StrCat("-n ", Switch()),
                        in_host = absl::StrCat("-n ", Name(i));
      ok_ = Do(absl::StrCat("netns add ", Name(i))) &&
            Do(absl::StrCat("link add eth netns ", Name(i), " type veth peer name ", port,
                            " netns ", Switch())) &&
            Do(absl::StrCat(in_switch, " link set ", port, " master bridge up")) &&
            Do(absl::StrCat(in_host, " addr add ", Address(i), "/24 dev eth")) &&
            Do(absl::StrCat(in_host, " link set eth up")) &&
            Do(absl::StrCat(in_host, " link set lo up"));
    }
  }
  ~Hosts() {
    for (int i = 1; i <= count_; ++i) Do(absl::StrCat("netns del ", Name(i)));
    Do(absl::StrCat("netns del ", Switch()));
  }

  bool ok() const { return ok_; }
  static std::string Address(int host) { return absl::StrCat("10.77.0.", host); }
  // Before a command that runs there.
  static std::vector<std::string> On(int host) {
    return {"/usr/sbin/ip", "netns", "exec", Name(host)};
  }
  static bool Connect(int host, bool connected) {
    return Do(absl::StrCat("-n ", Switch(), " link set port", host, connected ? " up" : " down"));
  }

 private:
  static std::string Name(int host) { return absl::StrCat("saffron", ::getpid(), "-", host); }
  static std::string Switch() { return Name(0); }
  static bool Do(const std::string& arguments) {
    return std::system(absl::StrCat("/usr/sbin/ip ", arguments, " >/dev/null 2>&1").c_str()) == 0;
  }

  const int count_;
  bool ok_ = false;
};

TEST(PartitionTest, AHostCutOffAndAWorkerFrozenPastTheirLeasesChangeNoResult) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces";
  const Hosts hosts(3);
  if (!hosts.ok()) GTEST_SKIP() << "this machine has no network namespaces (ip netns)";

  Scene scene;
  scene.AddTinyCorpus();
  const std::string sweep = scene.Write("sweep.yaml", TinySweep());
  const std::string filler = scene.Write("filler.yaml", NoopSweep(80, 250));
  for (const std::string& each : {sweep, filler}) {
    ASSERT_EQ(scene.Run({"run", each, "--workers", "8", "--db", scene.Path("calm.db")}).exit_code,
              0);
  }

  const std::string address = absl::StrCat(Hosts::Address(1), ":7411");
  scene.environment["SAFFRON_COORDINATOR"] = address;
  scene.environment["SAFFRON_DB"] = scene.Path("hosts.db");
  scene.prefix = Hosts::On(1);
  auto serve = scene.Start({"serve", "--listen", address, "--lease", "2"});
  ASSERT_TRUE(serve->WaitFor("serving ")) << serve->err();
  ASSERT_EQ(scene.Run({"submit", filler}).exit_code, 0);
  ASSERT_EQ(scene.Run({"submit", sweep}).exit_code, 0);
  scene.prefix = Hosts::On(2);
  auto cut_off = scene.Start({"worker"});
  scene.prefix = Hosts::On(3);
  auto frozen = scene.Start({"worker"});
  scene.prefix = Hosts::On(1);

  const auto count = [&](const std::string& what) {
    return absl::StrCat("(SELECT count(*) FROM ", what, ")");
  };
  const std::string lost = count("events WHERE kind = 'lost'"),
                    done = count("trials WHERE state = 'succeeded'");
  ASSERT_TRUE(Eventually([&] { return scene.Holds(done + " >= 2", "hosts.db"); }));
  ASSERT_TRUE(Hosts::Connect(2, false));
  EXPECT_TRUE(Eventually([&] { return scene.Holds(lost + " >= 1", "hosts.db"); }));
  frozen->SignalGroup(SIGSTOP);
  EXPECT_TRUE(Eventually([&] { return scene.Holds(lost + " >= 2", "hosts.db"); }));
  ASSERT_TRUE(Hosts::Connect(2, true));
  frozen->SignalGroup(SIGCONT);

  for (const char* roadmap : {"noops", "tiny"}) {
    const Ended wait = scene.Run({"wait", roadmap}, absl::Minutes(5));
    EXPECT_EQ(wait.exit_code, 0) << wait.err;
  }
  EXPECT_EQ(scene.One("SELECT count(*) FROM trials WHERE state <> 'succeeded'", "hosts.db"), "0");
  EXPECT_EQ(scene.One("SELECT count(*) FROM (SELECT trial FROM attempts WHERE outcome = "
                      "'succeeded' GROUP BY trial HAVING count(*) > 1)",
                      "hosts.db"),
            "0")
      << "a trial counted twice";
  const Ended check = scene.Run({"check", "--db", scene.Path("hosts.db")});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  const std::string calm = scene.DeterministicMetrics("calm.db");
  EXPECT_THAT(calm, HasSubstr("test/perplexity"));
  EXPECT_EQ(scene.DeterministicMetrics("hosts.db"), calm);
}

}  // namespace
}  // namespace saffron
