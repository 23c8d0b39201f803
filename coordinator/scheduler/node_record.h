#pragma once
// Which machines fail more often than the rest of the fleet: one with too little memory, a broken
// disk or a wrong library takes trial after trial and fails them all, while the others wait.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "coordinator/scheduler/ids.h"

namespace saffron {

// Names, here and in the database: "normal", "quarantined" (gets no new work), "trusted" (is never
// quarantined, whatever it does).
enum class Standing { kNormal, kQuarantined, kTrusted };
std::string_view StandingName(Standing standing);
std::optional<Standing> StandingFromName(std::string_view name);

// Probability that chance alone puts `failed` or more of a machine's `failed + passed` trials among
// the failures, were all machines alike: the upper tail of the hypergeometric distribution, which
// is the one-sided exact test of a 2x2 table (Fisher, "Statistical Methods for Research Workers",
// 1934, section 21.02). All counts >= 0; in [0, 1]; 1 when nothing failed. O(failures).
double ChanceOfFailures(int64_t failed, int64_t passed, int64_t others_failed,
                        int64_t others_passed);

// What machines did since this process started or since they were last forgiven. Counted are
// trials, not attempts: a trial that fails again on the same machine says nothing new about the
// machine. Handed-back trials and lost workers say nothing (a machine that is gone takes no work).
// Plain data and arithmetic; not thread-safe.
class NodeRecords {
 public:
  // A machine is bad when the chance above is below this, divided by the number of machines that
  // are compared, because each of them is tested (Bonferroni)...
  static constexpr double kChanceMax = 1e-3;
  // ... and when so many of its trials failed, while elsewhere at least one passed.
  static constexpr int64_t kFailedMin = 3;

  struct Node {
    Standing standing = Standing::kNormal;
    std::string reason;        // why the standing is not normal
    std::set<TrialId> failed;  // trials that failed here, and have not passed here since
    int64_t passed = 0;        // results made here
    std::string evidence;      // of the last test, in words; empty: never tested
  };

  void Passed(const std::string& host, TrialId trial);
  // True when the machine is now found to be bad; `evidence` says by what.
  bool Failed(const std::string& host, TrialId trial, std::string* evidence);
  void SetStanding(const std::string& host, Standing standing, const std::string& reason);

  Standing StandingOf(const std::string& host) const;
  // nullptr: nothing is known of it.
  const Node* Find(const std::string& host) const;
  const std::map<std::string, Node>& nodes() const { return nodes_; }
  // Trials that failed on this machine and on no other.
  std::set<TrialId> FailedOnlyOn(const std::string& host) const;

 private:
  bool IsBad(const std::string& host, Node& node) const;

  std::map<std::string, Node> nodes_;
};

}  // namespace saffron
