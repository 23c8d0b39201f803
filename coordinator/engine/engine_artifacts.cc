// The engine's part in stored files: who wants them, for how long, and within which budget.

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/engine.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

bool HasResult(const TrialState& state) {
  const Ended* ended = std::get_if<Ended>(&state);
  return ended != nullptr && IsResult(ended->outcome);
}

}  // namespace

absl::StatusOr<std::string> Engine::WhyUnwanted(const ArtifactCall& call) {
  const TrialId trial = call.attempt.trial;
  ASSIGN_OR_RETURN(const std::vector<ArtifactRecord> kept, store_->KeptArtifacts(trial));
  if (call.artifact.kind == kStateArtifact) {
    if (HasResult(scheduler_.FindTrial(trial)->state)) return "its trial has a result";
    const bool is_old = std::any_of(kept.begin(), kept.end(), [&](const ArtifactRecord& r) {
      return r.kind == kStateArtifact && r.step > call.artifact.step;
    });
    if (is_old) return "there is a later state of its trial";
  }
  if (options_.artifact_bytes_max == 0) return std::string();
  const bool is_kept = std::any_of(kept.begin(), kept.end(), [&](const ArtifactRecord& r) {
    return r.sha256 == call.artifact.sha256;
  });
  if (is_kept) return std::string();
  const int64_t budget = options_.artifact_bytes_max, room = budget - call.artifact.bytes;
  const std::string full = absl::StrCat("the disk budget of ", budget, " bytes is spent");
  if (room < 0) return full;
  ASSIGN_OR_RETURN(int64_t used, store_->KeptBytes());
  if (used <= room) return std::string();
  RETURN_IF_ERROR(BeginOnce());
  ASSIGN_OR_RETURN(std::vector<std::string> given_up, store_->MakeRoom(used - room, now_));
  DeleteAfterCommit(std::move(given_up));
  ASSIGN_OR_RETURN(with_state_, store_->TrialsWithState());
  ASSIGN_OR_RETURN(used, store_->KeptBytes());
  return used <= room ? std::string() : full;
}

absl::Status Engine::DoArtifact(const ArtifactCall& call, const Done<ArtifactAnswer>& done) {
  const TrialId trial = call.attempt.trial;
  const Scheduler::Trial* known = scheduler_.FindTrial(trial);
  if (known == nullptr || call.attempt.number < 1 || call.attempt.number > known->attempts) {
    Reply<ArtifactAnswer>(
        done, known == nullptr
                  ? absl::NotFoundError(absl::StrCat("there is no trial ", trial.value))
                  : absl::InvalidArgumentError(absl::StrCat("trial ", trial.value, " has had ",
                                                            known->attempts, " attempts, not ",
                                                            call.attempt.number)));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::string unwanted, WhyUnwanted(call));
  if (unwanted.empty() && call.stored) {
    RETURN_IF_ERROR(BeginOnce());
    RETURN_IF_ERROR(store_->RecordArtifact(call.attempt, call.artifact, now_));
    if (call.artifact.kind == kStateArtifact) {
      with_state_.insert(trial);
      ASSIGN_OR_RETURN(std::vector<std::string> older,
                       store_->GiveUpStates(trial, call.artifact.step, now_));
      DeleteAfterCommit(std::move(older));
    }
  } else if (call.stored) {
    RETURN_IF_ERROR(BeginOnce());
    ASSIGN_OR_RETURN(std::vector<std::string> unkept, store_->Unkept({call.artifact.sha256}));
    DeleteAfterCommit(std::move(unkept));
  }
  const bool wanted = unwanted.empty();
  Reply<ArtifactAnswer>(done, ArtifactAnswer{wanted, std::move(unwanted)});
  return absl::OkStatus();
}

absl::Status Engine::ForgetStates(const Effects& effects) {
  if (with_state_.empty()) return absl::OkStatus();
  for (const Effect& effect : effects) {
    const auto* ended = std::get_if<TrialEnded>(&effect);
    if (ended == nullptr || !IsResult(ended->outcome)) continue;
    if (with_state_.erase(ended->trial) == 0) continue;
    ASSIGN_OR_RETURN(std::vector<std::string> given_up,
                     store_->GiveUpStates(ended->trial, std::numeric_limits<int64_t>::max(), now_));
    DeleteAfterCommit(std::move(given_up));
  }
  return absl::OkStatus();
}

absl::Status Engine::AddFiles(AttemptId attempt, bool is_new, TrialOrder* order) {
  const TrialId trial = attempt.trial;
  ASSIGN_OR_RETURN(order->keep_checkpoints, store_->WantedCheckpoints(trial));
  for (const std::string& role : options_.keep_checkpoints) {
    auto& roles = order->keep_checkpoints;
    if (std::find(roles.begin(), roles.end(), role) == roles.end()) roles.push_back(role);
  }
  if (with_state_.count(trial) == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<ArtifactRecord> kept, store_->KeptArtifacts(trial));
  for (const ArtifactRecord& record : kept) {
    if (record.kind != kStateArtifact) continue;
    order->resume_from = record;
    if (!is_new) return absl::OkStatus();
    RETURN_IF_ERROR(BeginOnce());
    return store_->RecordResume(attempt, record.step, now_);
  }
  return absl::OkStatus();
}

void Engine::DeleteAfterCommit(std::vector<std::string> sha256) {
  if (sha256.empty() || !options_.delete_artifact) return;
  answers_.push_back([this, sha256 = std::move(sha256)](const absl::Status& status) {
    if (!status.ok()) return;
    for (const std::string& digest : sha256) options_.delete_artifact(digest);
  });
}

}  // namespace saffron
