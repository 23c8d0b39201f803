#include "core/derive/growable_file.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/transformer/shape_json.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using nlohmann::json;

constexpr char kStatePrefix[] = "optimizer.";

StateKind KindOfSlot(const std::string& slot) {
  if (slot == "v" || slot == "row" || slot == "column") return StateKind::kSecond;
  if (slot == "update") return StateKind::kUpdate;
  return StateKind::kFirst;  // m, momentum
}

std::vector<double> ToDouble(absl::Span<const float> values) {
  return {values.begin(), values.end()};
}
std::vector<float> ToFloat(absl::Span<const double> values) {
  return {values.begin(), values.end()};
}

// The parent's history with one more entry.
absl::StatusOr<std::string> History(const Safetensors& parent, json entry) {
  json history = json::array();
  if (const auto text = parent.Metadata("derived"); text.ok()) {
    history = json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!history.is_array()) return absl::InvalidArgumentError("\"derived\" is no list");
  }
  history.push_back(std::move(entry));
  return history.dump();
}

absl::StatusOr<WrittenFile> WriteGrown(const std::string& to, const GrowableModel& model,
                                       std::map<std::string, std::string> metadata) {
  metadata["shape"] = ShapeJson(model.shape);
  metadata["content"] = "model";
  TensorList list;
  const std::vector<float> parameters = ToFloat(model.parameters);
  AddTensors("", LayOut(model.shape).tensors, parameters, &list);
  std::map<std::string, TensorRole> roles;
  for (const ParameterTensor& tensor : LayOut(model.shape).tensors) {
    roles[tensor.name] = tensor.role;
  }
  for (const StoredState& state : model.state) {
    const ParameterTensor view = {.name = state.tensor,
                                  .rows = state.matrix.rows,
                                  .cols = state.matrix.cols,
                                  .role = roles.at(state.tensor)};
    const std::vector<float>& values = list.copies.emplace_back(ToFloat(state.matrix.values));
    AddTensors(absl::StrCat(kStatePrefix, state.slot, "/"), {view}, values, &list);
  }
  return WriteSafetensors(to, metadata, std::move(list.tensors));
}

}  // namespace

absl::StatusOr<std::vector<StoredState>> ReadStoredState(const Safetensors& file) {
  // "optimizer.m/layers.0.attn.wq" is state m of that tensor; other names are none.
  std::vector<StoredState> states;
  for (const auto& [name, tensor] : file.tensors()) {
    absl::string_view rest = name;
    const size_t slash = rest.find('/');
    if (!absl::ConsumePrefix(&rest, kStatePrefix) || slash == absl::string_view::npos) continue;
    StoredState state;
    state.slot = std::string(rest.substr(0, rest.find('/')));
    state.tensor = std::string(rest.substr(rest.find('/') + 1));
    state.kind = KindOfSlot(state.slot);
    if (tensor.shape.empty() || tensor.shape.size() > 2) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": want a vector or a matrix"));
    }
    state.matrix.rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
    state.matrix.cols = tensor.shape.back();
    ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloats(file, name, tensor.shape));
    state.matrix.values = ToDouble(values);
    states.push_back(std::move(state));
  }
  return states;
}

absl::StatusOr<TransformerShape> ReadShape(const Safetensors& file) {
  const absl::StatusOr<std::string> shape = file.Metadata("shape");
  if (!shape.ok()) {
    return absl::InvalidArgumentError("holds no transformer (its metadata has no \"shape\")");
  }
  ASSIGN_OR_RETURN(TransformerShape parsed, ParseShapeJson(*shape));
  // A shape from anywhere: what it says must be there before memory is taken for it. Layers have
  // their text; experts are but a number.
  for (const TransformerLayerShape& layer : parsed.layers) {
    if (static_cast<size_t>(layer.moe.experts) <= file.tensors().size()) continue;
    return absl::InvalidArgumentError(absl::StrCat("its shape has a layer of ", layer.moe.experts,
                                                   " experts, the file ", file.tensors().size(),
                                                   " tensors"));
  }
  for (const ParameterTensor& tensor : LayOut(parsed).tensors) {
    const absl::StatusOr<TensorBytes> found = file.Tensor(tensor.name);
    const size_t bytes = sizeof(float) * static_cast<size_t>(tensor.size());
    if (found.ok() && found->bytes.size() == bytes) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", tensor.name, ": its shape wants ", bytes, " bytes, got ",
                     found.ok() ? absl::StrCat(found->bytes.size()) : "no such tensor"));
  }
  return parsed;
}

