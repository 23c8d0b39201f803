#include "core/train/fused_file.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/derive/growable_file.h"
#include "core/model/variant.h"
#include "core/train/stored_model.h"
#include "core/train/training_state.h"
#include "core/transformer/kind_names.h"
#include "core/transformer/mlp_classifier.h"
#include "core/transformer/shape_json.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using nlohmann::json;

struct Parent {
  std::string path, sha256;
  CheckpointHeader header;
  std::map<std::string, std::string> metadata;
  bool transformer = false;
  TransformerShape shape;  // of a transformer
  std::vector<ParameterTensor> layout;
  NamedMatrices tensors;
};

// An MLP classifier's inputs and classes are those of its data: only its tensors say them.
absl::Status ReadMlp(const Safetensors& file, const ResolvedVariant& variant, Parent* parent) {
  const auto layers = static_cast<int>(variant.Int("model.layers"));
  ASSIGN_OR_RETURN(const TensorBytes first, file.Tensor(layers > 0 ? "layers.0.w1" : "readout"));
  ASSIGN_OR_RETURN(const TensorBytes last, file.Tensor("readout"));
  if (first.shape.size() != 2 || last.shape.size() != 2) {
    return absl::InvalidArgumentError("layers.0.w1 and readout: want matrices");
  }
  parent->layout = MlpTensors({.inputs = static_cast<int>(first.shape[0]),
                               .classes = static_cast<int>(last.shape[1]),
                               .layers = layers,
                               .width = static_cast<int>(variant.Int("model.hidden_width")),
                               .kind = KindOf<MlpKind>(variant.String("model.mlp"))});
  return absl::OkStatus();
}

absl::Status ReadParent(const Safetensors& file, Parent* parent) {
  ASSIGN_OR_RETURN(parent->header, ReadCheckpointHeader(file));
  parent->metadata = file.metadata();
  ASSIGN_OR_RETURN(const ResolvedVariant variant, ResolvedVariant::Resolve(parent->header.params));
  parent->header.params = variant.params();
  const std::string& type = variant.String("model.type");
  parent->transformer = type == "transformer";
  if (parent->transformer) {
    ASSIGN_OR_RETURN(parent->shape, ReadShape(file));
    parent->layout = LayOut(parent->shape).tensors;
  } else if (type == "mlp") {
    RETURN_IF_ERROR(ReadMlp(file, variant, parent));
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "model.type: want mlp or transformer, whose units can be matched, got ", type));
  }
  for (const ParameterTensor& tensor : parent->layout) {
    std::vector<int64_t> shape = {tensor.rows, tensor.cols};
    if (tensor.role == TensorRole::kVector) shape = {tensor.cols};
    ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloats(file, tensor.name, shape));
    Matrix<double>& matrix = parent->tensors[tensor.name];
    matrix.resize(tensor.rows, tensor.cols);
    std::copy(values.begin(), values.end(), matrix.data());
    if (matrix.allFinite()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", tensor.name,
                     ": want numbers that are finite; a model that diverged has others"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Parent> OpenParent(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  Parent parent;
  parent.path = path;
  parent.sha256 = Sha256Hex(file->bytes());
  const absl::Status read = ReadParent(file->content(), &parent);
  if (read.ok()) return parent;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", read.message()));
}

// Only transformers grow.
bool HasGrown(const Parent& parent) {
  return parent.transformer && parent.metadata.count("derived") > 0;
}

// Whether two models that may be fused have the same value under this key of their variants.
bool MustAgree(const std::string& key, bool grown) {
  static const auto* const of_training =
      new std::set<std::string>{"model.dropout", "model.expert_dropout", "model.router_jitter",
                                "model.balance", "model.router_z"};
  if (absl::StartsWith(key, "data.") || key == "model.type") return true;
  // What a model grew to stands in its shape, not in the keys of the trial that it comes from.
  return absl::StartsWith(key, "model.") && !grown && of_training->count(key) == 0;
}

absl::Status Differ(const Parent& a, const Parent& b, const std::string& key,
                    const std::string& of_a, const std::string& of_b) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": want the same in both models, got ", of_a,
                                                 " in ", a.path, " and ", of_b, " in ", b.path));
}

