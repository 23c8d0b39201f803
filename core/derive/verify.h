#pragma once
// Derivations are measured before they are believed.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/derive/derive.h"

namespace saffron {

// What growing changed on a fixed batch of random tokens.
struct DerivationReport {
  std::string ops;  // canonical: DeriveOpsText
  int64_t probe_tokens = 0;
  double max_logit = 0;         // largest |logit| of the parent
  double max_change = 0;        // largest |difference of a logit|, all in double
  double max_change_float = 0;  // with both models' parameters and arithmetic in float
};

inline constexpr double kChangeMax = 1e-10;
inline constexpr double kRelativeChangeMaxFloat = 1e-4;  // of max(1, max_logit)

struct Derivation {
  GrowableModel child;
  DerivationReport report;
};

// Derive, then run parent and child. FAILED_PRECONDITION when logits changed by more than allowed
// above (says by how much): the child is then no start that compares with its parent.
absl::StatusOr<Derivation> DeriveAndVerify(const GrowableModel& parent,
                                           const std::vector<DeriveOp>& ops,
                                           const FreshModel& fresh, uint64_t seed);

// Runs both, of one vocabulary, on a probe that fits both contexts. RESOURCE_EXHAUSTED when there
// is no memory.
absl::StatusOr<DerivationReport> MeasureChange(const GrowableModel& parent,
                                               const GrowableModel& child);
// FAILED_PRECONDITION as above.
absl::Status CheckChange(const DerivationReport& report);

}  // namespace saffron
