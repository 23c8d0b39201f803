#include "core/train/beginning.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/derive/carry_state.h"
#include "core/derive/growable_file.h"
#include "core/derive/verify.h"
#include "core/train/start_rules.h"
#include "core/train/training_state.h"
#include "core/train/variant_shape.h"
#include "core/transformer/shape_json.h"
#include "core/transformer/transformer_init.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using nlohmann::json;

constexpr char kInit[] = "init_from", kMetrics[] = "metrics";

bool HasSteps(const ResolvedVariant& variant) {
  return variant.Has("train.steps") && variant.Int("train.steps") >= 1;
}

// What a run's state must agree with.
json Wanted(const StartFrom& from) {
  return {{"derive", absl::StrJoin(from.derive, ",")},
          {"state", from.keep_state ? "keep" : "reset"}};
}

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const std::string& path) {
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(path);
  if (!file.ok()) return absl::DataLossError(file.status().message());
  return std::shared_ptr<const SafetensorsFile>(*std::move(file));
}

absl::Status Refuse(const absl::Status& why) {
  return absl::FailedPreconditionError(absl::StrCat("init_from: ", why.message()));
}

// A transformer as the variant wants it, out of its parent's file.
struct Grown {
  GrowableModel model;
  DerivationReport report;
};

absl::StatusOr<Grown> Grow(const Safetensors& file, const StartFrom& from,
                           const ResolvedVariant& variant, uint64_t seed) {
  ASSIGN_OR_RETURN(GrowableModel parent, ReadGrowable(file));
  if (!from.keep_state) parent.state.clear();
  ASSIGN_OR_RETURN(const std::vector<DeriveOp> ops, PlanGrowth(parent.shape, variant, from.derive));
  Grown grown;
  if (ops.empty()) {
    grown.model = parent;
  } else {
    ASSIGN_OR_RETURN(Derivation derivation, DeriveAndVerify(parent, ops, DrawTransformer, seed));
    grown.model = std::move(derivation.child);
    grown.report = std::move(derivation.report);
  }
  const std::string exact = ShapeJson(grown.model.shape);
  ASSIGN_OR_RETURN(grown.model.shape, AdaptShape(grown.model.shape, variant, HowGrown(ops)));
  // What the variant says otherwise of routers that the parent had may change what they do. That is
  // what its keys ask for; what is told of it is the model that will be trained.
  if (ShapeJson(grown.model.shape) != exact) {
    ASSIGN_OR_RETURN(grown.report, MeasureChange(parent, grown.model));
  }
  return grown;
}

}  // namespace

absl::Status Beginning::FindOwn(const std::string& path, const StartFrom& from) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const SafetensorsFile> file, Open(path));
  const Safetensors& content = file->content();
  const absl::StatusOr<std::string> text = content.Metadata(kInit);
  const json init = json::parse(text.ok() ? *text : "", nullptr, /*allow_exceptions=*/false);
  if (!init.is_object() || !init.contains(kMetrics) || !init[kMetrics].is_object()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": it belongs to a trial that starts from no other"));
  }
  const json all = Wanted(from);
  for (const auto& [key, wanted] : all.items()) {
    if (init.contains(key) && init[key] == wanted) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": it belongs to another trial: its init_from.", key, " is not ", wanted.dump()));
  }
  for (const auto& [key, value] : init[kMetrics].items()) {
    if (value.is_number()) metrics_[key] = value.get<double>();
  }
  init_ = *text;
  given_ = true;
  if (content.metadata().count("shape") == 0) return absl::OkStatus();
  const absl::StatusOr<TransformerShape> shape = ReadShape(content);
  if (!shape.ok()) return absl::DataLossError(absl::StrCat(path, ": ", shape.status().message()));
  shape_ = content.metadata().at("shape");
  return absl::OkStatus();
}

absl::Status Beginning::FindParents(const ResolvedVariant& variant, uint64_t seed,
                                    const std::string& data_fingerprint, const StartFrom& from) {
  if (from.path.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("init_from: ", from.missing));
  }
  ASSIGN_OR_RETURN(file_, Open(from.path));
  const Safetensors& content = file_->content();
  const absl::StatusOr<CheckpointHeader> header = ReadCheckpointHeader(content);
  if (!header.ok()) {
    return absl::DataLossError(absl::StrCat(from.path, ": ", header.status().message()));
  }
  if (header->data_fingerprint != data_fingerprint) {
    return Refuse(absl::FailedPreconditionError(
        absl::StrCat("data.corpus: the parent's had the fingerprint ", header->data_fingerprint,
                     ", here it is ", data_fingerprint, "; run the parent again")));
  }
  const absl::StatusOr<ResolvedVariant> parent = ResolvedVariant::Resolve(header->params);
  if (!parent.ok()) return Refuse(parent.status());
  if (const absl::Status fits = CheckStart(*parent, variant, from.derive); !fits.ok()) {
    return Refuse(fits);
  }
  given_ = true;
  json init = Wanted(from);
  init["sha256"] = from.sha256;
  init[kMetrics] = json::object();
  init_ = init.dump();
  Note("init/step", static_cast<double>(header->step));
  Note("init/state_arrays", 0);
  optimizer_steps_ = header->optimizer_steps;
  if (variant.String("model.type") == "transformer") {
    absl::StatusOr<Grown> grown = Grow(content, from, variant, seed);
    if (!grown.ok()) return Refuse(grown.status());
    shape_ = ShapeJson(grown->model.shape);
    grown_.assign(grown->model.parameters.begin(), grown->model.parameters.end());
    state_ = std::move(grown->model.state);
    Note("init/max_change", grown->report.max_change);
    Note("init/max_change_float", grown->report.max_change_float);
  } else if (from.keep_state) {
    ASSIGN_OR_RETURN(state_, ReadStoredState(content));
  }
  return absl::OkStatus();
}

void Beginning::Note(const std::string& metric, double value) {
  metrics_[metric] = value;
  json init = json::parse(init_);
  init[kMetrics][metric] = value;
  init_ = init.dump();
}

absl::StatusOr<Beginning> Beginning::Find(const ResolvedVariant& variant, uint64_t seed,
                                          const std::string& data_fingerprint,
                                          const TrainerEnv& env) {
  Beginning beginning;
  if (!env.init_from.has_value()) return beginning;
  const bool resumes = HasSteps(variant) && !env.resume_from.empty();
  RETURN_IF_ERROR(resumes ? beginning.FindOwn(env.resume_from, *env.init_from)
                          : beginning.FindParents(variant, seed, data_fingerprint, *env.init_from));
  return beginning;
}

absl::Status Beginning::Fill(Trainable& model) const {
  ParameterArena<float>& arena = model.arena();
  if (!grown_.empty()) {
    std::copy(grown_.begin(), grown_.end(), arena.parameters().begin());
  } else if (file_ != nullptr) {
    const absl::Status read = ReadModel(file_->content(), arena);
    if (!read.ok()) return Refuse(read);
  } else {
    return absl::OkStatus();
  }
  model.ArenaRestored();
  return absl::OkStatus();
}

absl::Status Beginning::Carry(Optimizer<float>& optimizer) {
  if (state_.empty()) return absl::OkStatus();
  const absl::StatusOr<int64_t> carried = CarryState(state_, optimizer_steps_, optimizer);
  if (!carried.ok()) return Refuse(carried.status());
  Note("init/state_arrays", static_cast<double>(*carried));
  return absl::OkStatus();
}

void Beginning::Describe(std::map<std::string, double>* metrics) const {
  metrics->insert(metrics_.begin(), metrics_.end());
}

}  // namespace saffron
