#include "core/train/training_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/numerics_version.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/model/own_numerics.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using nlohmann::json;

constexpr char kAveragePrefix[] = "average/", kBestPrefix[] = "best/",
               kBestUnaveragedPrefix[] = "best_unaveraged/";

std::string StatePrefix(const StateArray<float>& array) {
  return absl::StrCat("optimizer.", array.slot, "/");
}

// A value of a type that JSON tells apart; NOT of a list, object or null.
absl::StatusOr<ParamValue> ParamOf(const std::string& key, const json& value) {
  if (value.is_boolean()) return ParamValue(value.get<bool>());
  if (value.is_number_integer()) return ParamValue(value.get<int64_t>());
  if (value.is_number_float()) return ParamValue(value.get<double>());
  if (value.is_string()) return ParamValue(value.get<std::string>());
  return absl::InvalidArgumentError(absl::StrCat("\"variant\": ", key, " has no plain value"));
}

std::string JsonOf(const ResolvedVariant& variant) {
  std::string text = "{";
  for (const auto& [key, value] : variant.params()) {
    absl::StrAppend(&text, text.size() > 1 ? "," : "", "\"", key, "\":", ParamValueText(value));
  }
  return text + "}";
}

template <typename T>
absl::StatusOr<T> WholeNumber(const Safetensors& file, const char* key) {
  absl::StatusOr<std::string> text = file.Metadata(key);
  T value;
  if (!text.ok() || !absl::SimpleAtoi(*text, &value)) {
    return absl::InvalidArgumentError(absl::StrCat("want a number as \"", key, "\""));
  }
  return value;
}

// "learning curve" as three tensors and the list of its keys.
struct CurveTensors {
  explicit CurveTensors(const std::vector<Measurement>& curve) {
    for (const Measurement& m : curve) {
      const auto found = std::find(keys.begin(), keys.end(), m.key);
      key.push_back(found - keys.begin());
      if (found == keys.end()) keys.push_back(m.key);
      step.push_back(m.step);
      value.push_back(m.value);
    }
  }
  std::vector<std::string> keys;
  std::vector<int64_t> key, step;
  std::vector<double> value;
};

absl::StatusOr<std::vector<Measurement>> ReadCurve(const Safetensors& file) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> key, ReadIntegers(file, "curve.key"));
  ASSIGN_OR_RETURN(const std::vector<int64_t> step, ReadIntegers(file, "curve.step"));
  ASSIGN_OR_RETURN(const std::vector<double> value, ReadDoubles(file, "curve.value"));
  ASSIGN_OR_RETURN(const std::string text, file.Metadata("curve_keys"));
  const json keys = json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<Measurement> curve;
  bool holds = keys.is_array() && key.size() == step.size() && key.size() == value.size();
  for (size_t i = 0; holds && i < key.size(); ++i) {
    holds = key[i] >= 0 && static_cast<size_t>(key[i]) < keys.size() && keys[key[i]].is_string();
    if (holds) curve.push_back({keys[key[i]].get<std::string>(), step[i], value[i]});
  }
  if (!holds) return absl::InvalidArgumentError("its learning curve does not hold together");
  return curve;
}

// The fields of a TrainingState that are single numbers, by name.
template <typename State, typename Visit>
void VisitNumbers(State& s, Visit visit) {
  visit("evaluated_targets", s.evaluated_targets);
  visit("train_loss", s.train_loss);
  visit("loss_sum", s.loss_sum);
  visit("losses", s.losses);
  visit("train_seconds", s.train_seconds);
  visit("evaluate_seconds", s.evaluate_seconds);
  visit("best_step", s.best_step);
  visit("best_nats", s.best_nats);
  visit("evaluations_since", s.evaluations_since);
}

absl::Status ReadProgress(const Safetensors& file, TrainingState* state) {
  ASSIGN_OR_RETURN(const std::string text, file.Metadata("progress"));
  const json progress = json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::string missing;
  VisitNumbers(*state, [&](const char* name, auto& field) {
    const auto found = progress.is_object() ? progress.find(name) : progress.end();
    using Number = std::decay_t<decltype(field)>;
    const bool fits =
        found != progress.end() &&
        (std::is_same_v<Number, int64_t> ? found->is_number_integer() : found->is_number());
    if (!fits) {
      missing = name;
    } else {
      field = found->template get<Number>();
    }
  });
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"progress\" has no number \"", missing, "\""));
}

