#include "core/transformer/shape_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/transformer/kind_names.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using nlohmann::json;

// The fields of one object; `where` begins the names in errors.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

  absl::Status Read(const char* name, int* value) const {
    ASSIGN_OR_RETURN(const json* field, Find(name));
    if (!field->is_number_integer() || field->get<double>() < 0 ||
        field->get<double>() > std::numeric_limits<int>::max()) {
      return Wrong(name, "a whole number", *field);
    }
    *value = field->get<int>();
    return absl::OkStatus();
  }
  absl::Status Read(const char* name, double* value) const {
    ASSIGN_OR_RETURN(const json* field, Find(name));
    if (!field->is_number()) return Wrong(name, "a number", *field);
    *value = field->get<double>();
    return absl::OkStatus();
  }
  absl::Status Read(const char* name, bool* value) const {
    ASSIGN_OR_RETURN(const json* field, Find(name));
    if (!field->is_boolean()) return Wrong(name, "true or false", *field);
    *value = field->get<bool>();
    return absl::OkStatus();
  }
  absl::Status Read(const char* name, std::vector<double>* values) const {
    ASSIGN_OR_RETURN(const json* field, Find(name));
    if (!field->is_array()) return Wrong(name, "a list of numbers above 0", *field);
    values->clear();
    for (const json& item : *field) {
      if (!item.is_number() || !(item.get<double>() > 0) || !std::isfinite(item.get<double>())) {
        return Wrong(name, "a list of numbers above 0", item);
      }
      values->push_back(item.get<double>());
    }
    return absl::OkStatus();
  }
  template <typename Kind>
  absl::Status Read(const char* name, Kind* value) const {
    ASSIGN_OR_RETURN(const json* field, Find(name));
    std::vector<std::string> known;
    for (const auto& [text, kind] : NamesOf<Kind>()) {
      known.emplace_back(text);
      if (!field->is_string() || field->get<std::string>() != text) continue;
      *value = kind;
      return absl::OkStatus();
    }
    return Wrong(name, "one of " + absl::StrJoin(known, ", "), *field);
  }

  absl::StatusOr<const json*> Find(const char* name) const {
    const auto found = object_.is_object() ? object_.find(name) : object_.end();
    if (object_.is_object() && found != object_.end()) return &*found;
    return absl::InvalidArgumentError(absl::StrCat("shape: no field ", where_, name));
  }

 private:
  absl::Status Wrong(const char* name, const std::string& wanted, const json& got) const {
    return absl::InvalidArgumentError(
        absl::StrCat("shape: ", where_, name, ": want ", wanted, ", got ",
                     got.dump(-1, ' ', /*ensure_ascii=*/true).substr(0, 40)));
  }

  const json& object_;
  const std::string where_;
};

absl::Status ReadMoe(const Fields& fields, MoeShape* moe) {
  RETURN_IF_ERROR(fields.Read("experts", &moe->experts));
  RETURN_IF_ERROR(fields.Read("top", &moe->top));
  RETURN_IF_ERROR(fields.Read("capacity_factor", &moe->capacity_factor));
  RETURN_IF_ERROR(fields.Read("eval_capacity_factor", &moe->eval_capacity_factor));
  RETURN_IF_ERROR(fields.Read("gates", &moe->gates));
  RETURN_IF_ERROR(fields.Read("second", &moe->second));
  RETURN_IF_ERROR(fields.Read("threshold", &moe->threshold));
  RETURN_IF_ERROR(fields.Read("slots", &moe->slots));
  return fields.Read("dense", &moe->dense);
}

absl::Status ReadLayer(const Fields& fields, const std::string& name,
                       TransformerLayerShape* layer) {
  for (const auto& [name, value] : {std::pair{"heads", &layer->heads},
                                    {"kv_heads", &layer->kv_heads},
                                    {"key_dim", &layer->key_dim},
                                    {"value_dim", &layer->value_dim},
                                    {"mlp_width", &layer->mlp_width}}) {
    RETURN_IF_ERROR(fields.Read(name, value));
  }
  RETURN_IF_ERROR(fields.Read("norm1_epsilon", &layer->norm1_epsilon));
  RETURN_IF_ERROR(fields.Read("norm2_epsilon", &layer->norm2_epsilon));
  RETURN_IF_ERROR(fields.Read("rope_frequencies", &layer->rope_frequencies));
  RETURN_IF_ERROR(fields.Read("alibi_slopes", &layer->alibi_slopes));
  if (const absl::StatusOr<const json*> moe = fields.Find("moe"); moe.ok()) {
    RETURN_IF_ERROR(ReadMoe(Fields(**moe, name + "moe."), &layer->moe));
  }
  const int64_t widest = int64_t{layer->heads} * std::max(layer->key_dim, layer->value_dim);
  if (widest <= std::numeric_limits<int>::max()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("shape: heads times their size is ", widest, ", more than any model's"));
}

