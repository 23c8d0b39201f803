// Storing an expanded sweep as a revision of its roadmap.

#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/store/run_store.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// Canonical JSON of a configuration: keys sorted, values as in ParamValueText.
std::string JsonOf(const Params& params) {
  std::string json = "{";
  for (const auto& [key, value] : params) {
    absl::StrAppend(&json, json.size() > 1 ? "," : "", "\"", key, "\":", ParamValueText(value));
  }
  json += "}";
  return json;
}

// The roadmap and its current revision; revision 0 when it is new.
struct Current {
  int64_t roadmap = 0, revision = 0;
  std::string digest;
};

absl::StatusOr<Current> FindCurrent(Database& db, const std::string& name) {
  static constexpr char kSql[] =
      "SELECT r.id, r.revision, v.digest FROM roadmaps r "
      "JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision WHERE r.name = ?";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSql));
  select->Start(name);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (!row) return Current{};
  return Current{select->Int(0), select->Int(1), std::string(select->Text(2))};
}

absl::Status InsertRevision(Database& db, const Submission& s, const Current& at, absl::Time now) {
  static constexpr char kSql[] =
      "INSERT INTO revisions (roadmap, revision, digest, spec, question, metric, goal, numerics, "
      "seed_first, seed_count, retry_preempted, retry_worker_lost, retry_out_of_memory, "
      "retry_timeout, retry_error, trial_time_us, memory_bytes, deadline_us, submitted_us, "
      "retry_poison) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  std::optional<int64_t> trial_time_us, deadline_us;
  if (s.trial_time) trial_time_us = absl::ToInt64Microseconds(*s.trial_time);
  if (s.total_time) deadline_us = absl::ToUnixMicros(now + *s.total_time);
  const auto& retry = s.retry.max;
  ASSIGN_OR_RETURN(Statement * insert, db.Use(kSql));
  return insert->Run(at.roadmap, at.revision, at.digest, s.spec, s.question, s.metric,
                     s.maximize ? "maximize" : "minimize", s.numerics, s.seed_first, s.seed_count,
                     retry[0], retry[1], retry[2], retry[3], retry[4], trial_time_us,
                     s.memory_bytes, deadline_us, absl::ToUnixMicros(now), s.poison);
}

// Id of the dataset with the fingerprint, made where it is new.
absl::StatusOr<int64_t> DatasetId(Database& db, const SubmittedVariant& variant, int64_t now_us) {
  static constexpr char kSelect[] = "SELECT id FROM datasets WHERE fingerprint = ?";
  static constexpr char kInsert[] =
      "INSERT INTO datasets (fingerprint, name, first_us) VALUES (?, ?, ?)";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSelect));
  ASSIGN_OR_RETURN(const std::optional<int64_t> id, select->One(variant.fingerprint));
  if (id) return *id;
  ASSIGN_OR_RETURN(Statement * insert, db.Use(kInsert));
  RETURN_IF_ERROR(insert->Run(variant.fingerprint, variant.corpus, now_us));
  return db.LastInsertId();
}

// JSON array of texts.
std::string JsonOf(const std::vector<std::string>& texts) {
  std::string json = "[";
  for (const std::string& text : texts) {
    absl::StrAppend(&json, json.size() > 1 ? "," : "", ParamValueText(text));
  }
  return json + "]";
}

// `parent`: the id of what it starts from.
absl::StatusOr<int64_t> VariantId(Database& db, const SubmittedVariant& variant,
                                  std::optional<int64_t> parent) {
  static constexpr char kSelect[] = "SELECT id FROM variants WHERE digest = ?";
  static constexpr char kInsert[] =
      "INSERT INTO variants (digest, json, parameters, flops, seconds, parent, init_seed, "
      "init_checkpoint, init_derive) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSelect));
  ASSIGN_OR_RETURN(const std::optional<int64_t> id, select->One(variant.digest));
  if (id) return *id;
  ASSIGN_OR_RETURN(Statement * insert, db.Use(kInsert));
  std::optional<int64_t> seed;
  std::optional<std::string> checkpoint, derive;
  if (variant.init) {
    if (variant.init->seed) seed = static_cast<int64_t>(*variant.init->seed);
    checkpoint = variant.init->checkpoint;
    derive = JsonOf(variant.init->derive);
  }
  // (Bound text must outlive the statement's run.)
  const std::string json = JsonOf(variant.params);
  RETURN_IF_ERROR(insert->Run(variant.digest, json, variant.parameters, variant.flops,
                              variant.seconds, parent, seed, checkpoint, derive));
  return db.LastInsertId();
}

