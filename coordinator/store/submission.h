#pragma once
// A sweep on its way into the database: expanded, with the fingerprints of its data and the costs
// of its variants, and what storing it would change.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/scheduler/event.h"
#include "coordinator/scheduler/ids.h"
#include "core/model/variant.h"

namespace saffron {

// Where a block of the sweep names a variant.
struct SubmittedOrigin {
  int block = 0;  // index into Submission::blocks
  int64_t position = 0;
  std::string role;    // as in the database
  std::string groups;  // of an ablation, '+'-joined
};

// What a variant's trials start from.
struct SubmittedInit {
  int64_t parent = 0;                 // index into Submission::variants, smaller than its own
  std::optional<uint64_t> seed = {};  // of the parent's trial; not set: the same
  std::string checkpoint;             // "best" or "last"
  std::vector<std::string> derive = {};
  // Whether the optimiser forgets the parent's steps is a param, "init_from.state".
};

struct SubmittedVariant {
  std::string digest;
  // Its settings; what it starts from as "init_from.*", versions of its own as "numerics.*".
  Params params;
  std::optional<SubmittedInit> init = {};
  std::string label;
  std::vector<SubmittedOrigin> origins;  // at least one; the first decides block and role
  std::string corpus, fingerprint;       // empty when it reads no data
  double parameters = 0, flops = 0, seconds = 0;
};

struct Submission {
  std::string name, question;
  std::string spec;         // canonical text
  std::string spec_digest;  // of it
  std::string metric;
  bool maximize = false;
  int numerics = 0;
  uint64_t seed_first = 1;
  int seed_count = 1;
  RetryBudgets retry;
  int poison = 0;  // RoadmapPolicy::poison
  std::optional<absl::Duration> trial_time, total_time;
  std::optional<int64_t> memory_bytes;
  std::vector<std::string> blocks;
  std::vector<SubmittedVariant> variants;  // distinct, in order
};

// Identity of a revision: the spec, the numerics, what the data held, and the variants, for another
// version of the program may make others of the same spec (numerics of their own, new keys).
std::string RevisionDigest(const Submission& submission);

// What differs between trials that are new and those of the roadmap's last revision. `from` is
// empty where a value was added rather than replaced.
struct SubmissionChange {
  std::string key, from, to;
  int64_t trials = 0;
};

struct SubmissionPlan {
  int64_t variants = 0;
  int64_t trials = 0;      // the sum of the next five
  int64_t trials_new = 0;  // would run
  int64_t trials_cached = 0, trials_pending = 0, trials_failed = 0, trials_cancelled = 0;
  int64_t trials_orphaned = 0;            // of the last revision, no longer named
  double seconds = 0;                     // estimated, of the new ones
  std::vector<SubmissionChange> changes;  // most trials first
};

// A revision as it stands in the database.
struct StoredRevision {
  RoadmapId roadmap;
  int revision = 0;
  bool is_new = false;    // this submission made it
  RoadmapChanged change;  // for the scheduler; meaningful iff is_new
};

}  // namespace saffron
