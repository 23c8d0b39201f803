#include "core/solve/saffu_spec.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace saffron {
absl::Status CheckSpec(const SaffuSolveSpec& spec, int vocab) {
  const auto want = [](const char* key, const auto& what, const auto& given) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": want ", what, ", got ", given));
  };
  if (spec.context < 1) return want("model.context", "at least 1", spec.context);
  if (spec.context_lags < 1) return want("model.context_lags", "at least 1", spec.context_lags);
  if (spec.radius < 1) return want("model.radius", "at least 1", spec.radius);
  if (spec.layers < 1) return want("model.layers", "at least 1", spec.layers);
  if (spec.streams.empty() || spec.streams[0] != Stream::kCipher) {
    return want("model.streams", "x first", spec.streams.empty() ? "none" : "another");
  }
  if (spec.features == FeatureKind::kNoisy && !(spec.noise > 0 && spec.noise < 1)) {
    return want("model.noise", "above 0 and below 1", spec.noise);
  }
  if (!(spec.alpha >= 0 && std::isfinite(spec.alpha))) {
    return want("solve.alpha", "at least 0", spec.alpha);
  }
  if (!(spec.kappa >= 0 && std::isfinite(spec.kappa))) {
    return want("solve.kappa", "at least 0", spec.kappa);
  }
  const auto too_few = [&](int bits) { return bits < 1 || (bits < 31 && (1 << bits) <= vocab); };
  const std::string enough = absl::StrCat("2^bits above the number of types, ", vocab);
  if (too_few(spec.bits)) return want("model.bits", enough, spec.bits);
  if (spec.layers == 1) return absl::OkStatus();
  if (too_few(spec.width)) return want("model.width", enough, spec.width);
  if (spec.head == Head::kSum && spec.width != spec.bits) {
    return want("model.width", absl::StrCat("model.bits, ", spec.bits, ", for a sum head"),
                spec.width);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Stream>> ParseStreams(const std::string& text) {
  if (text == "x") return std::vector<Stream>{Stream::kCipher};
  if (text == "x+c") return std::vector<Stream>{Stream::kCipher, Stream::kContext};
  if (text == "x+r") return std::vector<Stream>{Stream::kCipher, Stream::kBag};
  if (text == "x+c+r") {
    return std::vector<Stream>{Stream::kCipher, Stream::kContext, Stream::kBag};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("model.streams: want x, x+c, x+r or x+c+r, got ", text));
}

std::vector<KeySpec> TokenKeys(const SaffuSolveSpec& spec) {
  std::vector<KeySpec> keys;
  const auto add = [&](Stream stream, int lags) {
    for (int lag = 1; lag <= lags; ++lag) {
      keys.push_back({.stream = stream, .lag = lag, .dim = spec.bits});
    }
  };
  for (Stream stream : spec.streams) {
    switch (stream) {
      case Stream::kCipher:
        add(stream, spec.context);
        break;
      case Stream::kContext:
        add(stream, spec.context_lags);
        break;
      case Stream::kBag:
        add(stream, 1);
        break;
      case Stream::kLower:
        CHECK(false) << "o keys follow from layers, not from streams";
    }
  }
  return keys;
}

std::vector<SaffuLayerShape> SaffuShapes(const SaffuSolveSpec& spec, int vocab) {
  std::vector<SaffuLayerShape> shapes;
  for (int layer = 0; layer < spec.layers; ++layer) {
    const bool top = layer + 1 == spec.layers;
    SaffuLayerShape shape = {.keys = TokenKeys(spec),
                             .head = spec.head,
                             .attention = spec.attention,
                             .outputs = top ? vocab : spec.width};
    for (int lag = 1; layer > 0 && lag <= spec.context; ++lag) {
      shape.keys.push_back({.stream = Stream::kLower, .lag = lag, .dim = spec.width});
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

std::string KeyName(const KeySpec& key) {
  switch (key.stream) {
    case Stream::kCipher:
      return absl::StrCat("x", key.lag);
    case Stream::kContext:
      return absl::StrCat("c", key.lag);
    case Stream::kBag:
      return "r";
    case Stream::kLower:
      return absl::StrCat("o", key.lag);
  }
  CHECK(false) << "stream " << static_cast<int>(key.stream);
  return "";
}

}  // namespace saffron
