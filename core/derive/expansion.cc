#include "core/derive/expansion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion_table.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

const ExpansionRule& RuleOf(DeriveKind kind) {
  switch (kind) {
    case DeriveKind::kMlp:
      return kMlpWidthRule;
    case DeriveKind::kHeads:
      return kHeadAdditionRule;
    case DeriveKind::kValue:
      return kValueWidthRule;
    case DeriveKind::kKey:
      return kKeyWidthRule;
    case DeriveKind::kHidden:
      return kHiddenWidthRule;
    case DeriveKind::kLayers:
      return kLayerAdditionRule;
    case DeriveKind::kExperts:
      return kUpcyclingRule;
  }
  CHECK(false) << "kind " << static_cast<int>(kind);
  return kMlpWidthRule;
}

// 0, 1, ..., kept - 1, then new ones.
std::vector<int64_t> Appended(int64_t kept, int64_t size) {
  CHECK(kept <= size) << kept << " of " << size;
  std::vector<int64_t> from(static_cast<size_t>(size), -1);
  std::iota(from.begin(), from.begin() + kept, 0);
  return from;
}

// "layers.3.attn.wq" is part "attn.wq" of layer 3.
struct PlaceName {
  int layer = -1;
  std::string part;
};
PlaceName Place(const std::string& name) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, "layers.")) return {-1, name};
  const size_t dot = rest.find('.');
  int layer = -1;
  CHECK(dot != absl::string_view::npos && absl::SimpleAtoi(rest.substr(0, dot), &layer)) << name;
  return {layer, std::string(rest.substr(dot + 1))};
}

// A typing error is to be an error, not the end of the memory.
absl::Status CheckSize(const DeriveOp& op, const TransformerShape& shape) {
  constexpr double kParametersMax = 2e9;
  double parameters = (shape.vocab + 1.0) * shape.width;
  for (const TransformerLayerShape& layer : shape.layers) {
    const double mlps = layer.moe.sparse() ? layer.moe.experts + 1.0 : 1.0;
    parameters +=
        (2.0 * layer.heads * (layer.key_dim + layer.value_dim) + 3.0 * mlps * layer.mlp_width) *
        shape.width;
  }
  if (parameters <= kParametersMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(op.Text(), ": want at most ", kParametersMax,
                                                 " parameters, got about ", parameters));
}

}  // namespace

absl::StatusOr<TransformerShape> ExpandShape(const TransformerShape& parent, const DeriveOp& op) {
  TransformerShape child = parent;
  RETURN_IF_ERROR(RuleOf(op.kind).grow(op, child));
  RETURN_IF_ERROR(CheckShape(child));
  RETURN_IF_ERROR(CheckSize(op, child));
  return child;
}

absl::StatusOr<ModelExpansion> ExpandModel(const TransformerShape& parent, const DeriveOp& op) {
  const ExpansionRule& rule = RuleOf(op.kind);
  ModelExpansion expansion;
  ASSIGN_OR_RETURN(expansion.shape, ExpandShape(parent, op));
  const TransformerShape& child = expansion.shape;
  std::vector<int> layer_from(child.layers.size());
  std::iota(layer_from.begin(), layer_from.end(), 0);
  if (rule.layer_from != nullptr) layer_from = rule.layer_from(op, parent, child);

  std::map<std::string, ParameterTensor> sources;
  for (const ParameterTensor& tensor : LayOut(parent).tensors) sources[tensor.name] = tensor;
  for (const ParameterTensor& tensor : LayOut(child).tensors) {
    TensorMap map;
    map.tensor = tensor;
    const PlaceName place = Place(tensor.name);
    const int from = place.layer < 0 ? -1 : layer_from[place.layer];
    if (place.layer < 0 || from >= 0) {
      map.from = place.part;
      if (place.layer >= 0 && rule.part_from != nullptr) {
        map.from = rule.part_from(op, parent, from, place.part);
      }
      if (place.layer >= 0 && !map.from.empty()) {
        map.from = absl::StrCat("layers.", from, ".", map.from);
      }
    }
    if (!map.from.empty()) {
      const auto source = sources.find(map.from);
      CHECK(source != sources.end()) << "no " << map.from << " in the parent";
      map.from_begin = source->second.begin;
      map.from_rows = source->second.rows;
      map.from_cols = source->second.cols;
      map.rows = Appended(source->second.rows, tensor.rows);
      map.cols = Appended(source->second.cols, tensor.cols);
    }
    TensorEdit edit = {map, place.part, place.layer};
    rule.edit(op, parent, child, edit);
    expansion.maps.push_back(std::move(map));
  }
  return expansion;
}

bool IsMlpOutput(std::string_view part) {
  return part.size() > 3 && part.substr(part.size() - 3) == ".w2";
}

bool WritesToStream(std::string_view part) {
  const bool is_bias = part.size() > 3 && part.substr(part.size() - 3) == ".b2";
  return part == "attn.wo" || part == "attn.bo" || IsMlpOutput(part) || is_bias;
}

absl::StatusOr<std::vector<int>> LayersOf(const DeriveOp& op, const TransformerShape& shape) {
  const int count = static_cast<int>(shape.layers.size());
  for (const int layer : op.layers) {
    if (layer < count) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(op.Text(), ": want layers below ", count, ", got ", layer));
  }
  if (!op.layers.empty()) return op.layers;
  std::vector<int> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

int64_t MostOf(DeriveKind kind) {
  const char* const key = RuleOf(kind).key;
  const ParamSpec* const spec = FindParam(key);
  CHECK(spec != nullptr && spec->max.has_value()) << key;
  return static_cast<int64_t>(*spec->max);
}

absl::StatusOr<int> Grown(const DeriveOp& op, const std::string& what, int size) {
  const int64_t grown = op.size.From(size);
  if (grown <= size) {
    return absl::InvalidArgumentError(absl::StrCat(op.Text(), ": ", what, " is ", size,
                                                   ": want more, got ", grown,
                                                   "; a model can grow exactly, but not shrink"));
  }
  const int64_t most = MostOf(op.kind);
  if (grown <= most) return static_cast<int>(grown);
  return absl::InvalidArgumentError(absl::StrCat(op.Text(), ": ", what, " is ", size,
                                                 ": want at most ", most, ", as of ",
                                                 RuleOf(op.kind).key, ", got ", grown));
}

std::vector<int64_t> InsertInHeads(int heads, int size, int grown) {
  std::vector<int64_t> from;
  for (int head = 0; head < heads; ++head) {
    for (int i = 0; i < grown; ++i) from.push_back(i < size ? int64_t{head} * size + i : -1);
  }
  return from;
}

std::vector<double> FarthestFrom(std::vector<double> existing, std::vector<double> candidates,
                                 int count) {
  CHECK(static_cast<int>(candidates.size()) >= count) << count << " of " << candidates.size();
  std::vector<double> chosen;
  while (static_cast<int>(chosen.size()) < count) {
    size_t best = 0;
    double best_distance = -1;
    for (size_t i = 0; i < candidates.size(); ++i) {
      double distance = std::numeric_limits<double>::infinity();
      for (const double x : existing) {
        distance = std::min(distance, std::abs(std::log(candidates[i] / x)));
      }
      if (distance > best_distance) {
        best = i;
        best_distance = distance;
      }
    }
    chosen.push_back(candidates[best]);
    existing.push_back(candidates[best]);
    candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(best));
  }
  std::sort(chosen.rbegin(), chosen.rend());
  return chosen;
}

}  // namespace saffron