// So that no size that follows overflows.
absl::Status CheckSize(const TransformerShape& shape) {
  constexpr double kParametersMax = 1e11;
  const double width = shape.width;
  double parameters = 2.0 * (static_cast<double>(shape.vocab) + shape.context) * width;
  for (const TransformerLayerShape& layer : shape.layers) {
    const double heads = layer.heads;
    const double mlps = layer.moe.sparse() ? layer.moe.experts + 1.0 : 1.0;
    parameters += width * (2 * heads * layer.key_dim + 2 * heads * layer.value_dim +
                           3.0 * mlps * layer.mlp_width);
  }
  if (parameters <= kParametersMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("shape: about ", parameters, " parameters, more than any model's"));
}

json MoeJson(const MoeShape& moe) {
  return {{"experts", moe.experts},
          {"top", moe.top},
          {"capacity_factor", moe.capacity_factor},
          {"eval_capacity_factor", moe.eval_capacity_factor},
          {"gates", NameOf(moe.gates)},
          {"second", NameOf(moe.second)},
          {"threshold", moe.threshold},
          {"slots", NameOf(moe.slots)},
          {"dense", NameOf(moe.dense)}};
}

json LayerJson(const TransformerLayerShape& layer) {
  json object = {{"heads", layer.heads},
                 {"kv_heads", layer.kv_heads},
                 {"key_dim", layer.key_dim},
                 {"value_dim", layer.value_dim},
                 {"mlp_width", layer.mlp_width},
                 {"norm1_epsilon", layer.norm1_epsilon},
                 {"norm2_epsilon", layer.norm2_epsilon},
                 {"rope_frequencies", layer.rope_frequencies},
                 {"alibi_slopes", layer.alibi_slopes}};
  if (layer.moe.sparse()) object["moe"] = MoeJson(layer.moe);  // else a dense layer
  return object;
}

}  // namespace

std::string ShapeJson(const TransformerShape& shape) {
  json layers = json::array();
  for (const TransformerLayerShape& layer : shape.layers) layers.push_back(LayerJson(layer));
  const json object = {{"vocab", shape.vocab},
                       {"width", shape.width},
                       {"context", shape.context},
                       {"norm", NameOf(shape.norm)},
                       {"positions", NameOf(shape.positions)},
                       {"mlp", NameOf(shape.mlp)},
                       {"mlp_unit_bias", NameOf(shape.mlp_unit_bias)},
                       {"biases", shape.biases},
                       {"tied", shape.tied},
                       {"readout_bias", shape.readout_bias},
                       {"final_norm", shape.final_norm},
                       {"causal", shape.causal},
                       {"final_epsilon", shape.final_epsilon},
                       {"layers", std::move(layers)}};
  return object.dump();
}

absl::StatusOr<TransformerShape> ParseShapeJson(const std::string& text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("shape: want a JSON object");
  const Fields fields(object, "");
  TransformerShape shape;
  RETURN_IF_ERROR(fields.Read("vocab", &shape.vocab));
  RETURN_IF_ERROR(fields.Read("width", &shape.width));
  RETURN_IF_ERROR(fields.Read("context", &shape.context));
  RETURN_IF_ERROR(fields.Read("norm", &shape.norm));
  RETURN_IF_ERROR(fields.Read("positions", &shape.positions));
  RETURN_IF_ERROR(fields.Read("mlp", &shape.mlp));
  RETURN_IF_ERROR(fields.Read("mlp_unit_bias", &shape.mlp_unit_bias));
  for (const auto& [name, value] : {std::pair{"biases", &shape.biases},
                                    {"tied", &shape.tied},
                                    {"readout_bias", &shape.readout_bias},
                                    {"final_norm", &shape.final_norm},
                                    {"causal", &shape.causal}}) {
    RETURN_IF_ERROR(fields.Read(name, value));
  }
  RETURN_IF_ERROR(fields.Read("final_epsilon", &shape.final_epsilon));
  ASSIGN_OR_RETURN(const json* layers, fields.Find("layers"));
  if (!layers->is_array()) return absl::InvalidArgumentError("shape: layers: want a list");
  for (size_t i = 0; i < layers->size(); ++i) {
    TransformerLayerShape& layer = shape.layers.emplace_back();
    const std::string name = absl::StrCat("layers.", i, ".");
    RETURN_IF_ERROR(ReadLayer(Fields((*layers)[i], name), name, &layer));
  }
  RETURN_IF_ERROR(CheckShape(shape));
  RETURN_IF_ERROR(CheckSize(shape));
  return shape;
}

}  // namespace saffron
