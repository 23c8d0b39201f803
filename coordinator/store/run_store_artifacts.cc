// Which files are kept for whom, and which were given up.

#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/store/run_store.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

ArtifactRecord RecordOf(const Statement& row) {
  return {.sha256 = std::string(row.Text(0)),
          .bytes = row.Int(1),
          .kind = std::string(row.Text(2)),
          .role = std::string(row.Text(3)),
          .step = row.Int(4)};
}

absl::StatusOr<std::vector<ArtifactRecord>> AllRecords(Statement* select) {
  std::vector<ArtifactRecord> records;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return records;
    records.push_back(RecordOf(*select));
  }
}

}  // namespace

absl::Status RunStore::RecordArtifact(AttemptId attempt, const ArtifactRecord& artifact,
                                      absl::Time now) {
  static constexpr char kInsert[] =
      "INSERT INTO artifacts (sha256, bytes, kind, role, trial, attempt, step, created_us) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (trial, attempt, kind, role, step, sha256) DO UPDATE SET deleted_us = NULL";
  ASSIGN_OR_RETURN(Statement * insert, db_.Use(kInsert));
  return insert->Run(artifact.sha256, artifact.bytes, artifact.kind, artifact.role,
                     attempt.trial.value, attempt.number, artifact.step, absl::ToUnixMicros(now));
}

absl::Status RunStore::RecordResume(AttemptId attempt, int64_t step, absl::Time now) {
  return RecordTrialEvent("resumed", attempt.trial, attempt.number, std::nullopt,
                          absl::StrCat("goes on from step ", step), absl::ToUnixMicros(now));
}

absl::StatusOr<std::vector<ArtifactRecord>> RunStore::KeptArtifacts(TrialId trial) {
  static constexpr char kSql[] =
      "SELECT sha256, bytes, kind, role, step FROM artifacts WHERE trial = ? AND deleted_us IS "
      "NULL "
      "ORDER BY step DESC, id DESC";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(trial.value);
  return AllRecords(select);
}

absl::StatusOr<std::set<TrialId>> RunStore::TrialsWithState() {
  static constexpr char kSql[] =
      "SELECT DISTINCT trial FROM artifacts WHERE kind = 'state' AND deleted_us IS NULL "
      "AND trial IS NOT NULL";
  std::set<TrialId> trials;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return trials;
    trials.insert(TrialId{select->Int(0)});
  }
}

absl::StatusOr<std::vector<std::string>> RunStore::WantedCheckpoints(TrialId trial) {
  static constexpr char kSql[] =
      "SELECT DISTINCT coalesce(v.init_checkpoint, 'last') FROM trials c "
      "JOIN variants v ON v.id = c.variant "
      "WHERE c.parent = ? AND c.state IN ('queued', 'leased') ORDER BY 1";
  std::vector<std::string> roles;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(trial.value);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return roles;
    roles.emplace_back(select->Text(0));
  }
}

absl::StatusOr<bool> RunStore::ComputesInBf16(TrialId trial) {
  static constexpr char kSql[] =
      "WITH RECURSIVE made (id) AS (VALUES (?) UNION "
      "SELECT p.id FROM made JOIN trials c ON c.id = made.id JOIN variants v ON v.id = c.variant "
      "JOIN trials p ON p.id = c.parent WHERE p.state NOT IN ('queued', 'leased') AND NOT EXISTS "
      "(SELECT 1 FROM artifacts x WHERE x.trial = p.id AND x.kind = 'checkpoint' "
      "AND x.role = coalesce(v.init_checkpoint, 'last') AND x.deleted_us IS NULL)) "
      "SELECT EXISTS (SELECT 1 FROM made JOIN trials t ON t.id = made.id "
      "JOIN variants v ON v.id = t.variant WHERE v.json ->> '$.\"train.precision\"' = 'bf16')";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start(trial.value);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  return row && select->Int(0) != 0;
}

absl::StatusOr<std::vector<std::string>> RunStore::GiveUpStates(TrialId trial, int64_t below,
                                                                absl::Time now) {
  static constexpr char kSql[] =
      "UPDATE artifacts SET deleted_us = ? WHERE trial = ? AND kind = 'state' AND step < ? "
      "AND deleted_us IS NULL RETURNING sha256";
  ASSIGN_OR_RETURN(Statement * update, db_.Use(kSql));
  update->Start(absl::ToUnixMicros(now), trial.value, below);
  std::vector<std::string> given_up;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, update->Next());
    if (!row) break;
    given_up.emplace_back(update->Text(0));
  }
  return Unkept(std::move(given_up));
}

