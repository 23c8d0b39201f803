#pragma once
// How attempts and trials end, and how often a trial may be tried.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace saffron {

// Names, here and in the database: "succeeded", "diverged", "pruned", "failed", "cancelled".
enum class Outcome { kSucceeded, kDiverged, kPruned, kFailed, kCancelled };
// Why an attempt has no result: "preempted", "worker_lost", "out_of_memory", "timeout", "error".
enum class FailureClass { kPreempted, kWorkerLost, kOutOfMemory, kTimeout, kError };
inline constexpr int kFailureClasses = 5;

std::string_view OutcomeName(Outcome outcome);
std::string_view FailureClassName(FailureClass failure);
std::optional<Outcome> OutcomeFromName(std::string_view name);
std::optional<FailureClass> FailureClassFromName(std::string_view name);

// A result: computing the trial again would give the same.
inline bool IsResult(Outcome outcome) {
  return outcome == Outcome::kSucceeded || outcome == Outcome::kDiverged ||
         outcome == Outcome::kPruned;
}

// How often a trial is queued again after each class of failure; -1 is without limit.
struct RetryBudgets {
  std::array<int64_t, kFailureClasses> max = {-1, 5, 1, 1, 0};

  int64_t Of(FailureClass failure) const { return max[static_cast<int>(failure)]; }
  bool operator==(const RetryBudgets&) const = default;
};

}  // namespace saffron