absl::StatusOr<GrowableModel> ReadGrowable(const Safetensors& file) {
  GrowableModel model;
  ASSIGN_OR_RETURN(model.shape, ReadShape(file));
  const TransformerLayout layout = LayOut(model.shape);
  std::vector<float> parameters(static_cast<size_t>(layout.size));
  RETURN_IF_ERROR(ReadTensors(file, "", layout.tensors, absl::MakeSpan(parameters)));
  model.parameters = ToDouble(parameters);
  ASSIGN_OR_RETURN(model.state, ReadStoredState(file));
  return model;
}

namespace {

absl::StatusOr<Derivation> Grow(const Safetensors& file, const std::vector<DeriveOp>& ops,
                                const GrowOptions& options) {
  ASSIGN_OR_RETURN(GrowableModel parent, ReadGrowable(file));
  if (!options.keep_state) parent.state.clear();
  if (ops.empty()) return Derivation{std::move(parent), {}};
  return DeriveAndVerify(parent, ops, options.fresh, options.seed);
}

absl::StatusOr<GrownFile> GrowOpen(const SafetensorsFile& file, const std::vector<DeriveOp>& ops,
                                   const GrowOptions& options, const std::string& to) {
  const Safetensors& parent = file.content();
  ASSIGN_OR_RETURN(const Derivation derivation, Grow(parent, ops, options));
  const DerivationReport& report = derivation.report;
  std::map<std::string, std::string> metadata = parent.metadata();
  ASSIGN_OR_RETURN(metadata["derived"],
                   History(parent, {{"ops", report.ops},
                                    {"seed", options.seed},
                                    {"state", derivation.child.state.empty() ? "reset" : "kept"},
                                    {"parent", Sha256Hex(file.bytes())},
                                    {"probe_tokens", report.probe_tokens},
                                    {"max_change", report.max_change},
                                    {"max_change_float", report.max_change_float},
                                    {"max_logit", report.max_logit}}));
  GrownFile grown;
  grown.report = report;
  ASSIGN_OR_RETURN(const TransformerShape shape, ParseShapeJson(parent.metadata().at("shape")));
  grown.parameters_before = LayOut(shape).size;
  grown.parameters_after = static_cast<int64_t>(derivation.child.parameters.size());
  ASSIGN_OR_RETURN(grown.written, WriteGrown(to, derivation.child, std::move(metadata)));
  return grown;
}

// Opens `from` and lets `grow` work on it; errors then name the file.
template <typename Result, typename GrowIt>
absl::StatusOr<Result> WithFile(const std::string& from, GrowIt grow) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(from));
  absl::StatusOr<Result> result = grow(*file);
  if (result.ok()) return result;
  return absl::Status(result.status().code(), absl::StrCat(from, ": ", result.status().message()));
}

}  // namespace

absl::StatusOr<Derivation> DeriveFromFile(const std::string& from, const std::vector<DeriveOp>& ops,
                                          const GrowOptions& options) {
  return WithFile<Derivation>(
      from, [&](const SafetensorsFile& file) { return Grow(file.content(), ops, options); });
}

absl::StatusOr<GrownFile> GrowFile(const std::string& from, const std::vector<DeriveOp>& ops,
                                   const GrowOptions& options, const std::string& to) {
  return WithFile<GrownFile>(
      from, [&](const SafetensorsFile& file) { return GrowOpen(file, ops, options, to); });
}

}  // namespace saffron
