#pragma once
// Leaves a trial's checkpoints where its plan says, and tells who asked for them. A checkpoint that
// cannot be written is no reason to fail.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/train/routing_file.h"
#include "core/train/training_state.h"

namespace saffron {

class CheckpointWriter {
 public:
  explicit CheckpointWriter(const TrialInputs& inputs)
      : inputs_(inputs), plan_(inputs.env.checkpoints) {}

  bool Keeps(const std::string& role) const {
    return !plan_.prefix.empty() &&
           std::find(plan_.keep.begin(), plan_.keep.end(), role) != plan_.keep.end();
  }

  // The state at its step; with a role, for good.
  void SaveState(const TrainingState& state, RunMemory memory, const std::string& role = "") const {
    const std::string path = Path(role.empty() ? absl::StrCat(state.step) : role);
    Tell(path, WriteTrainingState(path, inputs_, state, memory), state.step, role);
  }

  // What routers did, for good.
  void SaveRouting(int64_t step, const RoutingMetrics& routing) const {
    const std::string path = Path("routing");
    Tell(path, WriteRouting(path, inputs_, step, routing), step, "routing", "trace");
  }
  bool keeps_routing() const { return !plan_.prefix.empty() && plan_.keep_routing; }

  // A model for good.
  void SaveModel(const std::string& role, int64_t step, Trainable& model) const {
    const std::string path = Path(role);
    Tell(path, WriteModel(path, inputs_, step, model), step, role);
  }

 private:
  std::string Path(const std::string& name) const {
    return absl::StrCat(plan_.prefix, "-", name, ".safetensors");
  }

  void Tell(const std::string& path, const absl::StatusOr<WrittenFile>& written, int64_t step,
            const std::string& role, const std::string& kind = "checkpoint") const {
    if (!plan_.on_saved) return;
    if (!written.ok()) return plan_.on_saved(written.status());
    plan_.on_saved(SavedCheckpoint{.path = path,
                                   .sha256 = written->sha256,
                                   .bytes = written->bytes,
                                   .step = step,
                                   .kind = role.empty() ? "state" : kind,
                                   .role = role});
  }

  const TrialInputs& inputs_;
  const CheckpointPlan& plan_;
};

}  // namespace saffron
