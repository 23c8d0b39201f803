#pragma once
// From a SweepSpec to the ordered list of its distinct variants. A pure function: the same spec
// gives the same variants in the same order on every machine. Thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/variant.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

// As stored in roadmap_variants.role.
enum class VariantRole { kBaseline, kAblation, kGrid, kRandom };
std::string_view VariantRoleName(VariantRole role);  // "baseline", "ablation", "grid", "random"

// One place where a sweep names a variant.
struct VariantOrigin {
  int block = 0;         // index into Expansion::blocks
  int64_t position = 0;  // 0-based among the block's combinations after exclusion
  VariantRole role = VariantRole::kGrid;
  std::string groups = {};  // kAblation: the groups whose changes are made, '+'-joined
};

// What a variant starts from, where it does not start from scratch.
struct VariantInit {
  int64_t parent = 0;  // index into Expansion::variants, smaller than the variant's own
  std::optional<uint64_t> seed = {};  // of the parent; not set: the trial's own
  bool best = false;                  // the parent's best checkpoint, not its last
  std::vector<std::string> derive = {};
  bool reset_state = false;  // the optimiser forgets the parent's steps
};

struct ExpandedVariant {
  ResolvedVariant variant;
  // The identity: variant.Digest(), and where it starts from something, a digest of that, of the
  // parent's identity and of what is done to its model.
  std::string digest;
  std::optional<VariantInit> init = {};
  std::vector<VariantOrigin> origins;  // at least one, in order; the first named it first
};

struct BlockStatistics {
  std::string name;
  int64_t distinct = 0;   // variants that this block named first
  int64_t collapsed = 0;  // combinations equal to an earlier one, of this block or another
  int64_t excluded = 0;   // combinations that `exclude` left out (for a random block: draws)
};

struct Expansion {
  // In the order of first mention; the baseline, where included, is the first.
  std::vector<ExpandedVariant> variants;
  // In the order of the file. Where the baseline is included, it is a block of its own, named
  // "baseline", before the others.
  std::vector<BlockStatistics> blocks;
  bool has_baseline = false;
  // The metric to improve: the spec's, or the default (sweep.proto, SweepMetric); empty when no
  // variant reports one and the spec names none.
  std::string metric;
  bool maximize = false;
  // Things that are legal but look like mistakes, one sentence each, with positions: an axis that
  // matters to no variant, an ablation that changes nothing.
  std::vector<std::string> notes;
};

struct ExpandOptions {
  // Names of the corpora that exist; a variant that reads another one is an error. Not set: any
  // name will do.
  std::optional<std::vector<std::string>> corpora = {};
};

// No sweep has more combinations than this, whatever its limits say.
inline constexpr int64_t kCombinationsMax = 1'000'000;

// INVALID_ARGUMENT, with messages as in sweep_reader.h: whatever CheckSpec finds, and what only
// shows in combination: a product over kCombinationsMax (found before anything is expanded, naming
// the axes and their sizes), more distinct variants than limits.variants (found when there is one
// too many), values that do not go together, a value that an expression computes out of its key's
// range, division by zero, a block or an axis that `exclude` empties, an unknown corpus, a metric
// that no variant reports. Costs some microseconds a combination.
absl::StatusOr<Expansion> Expand(const v1::SweepSpec& spec, const ExpandOptions& options = {});

}  // namespace saffron
