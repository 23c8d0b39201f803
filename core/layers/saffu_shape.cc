#include "core/layers/saffu_shape.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// `where` is "layer 1" or "layer 1, key 2".
absl::Status Want(bool holds, const std::string& where, const std::string& what, int64_t want,
                  int64_t got) {
  if (holds) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("SAFFU ", where, ": want ", what, " ", want, ", got ", got));
}

absl::Status WantEqual(const std::string& where, const std::string& what, int64_t want,
                       int64_t got) {
  return Want(want == got, where, what, want, got);
}

absl::Status CheckKey(const KeySpec& key, const std::string& where, const FeatureTables& features,
                      int lower_outputs) {
  RETURN_IF_ERROR(Want(key.lag >= 1, where, "a lag of at least", 1, key.lag));
  switch (key.stream) {
    case Stream::kCipher:
      return WantEqual(where, "the width of cipher rows,", features.bits, key.dim);
    case Stream::kContext:
      RETURN_IF_ERROR(WantEqual(where, "context rows in the feature tables,",
                                features.cipher.rows(), features.context.rows()));
      return WantEqual(where, "the width of context rows,", features.context.cols(), key.dim);
    case Stream::kBag:
      RETURN_IF_ERROR(Want(features.radius >= 1, where, "feature tables of radius at least", 1,
                           features.radius));
      return WantEqual(where, "the width of cipher rows,", features.bits, key.dim);
    case Stream::kLower:
      if (lower_outputs == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("SAFFU ", where, ": an o key reads the layer below, and there is none"));
      }
      return WantEqual(where, "the width of the layer below,", lower_outputs, key.dim);
  }
  return absl::InvalidArgumentError(absl::StrCat("SAFFU ", where, ": unknown stream"));
}

template <typename T>
absl::Status CheckSizes(const SaffuLayerParams<T>& layer, const std::string& where) {
  const SaffuLayerShape& shape = layer.shape;
  int64_t w_size = 0;
  for (const KeySpec& key : shape.keys) w_size += int64_t{shape.keys[0].dim} * key.dim;
  if (!shape.attention) w_size = 0;
  const auto size = [](const std::vector<T>& v) { return static_cast<int64_t>(v.size()); };
  RETURN_IF_ERROR(WantEqual(where, "beta of size", shape.num_keys(), size(layer.beta)));
  RETURN_IF_ERROR(WantEqual(where, "W of size", w_size, size(layer.w)));
  RETURN_IF_ERROR(
      WantEqual(where, "U of size", int64_t{shape.InputDim()} * shape.outputs, size(layer.u)));
  if (!layer.bias.empty()) {
    RETURN_IF_ERROR(WantEqual(where, "a bias of size", shape.outputs, size(layer.bias)));
  }
  if (layer.gain > 0 && std::isfinite(layer.gain)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("SAFFU ", where, ": want a positive gain, got ", layer.gain));
}

}  // namespace

template <typename T>
absl::Status CheckSaffuLayers(const std::vector<SaffuLayerParams<T>>& layers,
                              const FeatureTables& features) {
  if (layers.empty()) return absl::InvalidArgumentError("SAFFU: want at least one layer");
  int lower_outputs = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const SaffuLayerShape& shape = layers[l].shape;
    const std::string layer = absl::StrCat("layer ", l);
    RETURN_IF_ERROR(Want(shape.num_keys() >= 1, layer, "keys, at least", 1, shape.num_keys()));
    RETURN_IF_ERROR(Want(shape.outputs >= 1, layer, "outputs, at least", 1, shape.outputs));
    bool reads_lower = false;
    for (int k = 0; k < shape.num_keys(); ++k) {
      const std::string where = absl::StrCat(layer, ", key ", k);
      RETURN_IF_ERROR(CheckKey(shape.keys[k], where, features, lower_outputs));
      reads_lower |= shape.keys[k].stream == Stream::kLower;
      if (shape.head != Head::kSum) continue;
      RETURN_IF_ERROR(
          WantEqual(where, "the width of key 0 (sum head),", shape.keys[0].dim, shape.keys[k].dim));
    }
    if (l > 0 && !reads_lower) {
      return absl::InvalidArgumentError(
          absl::StrCat("SAFFU ", layer, ": no key reads the layer below"));
    }
    RETURN_IF_ERROR(CheckSizes(layers[l], layer));
    lower_outputs = shape.outputs;
  }
  return WantEqual("top layer", "one output a type,", features.cipher.rows(), lower_outputs);
}

template absl::Status CheckSaffuLayers<float>(const std::vector<SaffuLayerParams<float>>&,
                                              const FeatureTables&);
template absl::Status CheckSaffuLayers<double>(const std::vector<SaffuLayerParams<double>>&,
                                               const FeatureTables&);

}  // namespace saffron
