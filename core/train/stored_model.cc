#include "core/train/stored_model.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/derive/growable_file.h"
#include "core/train/score_metrics.h"
#include "core/train/trial_families.h"

namespace saffron {

namespace {

// What a transformer's file says so that it predicts alone; nullopt where the data must say it.
std::optional<int32_t> EodOf(const Safetensors& file) {
  const auto found = file.metadata().find("eod");
  int32_t eod = 0;
  if (found == file.metadata().end() || !absl::SimpleAtoi(found->second, &eod)) return std::nullopt;
  return eod;
}

absl::Status LoadData(const std::string& path, const TrialInputs& inputs, TrialModel& model) {
  const absl::Status loaded = model.Load(inputs);
  if (!absl::IsNotFound(loaded)) return loaded;
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": this needs the corpus that the model was trained on (data.corpus ",
                   inputs.variant.String("data.corpus"), ", fingerprint ",
                   inputs.data_fingerprint.substr(0, 12), "): ", loaded.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoredModel>> StoredModel::Open(const std::string& path,
                                                               const TrainerEnv& env,
                                                               Purpose purpose) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  const auto refuse = [&](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", status.message()));
  };
  std::unique_ptr<StoredModel> stored(new StoredModel());
  absl::StatusOr<CheckpointHeader> header = ReadCheckpointHeader(file->content());
  if (!header.ok()) return refuse(header.status());
  stored->header_ = *std::move(header);
  const absl::StatusOr<ResolvedVariant> variant = ResolvedVariant::Resolve(stored->header_.params);
  if (!variant.ok()) return refuse(variant.status());
  stored->model_ = MakeTrialModel(*variant);
  if (stored->model_ == nullptr) return refuse(absl::InvalidArgumentError("has no model"));
  // What grew has a shape of its own; its variant is that of the trial it comes from.
  const auto shape = file->content().metadata().find("shape");
  const bool has_shape = shape != file->content().metadata().end();
  if (has_shape) {
    if (const auto read = ReadShape(file->content()); !read.ok()) return refuse(read.status());
  }
  TrialInputs inputs{
      *variant,  stored->header_.seed,          stored->header_.data_fingerprint, env,
      has_shape, has_shape ? shape->second : ""};
  if (purpose == Purpose::kPredict && has_shape && variant->String("model.type") == "transformer") {
    inputs.eod = EodOf(file->content());
  }
  stored->purpose_ = purpose;
  if (!inputs.eod.has_value()) RETURN_IF_ERROR(LoadData(path, inputs, *stored->model_));
  if (const absl::Status started = stored->model_->Start(inputs); !started.ok()) {
    return inputs.eod.has_value() ? refuse(started) : started;
  }
  Trainable* const trainable = stored->model_->trainable();
  if (trainable == nullptr) return refuse(absl::InvalidArgumentError("its model is not trained"));
  if (const absl::Status read = ReadModel(file->content(), trainable->arena()); !read.ok()) {
    return refuse(read);
  }
  trainable->ArenaRestored();
  return stored;
}

void StoredModel::TakeParameters(absl::Span<const float> parameters) {
  const absl::Span<float> to = model_->trainable()->arena().parameters();
  CHECK(parameters.size() == to.size()) << parameters.size() << " parameters for " << to.size();
  std::copy(parameters.begin(), parameters.end(), to.begin());
  model_->trainable()->ArenaRestored();
}

absl::StatusOr<std::map<std::string, double>> StoredModel::Evaluate(Split split) {
  CHECK(purpose_ == Purpose::kMeasure) << "opened to predict";
  ASSIGN_OR_RETURN(const Score score, model_->Evaluate(split));
  std::map<std::string, double> metrics;
  AddScore(SplitName(split), score, &metrics);
  return metrics;
}

}  // namespace saffron