absl::Status InsertRoadmapVariant(Database& db, const Submission& s, const Current& at,
                                  int64_t position, int64_t variant_id) {
  static constexpr char kVariant[] =
      "INSERT INTO roadmap_variants (roadmap, revision, variant, block, role, position, label) "
      "VALUES (?, ?, ?, ?, ?, ?, ?)";
  static constexpr char kBlock[] =
      "INSERT OR IGNORE INTO roadmap_blocks (roadmap, revision, block, variant, role, position, "
      "groups) VALUES (?, ?, ?, ?, ?, ?, ?)";
  const SubmittedVariant& variant = s.variants[position];
  const SubmittedOrigin& first = variant.origins.front();
  ASSIGN_OR_RETURN(Statement * insert, db.Use(kVariant));
  RETURN_IF_ERROR(insert->Run(at.roadmap, at.revision, variant_id, s.blocks[first.block],
                              first.role, position, variant.label));
  ASSIGN_OR_RETURN(Statement * block, db.Use(kBlock));
  for (const SubmittedOrigin& origin : variant.origins) {
    RETURN_IF_ERROR(block->Run(at.roadmap, at.revision, s.blocks[origin.block], variant_id,
                               origin.role, origin.position, origin.groups));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> TrialOf(Database& db, int64_t variant, uint64_t seed, int64_t data,
                                int numerics, std::optional<TrialId> parent, int64_t now_us) {
  static constexpr char kSelect[] =
      "SELECT id FROM trials WHERE variant = ? AND seed = ? AND data = ? AND numerics = ?";
  static constexpr char kInsert[] =
      "INSERT INTO trials (variant, seed, data, numerics, state, attempts, budget_from, message, "
      "created_us, parent) VALUES (?, ?, ?, ?, 'queued', 0, 0, '', ?, ?)";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSelect));
  ASSIGN_OR_RETURN(const std::optional<int64_t> id, select->One(variant, seed, data, numerics));
  if (id) return *id;
  ASSIGN_OR_RETURN(Statement * insert, db.Use(kInsert));
  std::optional<int64_t> parent_id;
  if (parent) parent_id = parent->value;
  RETURN_IF_ERROR(insert->Run(variant, seed, data, numerics, now_us, parent_id));
  return db.LastInsertId();
}

// The roadmap, with its new revision noted; `at.revision` is that one.
absl::StatusOr<Current> StartRevision(Database& db, const Submission& s, Current at,
                                      absl::Time now) {
  static constexpr char kInsert[] =
      "INSERT INTO roadmaps (name, revision, created_us) VALUES (?, 1, ?)";
  static constexpr char kUpdate[] = "UPDATE roadmaps SET revision = ? WHERE id = ?";
  if (at.revision == 0) {
    ASSIGN_OR_RETURN(Statement * insert, db.Use(kInsert));
    RETURN_IF_ERROR(insert->Run(s.name, absl::ToUnixMicros(now)));
    at.roadmap = db.LastInsertId();
  } else {
    ASSIGN_OR_RETURN(Statement * update, db.Use(kUpdate));
    RETURN_IF_ERROR(update->Run(at.revision + 1, at.roadmap));
  }
  ++at.revision;
  at.digest = RevisionDigest(s);
  RETURN_IF_ERROR(InsertRevision(db, s, at, now));
  return at;
}

}  // namespace

std::string RevisionDigest(const Submission& submission) {
  Sha256 digest;
  digest.Update(absl::StrCat(submission.spec_digest, "\nnumerics ", submission.numerics));
  std::set<std::pair<std::string, std::string>> data;
  for (const SubmittedVariant& v : submission.variants) {
    data.insert({v.corpus, v.fingerprint});
    digest.Update(absl::StrCat("\nvariant ", v.digest));
  }
  for (const auto& [corpus, fingerprint] : data) {
    digest.Update(absl::StrCat("\n", corpus, " ", fingerprint));
  }
  return digest.FinishHex();
}