absl::StatusOr<int64_t> RunStore::GiveUpLost(
    const std::function<bool(const ArtifactRecord&)>& is_lost, absl::Time now) {
  static constexpr char kKept[] =
      "SELECT sha256, bytes, kind, role, step, id, trial FROM artifacts WHERE deleted_us IS NULL "
      "ORDER BY id";
  static constexpr char kGiveUp[] = "UPDATE artifacts SET deleted_us = ? WHERE id = ?";
  struct Lost {
    int64_t id, trial;
    std::string what;
  };
  std::vector<Lost> all;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kKept));
  select->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) break;
    const ArtifactRecord record = RecordOf(*select);
    if (!is_lost(record)) continue;
    all.push_back({select->Int(5), select->Int(6),
                   absl::StrCat(record.kind, " of ", record.bytes, " bytes: its file is gone")});
  }
  for (const Lost& lost : all) {
    ASSIGN_OR_RETURN(Statement * update, db_.Use(kGiveUp));
    RETURN_IF_ERROR(update->Run(absl::ToUnixMicros(now), lost.id));
    RETURN_IF_ERROR(RecordTrialEvent("artifact_deleted", TrialId{lost.trial}, std::nullopt,
                                     std::nullopt, lost.what, absl::ToUnixMicros(now)));
  }
  return static_cast<int64_t>(all.size());
}

absl::StatusOr<std::vector<std::string>> RunStore::Unkept(std::vector<std::string> sha256) {
  static constexpr char kSql[] =
      "SELECT 1 FROM artifacts WHERE sha256 = ? AND deleted_us IS NULL LIMIT 1";
  std::vector<std::string> unkept;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  for (std::string& digest : sha256) {
    select->Start(digest);
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) unkept.push_back(std::move(digest));
  }
  return unkept;
}

absl::StatusOr<std::set<std::string>> RunStore::KeptDigests() {
  static constexpr char kSql[] = "SELECT DISTINCT sha256 FROM artifacts WHERE deleted_us IS NULL";
  std::set<std::string> digests;
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start();
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return digests;
    digests.emplace(select->Text(0));
  }
}

absl::StatusOr<int64_t> RunStore::KeptBytes() {
  static constexpr char kSql[] =
      "SELECT coalesce(sum(bytes), 0) FROM (SELECT sha256, max(bytes) AS bytes FROM artifacts "
      "WHERE deleted_us IS NULL GROUP BY sha256)";
  ASSIGN_OR_RETURN(Statement * select, db_.Use(kSql));
  select->Start();
  ASSIGN_OR_RETURN(const bool row, select->Next());
  return row ? select->Int(0) : 0;
}

absl::StatusOr<std::vector<std::string>> RunStore::MakeRoom(int64_t bytes, absl::Time now) {
  // What can be spared: states of trials that ended, then checkpoints, the oldest first; never the
  // state of a trial that is to go on, nor what another trial is to start from.
  static constexpr char kSpare[] =
      "SELECT a.id, a.sha256, a.bytes, a.kind, a.trial FROM artifacts a "
      "LEFT JOIN trials t ON t.id = a.trial "
      "WHERE a.deleted_us IS NULL AND (t.id IS NULL OR t.state NOT IN ('queued', 'leased')) "
      "AND NOT EXISTS (SELECT 1 FROM trials c WHERE c.parent = a.trial AND c.parent IS NOT NULL "
      "AND c.state IN ('queued', 'leased')) "
      "ORDER BY a.kind <> 'state', a.created_us, a.id";
  static constexpr char kGiveUp[] = "UPDATE artifacts SET deleted_us = ? WHERE id = ?";
  struct Spare {
    int64_t id, bytes;
    std::string sha256, kind;
    int64_t trial;
  };
  std::vector<Spare> spares;
  {
    ASSIGN_OR_RETURN(Statement * select, db_.Use(kSpare));
    select->Start();
    for (int64_t room = 0; room < bytes;) {
      ASSIGN_OR_RETURN(const bool row, select->Next());
      if (!row) break;
      spares.push_back({select->Int(0), select->Int(2), std::string(select->Text(1)),
                        std::string(select->Text(3)), select->Int(4)});
      room += spares.back().bytes;
    }
  }
  std::vector<std::string> given_up;
  for (Spare& spare : spares) {
    ASSIGN_OR_RETURN(Statement * update, db_.Use(kGiveUp));
    RETURN_IF_ERROR(update->Run(absl::ToUnixMicros(now), spare.id));
    RETURN_IF_ERROR(RecordTrialEvent(
        "artifact_deleted", TrialId{spare.trial}, std::nullopt, std::nullopt,
        absl::StrCat(spare.kind, " of ", spare.bytes, " bytes: over the disk budget"),
        absl::ToUnixMicros(now)));
    given_up.push_back(std::move(spare.sha256));
  }
  return Unkept(std::move(given_up));
}

}  // namespace saffron