// The fields of a shape by name ("layers.0.heads"), the order of ALiBi slopes apart.
std::map<std::string, std::string> ShapeFields(const TransformerShape& shape) {
  std::map<std::string, std::string> fields;
  const json flat = json::parse(ShapeJson(shape)).flatten();
  for (const auto& [pointer, value] : flat.items()) {
    if (absl::StrContains(pointer, "alibi_slopes")) continue;
    fields[absl::StrReplaceAll(pointer.substr(1), {{"/", "."}})] = value.dump();
  }
  return fields;
}

std::map<std::string, std::string> KeysToAgreeOn(const Parent& parent, bool grown) {
  std::map<std::string, std::string> keys;
  for (const auto& [key, value] : parent.header.params) {
    if (MustAgree(key, grown)) keys[key] = ParamValueText(value);
  }
  return keys;
}

// What both have comes first: a key that only one has is there because of another.
absl::Status CheckSame(const Parent& a, const Parent& b,
                       const std::map<std::string, std::string>& of_a,
                       const std::map<std::string, std::string>& of_b) {
  for (const auto& [key, value] : of_a) {
    const auto other = of_b.find(key);
    if (other != of_b.end() && other->second != value)
      return Differ(a, b, key, value, other->second);
  }
  for (const auto& [key, value] : of_a) {
    if (of_b.count(key) == 0) return Differ(a, b, key, value, "nothing");
  }
  for (const auto& [key, value] : of_b) {
    if (of_a.count(key) == 0) return Differ(a, b, key, "nothing", value);
  }
  return absl::OkStatus();
}

absl::Status CheckOneArchitecture(const Parent& a, const Parent& b) {
  const bool grown = HasGrown(a) || HasGrown(b);
  RETURN_IF_ERROR(CheckSame(a, b, KeysToAgreeOn(a, grown), KeysToAgreeOn(b, grown)));
  if (a.header.data_fingerprint != b.header.data_fingerprint) {
    return Differ(a, b, "data", a.header.data_fingerprint, b.header.data_fingerprint);
  }
  if (a.transformer) RETURN_IF_ERROR(CheckSame(a, b, ShapeFields(a.shape), ShapeFields(b.shape)));
  for (size_t i = 0; i < a.layout.size(); ++i) {  // of an MLP, sizes that data gives it
    const ParameterTensor &x = a.layout[i], &y = b.layout[i];
    if (x.rows == y.rows && x.cols == y.cols) continue;
    return Differ(a, b, x.name, absl::StrCat("[", x.rows, ", ", x.cols, "]"),
                  absl::StrCat("[", y.rows, ", ", y.cols, "]"));
  }
  return absl::OkStatus();
}

// All text under "sha256" and "parent" in what a file says of its past, which nests no deeper than
// this when it is ours.
void CollectDigests(const json& history, std::set<std::string>* digests, int depth = 4) {
  if (!history.is_structured() || depth == 0) return;
  for (const auto& [key, value] : history.items()) {
    if ((key == "sha256" || key == "parent") && value.is_string()) {
      digests->insert(value.get<std::string>());
    }
    CollectDigests(value, digests, depth - 1);
  }
}

std::set<std::string> Ancestors(const Parent& parent) {
  std::set<std::string> digests = {parent.sha256};
  for (const char* key : {"init_from", "derived", "fused"}) {
    const auto found = parent.metadata.find(key);
    if (found == parent.metadata.end()) continue;
    CollectDigests(json::parse(found->second, nullptr, /*allow_exceptions=*/false), &digests);
  }
  return digests;
}

// Whether both began in the same way: from the same seed, or with embeddings, which span the
// residual stream, that were solved from the data whatever the seed.
bool BeganAlike(const Parent& a, const Parent& b) {
  for (const Parent* parent : {&a, &b}) {
    for (const char* key : {"init_from", "derived", "fused"}) {
      if (parent->metadata.count(key) > 0) return false;
    }
  }
  const auto start = [](const Parent& parent) {
    Params keys;
    for (const auto& [key, value] : parent.header.params) {
      if (key == "train.init" || absl::StartsWith(key, "solve.")) keys[key] = value;
    }
    return keys;
  };
  const Params start_a = start(a);
  const auto embedding = start_a.find("solve.embedding");
  const bool solved =
      embedding != start_a.end() && embedding->second != ParamValue(std::string("random"));
  return (solved || a.header.seed == b.header.seed) && start_a == start(b);
}