// Whether `header` is of the trial that `inputs` describe.
absl::Status CheckSameTrial(const CheckpointHeader& header, const TrialInputs& inputs) {
  const auto differs = [](const std::string& what, const std::string& theirs,
                          const std::string& ours) {
    return absl::FailedPreconditionError(absl::StrCat("it belongs to another trial: its ", what,
                                                      " is ", theirs, ", here it is ", ours));
  };
  ASSIGN_OR_RETURN(const ResolvedVariant variant, ResolvedVariant::Resolve(header.params));
  if (variant.CanonicalText() != inputs.variant.CanonicalText()) {
    for (const auto& [key, value] : inputs.variant.params()) {
      const auto theirs = variant.params().find(key);
      if (theirs == variant.params().end()) return differs(key, "not set", ParamValueText(value));
      if (theirs->second == value) continue;
      return differs(key, ParamValueText(theirs->second), ParamValueText(value));
    }
    return differs("variant", "larger", "smaller");
  }
  if (header.seed != inputs.seed) {
    return differs("seed", absl::StrCat(header.seed), absl::StrCat(inputs.seed));
  }
  if (header.data_fingerprint != inputs.data_fingerprint) {
    return differs("data fingerprint", header.data_fingerprint, inputs.data_fingerprint);
  }
  if (header.numerics == kNumericsVersion) return absl::OkStatus();
  return differs("numerics version", absl::StrCat(header.numerics), absl::StrCat(kNumericsVersion));
}

std::map<std::string, std::string> MetadataOf(const TrialInputs& inputs, const Trainable& model,
                                              const std::string& content, int64_t step) {
  std::map<std::string, std::string> metadata = TrialMetadata(inputs, content, step);
  if (const std::string shape = model.shape(); !shape.empty()) metadata["shape"] = shape;
  if (const auto eod = model.eod(); eod.has_value()) metadata["eod"] = absl::StrCat(*eod);
  return metadata;
}

absl::StatusOr<TrainingState> ReadState(const Safetensors& file, const TrialInputs& inputs,
                                        RunMemory memory) {
  ASSIGN_OR_RETURN(const CheckpointHeader header, ReadCheckpointHeader(file));
  RETURN_IF_ERROR(CheckSameTrial(header, inputs));
  for (const auto& [key, version] : OwnNumerics(inputs.variant.params())) {
    const absl::StatusOr<std::string> theirs = file.Metadata(key);
    if (theirs.ok() && *theirs == ParamValueText(version)) continue;
    return absl::FailedPreconditionError(absl::StrCat("it belongs to another trial: its ", key,
                                                      " is ", theirs.ok() ? *theirs : "1",
                                                      ", here it is ", ParamValueText(version)));
  }
  if (header.content != "state") {
    return absl::InvalidArgumentError(
        absl::StrCat("holds a ", header.content, ", not the state of a run"));
  }
  TrainingState state;
  state.step = header.step;
  if (state.step < 0 || state.step > inputs.variant.Int("train.steps")) {
    return absl::InvalidArgumentError(absl::StrCat("step ", state.step, " is none of the run's"));
  }
  state.optimizer_steps = header.optimizer_steps;
  RETURN_IF_ERROR(ReadProgress(file, &state));
  ASSIGN_OR_RETURN(state.curve, ReadCurve(file));
  ParameterArena<float>& arena = memory.model.arena();
  const std::vector<ParameterTensor>& layout = arena.tensors();
  RETURN_IF_ERROR(ReadTensors(file, "", layout, arena.parameters()));
  for (const StateArray<float>& array : memory.optimizer.State()) {
    RETURN_IF_ERROR(ReadTensors(file, StatePrefix(array), {array.tensor}, array.values));
  }
  if (!memory.average.empty()) {
    RETURN_IF_ERROR(ReadTensors(file, kAveragePrefix, layout, memory.average));
  }
  const bool has_best = !layout.empty() && file.tensors().count(kBestPrefix + layout[0].name) > 0;
  if (has_best) {
    state.best_parameters.resize(arena.parameters().size());
    RETURN_IF_ERROR(ReadTensors(file, kBestPrefix, layout, absl::MakeSpan(state.best_parameters)));
  }
  if (has_best && !memory.average.empty()) {
    state.best_unaveraged.resize(arena.parameters().size());
    RETURN_IF_ERROR(
        ReadTensors(file, kBestUnaveragedPrefix, layout, absl::MakeSpan(state.best_unaveraged)));
  }
  return state;
}

}  // namespace

absl::StatusOr<Params> ParamsFromJson(const std::string& text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("\"variant\" is not a JSON object");
  Params params;
  for (const auto& [key, value] : object.items()) {
    ASSIGN_OR_RETURN(params[key], ParamOf(key, value));
  }
  return params;
}