absl::StatusOr<StoredRevision> RunStore::RecordSubmission(const Submission& s, absl::Time now) {
  static constexpr char kFirst[] =
      "INSERT INTO roadmap_trials (roadmap, revision, trial, wanted) VALUES (?, ?, ?, 1)";
  static constexpr char kNext[] =
      "INSERT INTO roadmap_trials (roadmap, revision, trial, wanted, trial_time_us, memory_bytes) "
      "SELECT ?1, ?2, ?3, coalesce(o.wanted, 1), o.trial_time_us, o.memory_bytes FROM (SELECT 1) "
      "LEFT JOIN roadmap_trials o ON o.roadmap = ?1 AND o.revision = ?2 - 1 AND o.trial = ?3";
  ASSIGN_OR_RETURN(Current at, FindCurrent(db_, s.name));
  if (at.revision > 0 && at.digest == RevisionDigest(s)) {
    return StoredRevision{RoadmapId{at.roadmap}, static_cast<int>(at.revision), false, {}};
  }
  ASSIGN_OR_RETURN(at, StartRevision(db_, s, at, now));
  StoredRevision revision{RoadmapId{at.roadmap}, static_cast<int>(at.revision), true, {}};
  revision.change.roadmap = revision.roadmap;
  revision.change.policy.retry = s.retry;
  revision.change.policy.poison = s.poison;
  if (s.total_time) revision.change.policy.deadline = now + *s.total_time;
  std::vector<WantedTrial>& wanted = revision.change.trials;
  wanted.reserve(s.variants.size() * s.seed_count);
  const int64_t now_us = absl::ToUnixMicros(now);
  std::map<std::string, int64_t> datasets;
  std::vector<int64_t> ids;  // of the variants
  for (size_t position = 0; position < s.variants.size(); ++position) {
    const SubmittedVariant& variant = s.variants[position];
    auto [data, is_new] = datasets.try_emplace(variant.fingerprint, 0);
    if (is_new) {
      ASSIGN_OR_RETURN(data->second, DatasetId(db_, variant, now_us));
    }
    const auto precision = variant.params.find("train.precision");
    bool bf16 = precision != variant.params.end() && precision->second == ParamValue("bf16");
    std::optional<int64_t> parent_id;
    if (variant.init) parent_id = ids[variant.init->parent];
    ASSIGN_OR_RETURN(const int64_t id, VariantId(db_, variant, parent_id));
    ids.push_back(id);
    RETURN_IF_ERROR(InsertRoadmapVariant(db_, s, at, position, id));
    for (int replicate = 0; replicate < s.seed_count; ++replicate) {
      std::optional<TrialId> parent;
      if (variant.init) {
        const uint64_t seed = variant.init->seed.value_or(s.seed_first + replicate);
        const size_t at = variant.init->parent * s.seed_count + (seed - s.seed_first);
        parent = wanted[at].trial;
      }
      ASSIGN_OR_RETURN(const int64_t trial, TrialOf(db_, id, s.seed_first + replicate, data->second,
                                                    s.numerics, parent, now_us));
      ASSIGN_OR_RETURN(Statement * insert, db_.Use(at.revision == 1 ? kFirst : kNext));
      RETURN_IF_ERROR(insert->Run(at.roadmap, at.revision, trial));
      if (parent) {
        ASSIGN_OR_RETURN(bf16, ComputesInBf16(TrialId{trial}));
      }
      wanted.push_back({TrialId{trial}, replicate, variant.origins.front().role == "baseline",
                        static_cast<int64_t>(position), variant.seconds, parent,
                        Needs{CorpusId{variant.fingerprint.empty() ? 0 : data->second}, bf16}});
    }
  }
  RETURN_IF_ERROR(
      RecordEvent("submitted", revision.roadmap, std::nullopt,
                  absl::StrCat("revision ", at.revision, ": ", wanted.size(), " trials"), now));
  return revision;
}

}  // namespace saffron
