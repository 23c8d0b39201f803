// Which trials people mean.

#include "absl/strings/numbers.h"
#include "coordinator/store/run_store.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr int kPrefixMin = 6;  // characters of a digest

absl::StatusOr<std::vector<TrialId>> ReadTrials(Statement* select) {
  std::vector<TrialId> trials;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return trials;
    trials.push_back(TrialId{select->Int(0)});
  }
}

}  // namespace

absl::StatusOr<std::vector<TrialId>> RunStore::TrialsOfVariant(const RoadmapInfo& roadmap,
                                                               const std::string& variant) {
  static constexpr char kSql[] =
      "SELECT rt.trial FROM roadmap_trials rt JOIN trials t ON t.id = rt.trial "
      "JOIN variants v ON v.id = t.variant "
      "JOIN roadmap_variants rv ON rv.roadmap = ?1 AND rv.revision = ?2 AND rv.variant = v.id "
      "WHERE rt.roadmap = ?1 AND rt.revision = ?2 "
      "AND (v.id = ?3 OR rv.label = ?4 OR (?5 AND substr(v.digest, 1, length(?4)) = ?4)) "
      "ORDER BY 1";
  int64_t number = -1;
  if (!absl::SimpleAtoi(variant, &number)) number = -1;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.id.value, roadmap.revision, number, variant, variant.size() >= kPrefixMin);
  return ReadTrials(select);
}

absl::StatusOr<std::vector<TrialId>> RunStore::TrialsOfBlock(const RoadmapInfo& roadmap,
                                                             const std::string& block) {
  static constexpr char kSql[] =
      "SELECT rt.trial FROM roadmap_trials rt JOIN trials t ON t.id = rt.trial "
      "WHERE rt.roadmap = ?1 AND rt.revision = ?2 AND t.variant IN (SELECT variant "
      "FROM roadmap_blocks WHERE roadmap = ?1 AND revision = ?2 AND block = ?3) ORDER BY 1";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.id.value, roadmap.revision, block);
  return ReadTrials(select);
}

absl::StatusOr<std::vector<std::pair<TrialId, FailureClass>>> RunStore::LoadFailures(
    const RoadmapInfo& roadmap) {
  static constexpr char kSql[] =
      "SELECT t.id, t.failure_class FROM roadmap_trials rt JOIN trials t ON t.id = rt.trial "
      "WHERE rt.roadmap = ? AND rt.revision = ? AND t.state = 'failed' ORDER BY 1";
  std::vector<std::pair<TrialId, FailureClass>> failures;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(roadmap.id.value, roadmap.revision);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return failures;
    const std::optional<FailureClass> failure = FailureClassFromName(select->Text(1));
    if (failure) failures.push_back({TrialId{select->Int(0)}, *failure});
  }
}

absl::StatusOr<int64_t> RunStore::CountArchived(const RoadmapInfo& roadmap) {
  static constexpr char kSql[] =
      "SELECT count(*) FROM (SELECT trial FROM roadmap_trials WHERE roadmap = ?1 AND revision < ?2 "
      "EXCEPT SELECT trial FROM roadmap_trials WHERE roadmap = ?1 AND revision = ?2)";
  if (roadmap.revision == 1) return 0;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  ASSIGN_OR_RETURN(const std::optional<int64_t> count,
                   select->One(roadmap.id.value, roadmap.revision));
  return count.value_or(0);
}

absl::Status RunStore::SetLimits(const RoadmapInfo& roadmap, const std::vector<TrialId>& trials,
                                 std::optional<int64_t> memory_bytes,
                                 std::optional<absl::Duration> trial_time) {
  static constexpr char kSql[] =
      "UPDATE roadmap_trials SET memory_bytes = coalesce(?1, memory_bytes), "
      "trial_time_us = coalesce(?2, trial_time_us) "
      "WHERE roadmap = ?3 AND revision = ?4 AND trial = ?5";
  std::optional<int64_t> micros;
  if (trial_time) micros = absl::ToInt64Microseconds(*trial_time);
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kSql));
  for (TrialId trial : trials) {
    RETURN_IF_ERROR(
        update->Run(memory_bytes, micros, roadmap.id.value, roadmap.revision, trial.value));
  }
  return absl::OkStatus();
}

}  // namespace saffron
