#include "coordinator/scheduler/outcome.h"

namespace saffron {
namespace {

constexpr std::array<std::string_view, 5> kOutcomes = {"succeeded", "diverged", "pruned", "failed",
                                                       "cancelled"};
constexpr std::array<std::string_view, kFailureClasses> kFailures = {
    "preempted", "worker_lost", "out_of_memory", "timeout", "error"};

template <typename Enum, size_t n>
std::optional<Enum> FromName(const std::array<std::string_view, n>& names, std::string_view name) {
  for (size_t i = 0; i < n; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view OutcomeName(Outcome outcome) { return kOutcomes[static_cast<int>(outcome)]; }
std::string_view FailureClassName(FailureClass failure) {
  return kFailures[static_cast<int>(failure)];
}
std::optional<Outcome> OutcomeFromName(std::string_view name) {
  return FromName<Outcome>(kOutcomes, name);
}
std::optional<FailureClass> FailureClassFromName(std::string_view name) {
  return FromName<FailureClass>(kFailures, name);
}

}  // namespace saffron
