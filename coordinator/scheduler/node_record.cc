#include "coordinator/scheduler/node_record.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace saffron {
namespace {

constexpr std::array<std::string_view, 3> kStandings = {"normal", "quarantined", "trusted"};

double LogChoose(int64_t n, int64_t k) {
  const auto log_factorial = [](int64_t i) {
    int sign = 0;  // (lgamma writes a global variable; this one does not)
    return lgamma_r(static_cast<double>(i) + 1, &sign);
  };
  return log_factorial(n) - log_factorial(k) - log_factorial(n - k);
}

}  // namespace

std::string_view StandingName(Standing standing) { return kStandings[static_cast<int>(standing)]; }

std::optional<Standing> StandingFromName(std::string_view name) {
  for (size_t i = 0; i < kStandings.size(); ++i) {
    if (kStandings[i] == name) return static_cast<Standing>(i);
  }
  return std::nullopt;
}

double ChanceOfFailures(int64_t failed, int64_t passed, int64_t others_failed,
                        int64_t others_passed) {
  const int64_t here = failed + passed, failures = failed + others_failed;
  const int64_t all = here + others_failed + others_passed;
  const double log_all = LogChoose(all, here);
  const double expected = static_cast<double>(here) * failures / std::max<int64_t>(all, 1);
  double chance = 0;
  for (int64_t k = failed; k <= std::min(here, failures); ++k) {
    if (here - k > all - failures) continue;  // more passed here than passed at all
    const double term =
        std::exp(LogChoose(failures, k) + LogChoose(all - failures, here - k) - log_all);
    chance += term;
    if (static_cast<double>(k) > expected && term < 1e-18) break;  // the rest only shrinks
  }
  return std::min(chance, 1.0);
}

void NodeRecords::Passed(const std::string& host, TrialId trial) {
  if (host.empty()) return;
  Node& node = nodes_[host];
  ++node.passed;
  node.failed.erase(trial);
}

bool NodeRecords::Failed(const std::string& host, TrialId trial, std::string* evidence) {
  if (host.empty()) return false;
  Node& node = nodes_[host];
  node.failed.insert(trial);
  if (!IsBad(host, node)) return false;
  *evidence = node.evidence;
  return true;
}

bool NodeRecords::IsBad(const std::string& host, Node& node) const {
  int64_t failed = 0, passed = 0, machines = 1;
  for (const auto& [name, other] : nodes_) {
    if (name == host || other.standing == Standing::kQuarantined) continue;
    failed += static_cast<int64_t>(other.failed.size());
    passed += other.passed;
    ++machines;
  }
  const int64_t here = static_cast<int64_t>(node.failed.size());
  const double chance = ChanceOfFailures(here, node.passed, failed, passed);
  node.evidence = absl::StrFormat(
      "%d of its %d trials failed, %d of %d elsewhere; chance alone does that with probability "
      "%.2g (Fisher's exact test, one-sided; the limit is %.2g for %d machines)",
      here, here + node.passed, failed, failed + passed, chance, kChanceMax / machines, machines);
  return node.standing == Standing::kNormal && here >= kFailedMin && passed > 0 &&
         chance < kChanceMax / static_cast<double>(machines);
}

void NodeRecords::SetStanding(const std::string& host, Standing standing,
                              const std::string& reason) {
  Node& node = nodes_[host];
  node.standing = standing;
  node.reason = standing == Standing::kNormal ? "" : reason;
  if (standing == Standing::kQuarantined) return;
  node.failed.clear();
  node.passed = 0;
  node.evidence.clear();
}

Standing NodeRecords::StandingOf(const std::string& host) const {
  const Node* node = Find(host);
  return node == nullptr ? Standing::kNormal : node->standing;
}

const NodeRecords::Node* NodeRecords::Find(const std::string& host) const {
  auto it = nodes_.find(host);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::set<TrialId> NodeRecords::FailedOnlyOn(const std::string& host) const {
  const Node* node = Find(host);
  if (node == nullptr) return {};
  std::set<TrialId> only = node->failed;
  for (const auto& [name, other] : nodes_) {
    if (name == host) continue;
    for (TrialId trial : other.failed) only.erase(trial);
  }
  return only;
}

}  // namespace saffron
