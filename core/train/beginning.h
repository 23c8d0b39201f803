#pragma once
// Where a trial begins: at parameters that are solved or drawn as its variant says, at those of
// another trial's model (TrainerEnv::init_from), or where a run of its own was interrupted, which
// wins over the other two.
//
// A transformer of another size is grown (core/derive), exactly or not at all. The optimiser's
// state may go along: its moments, moved with their tensors, and the number of steps that it
// counts. The trial's own steps, schedule, batches and draws begin at 0.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/derive/derive.h"
#include "core/optim/optimizer.h"
#include "core/train/trial_model.h"

namespace saffron {

class Beginning {
 public:
  // Reads and grows what there is to begin with. FAILED_PRECONDITION, naming what is wrong and what
  // to do: there is no such checkpoint; it is of another kind of model, vocabulary or shape; it
  // cannot be grown exactly (with the measured change). DATA_LOSS: it cannot be read.
  static absl::StatusOr<Beginning> Find(const ResolvedVariant& variant, uint64_t seed,
                                        const std::string& data_fingerprint, const TrainerEnv& env);

  // The trial's inputs know these.
  bool given() const { return given_; }
  const std::string& shape() const { return shape_; }
  const std::string& init() const { return init_; }

  // Puts another trial's model into the parameters; nothing to do for other beginnings.
  // FAILED_PRECONDITION: the model has other tensors.
  absl::Status Fill(Trainable& model) const;
  // The same of the optimiser's state; `optimizer` is prepared.
  absl::Status Carry(Optimizer<float>& optimizer);
  // Adds "init/...".
  void Describe(std::map<std::string, double>* metrics) const;

 private:
  // The two that there are beside the variant's own.
  absl::Status FindOwn(const std::string& path, const StartFrom& from);
  absl::Status FindParents(const ResolvedVariant& variant, uint64_t seed,
                           const std::string& data_fingerprint, const StartFrom& from);
  void Note(const std::string& metric, double value);

  bool given_ = false;
  std::string shape_;
  std::string init_;                             // says what the metrics are
  std::shared_ptr<const SafetensorsFile> file_;  // of another trial
  std::vector<float> grown_;                     // of a transformer, as its arena has them
  std::vector<StoredState> state_;
  int64_t optimizer_steps_ = 0;
  std::map<std::string, double> metrics_;
};

}  // namespace saffron
