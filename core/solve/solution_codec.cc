#include "core/solve/solution_codec.h"

#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/numerics_version.h"

namespace saffron {
namespace {

class Writer {
 public:
  template <typename T>
  void Put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    Append(&value, sizeof value);
  }
  template <typename T>
  void Put(const std::vector<T>& values) {
    Put(static_cast<uint64_t>(values.size()));
    Append(values.data(), values.size() * sizeof(T));
  }
  std::vector<char> Take() { return std::move(bytes_); }

 private:
  void Append(const void* data, size_t size) {
    const char* from = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  std::vector<char> bytes_;
};

// Reads what Writer wrote; after any short read ok() is false and values are zero.
class Reader {
 public:
  explicit Reader(absl::Span<const char> bytes) : rest_(bytes) {}
  template <typename T>
  void Get(T* value) {
    Take(value, sizeof *value);
  }
  template <typename T>
  void Get(std::vector<T>* values) {
    uint64_t size = 0;
    Get(&size);
    if (size > rest_.size() / sizeof(T)) ok_ = false;
    if (!ok_) return;
    values->resize(size);
    Take(values->data(), size * sizeof(T));
  }
  bool done() const { return ok_ && rest_.empty(); }

 private:
  void Take(void* to, size_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_ || size == 0) return;
    std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
  }
  absl::Span<const char> rest_;
  bool ok_ = true;
};

// Visits every stored field of a layer, in order.
template <typename Layer, typename Visit>
void ForEachField(Layer& layer, Visit visit) {
  visit(layer.params.gain);
  visit(layer.params.beta);
  visit(layer.params.w);
  visit(layer.params.u);
  visit(layer.params.bias);
  visit(layer.gains);
  visit(layer.alpha);
  visit(layer.kappa);
  visit(layer.gamma);
  visit(layer.recounted);
  visit(layer.holdout_nats);
  visit(layer.holdout_static_nats);
}

bool Fits(const SaffuLayerParams<float>& params) {
  const SaffuLayerShape& shape = params.shape;
  const size_t keys = shape.keys.size(), outputs = shape.outputs;
  size_t w = 0;
  for (const KeySpec& key : shape.keys) w += size_t(shape.keys[0].dim) * key.dim;
  return params.beta.size() == keys && params.u.size() == shape.InputDim() * outputs &&
         params.w.size() == (shape.attention ? w : 0) &&
         (params.bias.empty() || params.bias.size() == outputs);
}

}  // namespace

std::string SolutionKey(const SaffuSolveSpec& spec, const TextDataset& data) {
  std::string streams;
  for (Stream stream : spec.streams) absl::StrAppend(&streams, static_cast<int>(stream));
  std::string key = absl::StrCat("saffu/", kNumericsVersion, "/", data.stream_key, "/",
                                 data.train.size(), "/streams", streams);
  const auto add = [&](const char* name, const auto& value) {
    absl::StrAppend(&key, "/", name, value);
  };
  // Seventeen digits tell any two doubles apart.
  const auto exact = [](double value) { return absl::StrFormat("%.17g", value); };
  add("bits", spec.bits);
  add("context", spec.context);
  add("context_lags", spec.context_lags);
  add("radius", spec.radius);
  add("features", static_cast<int>(spec.features));
  if (spec.features == FeatureKind::kNoisy) {
    add("noise", exact(spec.noise));
    add("seed", spec.seed);
  }
  add("head", static_cast<int>(spec.head));
  add("attention", static_cast<int>(spec.attention));
  add("layers", spec.layers);
  add("width", spec.layers > 1 ? spec.width : 0);
  add("gains", static_cast<int>(spec.gains));
  add("alpha", exact(spec.alpha));
  add("kappa", exact(spec.kappa));
  add("refold", static_cast<int>(spec.refold));
  return key;
}

std::vector<char> EncodeLayers(const std::vector<SaffuLayerSolution>& layers) {
  Writer writer;
  for (const SaffuLayerSolution& layer : layers) {
    ForEachField(layer, [&](const auto& field) { writer.Put(field); });
  }
  return writer.Take();
}

absl::StatusOr<std::vector<SaffuLayerSolution>> DecodeLayers(
    absl::Span<const char> bytes, const std::vector<SaffuLayerShape>& shapes) {
  Reader reader(bytes);
  std::vector<SaffuLayerSolution> layers;
  bool fit = true;
  for (const SaffuLayerShape& shape : shapes) {
    SaffuLayerSolution layer;
    layer.params.shape = shape;
    ForEachField(layer, [&](auto& field) { reader.Get(&field); });
    fit = fit && Fits(layer.params);
    layers.push_back(std::move(layer));
  }
  if (!fit || !reader.done()) {
    return absl::DataLossError(
        absl::StrCat("stored solution of ", bytes.size(), " bytes does not fit its shapes"));
  }
  return layers;
}

}  // namespace saffron