std::map<std::string, std::string> TrialMetadata(const TrialInputs& inputs,
                                                 const std::string& content, int64_t step) {
  std::map<std::string, std::string> metadata = {{"format", "saffron"},
                                                 {"content", content},
                                                 {"variant", JsonOf(inputs.variant)},
                                                 {"seed", absl::StrCat(inputs.seed)},
                                                 {"data", inputs.data_fingerprint},
                                                 {"numerics", absl::StrCat(kNumericsVersion)},
                                                 {"step", absl::StrCat(step)}};
  for (const auto& [key, version] : OwnNumerics(inputs.variant.params())) {
    metadata[key] = ParamValueText(version);
  }
  if (inputs.init != nullptr && !inputs.init->empty()) metadata["init_from"] = *inputs.init;
  return metadata;
}

absl::StatusOr<CheckpointHeader> ReadCheckpointHeader(const Safetensors& file) {
  const absl::StatusOr<std::string> format = file.Metadata("format");
  if (!format.ok() || *format != "saffron") {
    return absl::InvalidArgumentError("no checkpoint of this program (no \"format\" of saffron)");
  }
  CheckpointHeader header;
  ASSIGN_OR_RETURN(const std::string variant, file.Metadata("variant"));
  ASSIGN_OR_RETURN(header.params, ParamsFromJson(variant));
  ASSIGN_OR_RETURN(header.seed, WholeNumber<uint64_t>(file, "seed"));
  ASSIGN_OR_RETURN(header.data_fingerprint, file.Metadata("data"));
  ASSIGN_OR_RETURN(header.numerics, WholeNumber<int>(file, "numerics"));
  ASSIGN_OR_RETURN(header.content, file.Metadata("content"));
  ASSIGN_OR_RETURN(header.step, WholeNumber<int64_t>(file, "step"));
  header.optimizer_steps = header.step;
  if (file.Metadata("optimizer_steps").ok()) {
    ASSIGN_OR_RETURN(header.optimizer_steps, WholeNumber<int64_t>(file, "optimizer_steps"));
  }
  return header;
}

absl::StatusOr<WrittenFile> WriteTrainingState(const std::string& path, const TrialInputs& inputs,
                                               const TrainingState& state, RunMemory memory) {
  std::map<std::string, std::string> metadata =
      MetadataOf(inputs, memory.model, "state", state.step);
  metadata["optimizer_steps"] = absl::StrCat(state.optimizer_steps);
  json progress = json::object();
  VisitNumbers(state, [&](const char* name, const auto& field) { progress[name] = field; });
  metadata["progress"] = progress.dump();
  const CurveTensors curve(state.curve);
  metadata["curve_keys"] = json(curve.keys).dump();

  TensorList list;
  const std::vector<ParameterTensor>& layout = memory.model.arena().tensors();
  AddTensors("", layout, memory.model.arena().parameters(), &list);
  for (const StateArray<float>& array : memory.optimizer.State()) {
    AddTensors(StatePrefix(array), {array.tensor}, array.values, &list);
  }
  if (!memory.average.empty()) AddTensors(kAveragePrefix, layout, memory.average, &list);
  if (!state.best_parameters.empty()) {
    AddTensors(kBestPrefix, layout, state.best_parameters, &list);
  }
  if (!state.best_unaveraged.empty()) {
    AddTensors(kBestUnaveragedPrefix, layout, state.best_unaveraged, &list);
  }
  const int64_t points = static_cast<int64_t>(curve.key.size());
  list.tensors.push_back({"curve.key", TensorOf(curve.key, {points})});
  list.tensors.push_back({"curve.step", TensorOf(curve.step, {points})});
  list.tensors.push_back({"curve.value", TensorOf(curve.value, {points})});
  return WriteSafetensors(path, metadata, std::move(list.tensors));
}

absl::StatusOr<WrittenFile> WriteModel(const std::string& path, const TrialInputs& inputs,
                                       int64_t step, Trainable& model) {
  TensorList list;
  AddTensors("", model.arena().tensors(), model.arena().parameters(), &list);
  return WriteSafetensors(path, MetadataOf(inputs, model, "model", step), std::move(list.tensors));
}

absl::Status ReadModel(const Safetensors& file, ParameterArena<float>& arena) {
  return ReadTensors(file, "", arena.tensors(), arena.parameters());
}

absl::StatusOr<TrainingState> ReadTrainingState(const std::string& path, const TrialInputs& inputs,
                                                RunMemory memory) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  absl::StatusOr<TrainingState> state = ReadState(file->content(), inputs, memory);
  if (state.ok()) return state;
  // What is missing from a file makes it a wrong file, not a missing one.
  const absl::StatusCode code =
      absl::IsNotFound(state.status()) ? absl::StatusCode::kInvalidArgument : state.status().code();
  return absl::Status(code, absl::StrCat(path, ": ", state.status().message()));
}

}  // namespace saffron