std::string DoubtOf(const Parent& a, const Parent& b) {
  if (!a.transformer || BeganAlike(a, b)) return "";
  const std::set<std::string> of_a = Ancestors(a), of_b = Ancestors(b);
  for (const std::string& digest : of_a) {
    if (of_b.count(digest) > 0) return "";
  }
  return absl::StrCat(
      "nothing in the files says that these transformers began as one (seeds ", a.header.seed,
      " and ", b.header.seed,
      ", no checkpoint that both come from): units, heads and experts are matched, the residual "
      "stream between them is not, and in models that began apart it has little in common");
}

std::vector<float> Mix(const std::vector<ParameterTensor>& layout, const NamedMatrices& a,
                       const NamedMatrices& b, double weight) {
  std::vector<float> mixed;
  for (const ParameterTensor& tensor : layout) {
    const Matrix<double> sum = (1 - weight) * a.at(tensor.name) + weight * b.at(tensor.name);
    mixed.insert(mixed.end(), sum.data(), sum.data() + sum.size());
  }
  return mixed;
}

double Distance(const NamedMatrices& a, const NamedMatrices& b) {
  double squares = 0;
  for (const auto& [name, tensor] : a) squares += (tensor - b.at(name)).squaredNorm();
  return std::sqrt(squares);
}

json AsJson(const Parent& parent) {
  return {{"sha256", parent.sha256}, {"seed", parent.header.seed}, {"step", parent.header.step}};
}

}  // namespace

absl::StatusOr<FusedModel> FuseFiles(const std::string& path_a, const std::string& path_b,
                                     double weight) {
  if (!(weight >= 0 && weight <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("weight: want 0 to 1, got ", weight));
  }
  ASSIGN_OR_RETURN(Parent a, OpenParent(path_a));
  ASSIGN_OR_RETURN(const Parent b, OpenParent(path_b));
  RETURN_IF_ERROR(CheckOneArchitecture(a, b));
  FusedModel model;
  model.layout = b.layout;
  model.average = Mix(b.layout, a.tensors, b.tensors, weight);
  model.distance = Distance(a.tensors, b.tensors);
  model.doubt = DoubtOf(a, b);
  if (a.transformer) {
    RETURN_IF_ERROR(AlignTransformer(a.shape, b.shape, b.tensors, &a.tensors, &model.aligned));
  } else {
    model.aligned = AlignMlpClassifier(b.tensors, &a.tensors);
  }
  model.fused = Mix(b.layout, a.tensors, b.tensors, weight);
  model.distance_aligned = Distance(a.tensors, b.tensors);

  model.metadata = b.metadata;
  for (const char* key : {"progress", "curve_keys", "optimizer_steps"}) model.metadata.erase(key);
  model.metadata["content"] = "model";
  model.metadata["fused"] = json{
      {"weight", weight},
      {"a", AsJson(a)},
      {"b", AsJson(b)},
      {"units", model.aligned.units},
      {"moved",
       model.aligned.moved}}.dump();
  return model;
}

absl::StatusOr<FusionMetrics> MeasureFusion(const std::string& a, const std::string& b,
                                            const FusedModel& model, const TrainerEnv& env) {
  FusionMetrics metrics;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> stored, StoredModel::Open(a, env));
    ASSIGN_OR_RETURN(metrics["a"], stored->Evaluate(Split::kValid));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> stored, StoredModel::Open(b, env));
  ASSIGN_OR_RETURN(metrics["b"], stored->Evaluate(Split::kValid));
  stored->TakeParameters(model.average);
  ASSIGN_OR_RETURN(metrics["average"], stored->Evaluate(Split::kValid));
  stored->TakeParameters(model.fused);
  ASSIGN_OR_RETURN(metrics["fused"], stored->Evaluate(Split::kValid));
  return metrics;
}

absl::StatusOr<WrittenFile> WriteFused(const std::string& to, const FusedModel& model,
                                       const FusionMetrics& measured) {
  std::map<std::string, std::string> metadata = model.metadata;
  if (!measured.empty()) {
    json fused = json::parse(metadata.at("fused"));
    fused["measured"] = measured;
    metadata["fused"] = fused.dump();
  }
  TensorList list;
  AddTensors("", model.layout, model.fused, &list);
  return WriteSafetensors(to, metadata, std::move(list.tensors));
}

}  // namespace saffron
