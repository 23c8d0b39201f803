#pragma once
// The operators that grow a model, as users write them:
//
//   mlp:256          hidden units of every layer's MLP          mlp:x2   twice as many
//   mlp:256@0-1+3    of layers 0, 1 and 3                       mlp:+64  64 more
//   heads:8          attention heads
//   value:32         size of every head's value
//   key:32           size of every head's query and key
//   hidden:128       width of the residual stream
//   layers:6         layers, new ones on top                    layers:6@0  before layer 0
//   experts:8        copies of every dense MLP behind a router, the top two of which work, always
//
// An operator is NAME:SIZE[@LAYERS]; operators of a list stand after one another, separated by
// commas or spaces, and are applied in that order.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/transformer/moe_shape.h"

namespace saffron {

enum class DeriveKind : uint8_t { kMlp, kHeads, kValue, kKey, kHidden, kLayers, kExperts };

// A size as written: what is to be, more by so much, or so many times as much.
struct DeriveSize {
  enum class Mode : uint8_t { kTo, kPlus, kTimes };
  Mode mode = Mode::kTo;
  int64_t amount = 1;  // >= 1

  int64_t From(int64_t size) const {
    return mode == Mode::kTo ? amount : mode == Mode::kPlus ? size + amount : size * amount;
  }
};

struct DeriveOp {
  DeriveKind kind = DeriveKind::kMlp;
  DeriveSize size;
  // Ascending: the layers it is for, all when empty; of kLayers, the one that new layers come
  // before, on top when empty. Always empty for kHidden.
  std::vector<int> layers = {};
  // Of kExperts: how the new layers route, their number of experts apart. Unset: by two choices
  // that are always taken, with room for every token. It is no part of the text.
  std::optional<MoeShape> moe = {};

  std::string Text() const;  // canonical; parses to the same operator
};

// A whole list. INVALID_ARGUMENT names the column (from 1), what was found there, what is wanted
// and the operators there are.
absl::StatusOr<std::vector<DeriveOp>> ParseDeriveOps(const std::string& text);
std::string DeriveOpsText(const std::vector<DeriveOp>& ops);

// "mlp", "heads", "value", "key", "hidden", "layers", "experts".
std::vector<std::string> DeriveOpNames();

}  // namespace saffron
