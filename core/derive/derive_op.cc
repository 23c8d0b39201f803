#include "core/derive/derive_op.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

constexpr std::pair<const char*, DeriveKind> kNames[] = {
    {"mlp", DeriveKind::kMlp},        {"heads", DeriveKind::kHeads},
    {"value", DeriveKind::kValue},    {"key", DeriveKind::kKey},
    {"hidden", DeriveKind::kHidden},  {"layers", DeriveKind::kLayers},
    {"experts", DeriveKind::kExperts}};

// No model has a size of more than this.
constexpr int64_t kNumberMax = 1'000'000'000;
constexpr int kLayersMax = 10'000;

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  absl::StatusOr<std::vector<DeriveOp>> All() {
    std::vector<DeriveOp> ops;
    SkipSpace();
    while (at_ < text_.size()) {
      ASSIGN_OR_RETURN(DeriveOp op, Operator());
      ops.push_back(std::move(op));
      const size_t end = at_;
      SkipSpace();
      if (at_ == text_.size()) break;
      if (text_[at_] == ',') {
        ++at_;
        SkipSpace();
        if (at_ == text_.size()) return Error("want an operator after the comma");
      } else if (at_ == end) {
        return Error("want a comma, a space or the end");
      }
    }
    if (ops.empty()) return Error("want an operator");
    return ops;
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool Take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  absl::Status Error(const std::string& wanted) const { return ErrorAt(at_, wanted); }
  absl::Status ErrorAt(size_t at, const std::string& wanted) const {
    const std::string found =
        at < text_.size() ? absl::StrCat("\"", text_.substr(at, 20), "\"") : "the end";
    return absl::InvalidArgumentError(
        absl::StrCat("derive \"", text_, "\", column ", at + 1, ": ", wanted, ", got ", found,
                     "; an operator is NAME:SIZE or NAME:SIZE@LAYERS with a name of ",
                     absl::StrJoin(DeriveOpNames(), ", ")));
  }

  absl::StatusOr<DeriveKind> Name() {
    const size_t begin = at_;
    while (at_ < text_.size() && std::isalpha(static_cast<unsigned char>(text_[at_]))) ++at_;
    const std::string name = text_.substr(begin, at_ - begin);
    for (const auto& [known, kind] : kNames) {
      if (name == known) return kind;
    }
    const std::string near = NearestName(name, DeriveOpNames());
    return ErrorAt(begin, near.empty() ? "want the name of an operator"
                                       : absl::StrCat("want the name of an operator (did you mean ",
                                                      near, "?)"));
  }

  absl::StatusOr<int64_t> Number(int64_t least, int64_t most) {
    const size_t begin = at_;
    int64_t value = 0;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) &&
           value <= most) {
      value = 10 * value + (text_[at_++] - '0');
    }
    if (at_ > begin && value >= least && value <= most) return value;
    return ErrorAt(begin, absl::StrCat("want a number from ", least, " to ", most));
  }

  absl::StatusOr<DeriveOp> Operator() {
    DeriveOp op;
    ASSIGN_OR_RETURN(op.kind, Name());
    if (!Take(':')) return Error("want : and a size");
    if (Take('x')) {
      op.size.mode = DeriveSize::Mode::kTimes;
    } else if (Take('+')) {
      op.size.mode = DeriveSize::Mode::kPlus;
    }
    ASSIGN_OR_RETURN(op.size.amount, Number(1, kNumberMax));
    const size_t at = at_;
    if (!Take('@')) return op;
    if (op.kind == DeriveKind::kHidden) {
      return ErrorAt(at, "hidden is the width of all layers: want no layers");
    }
    if (op.kind == DeriveKind::kLayers) {
      ASSIGN_OR_RETURN(const int64_t layer, Number(0, kLayersMax));
      op.layers.push_back(static_cast<int>(layer));
      return op;
    }
    RETURN_IF_ERROR(Layers(&op.layers));
    return op;
  }

  // 0-1+3
  absl::Status Layers(std::vector<int>* layers) {
    do {
      const size_t begin = at_;
      ASSIGN_OR_RETURN(const int64_t first, Number(0, kLayersMax));
      int64_t last = first;
      if (Take('-')) {
        ASSIGN_OR_RETURN(last, Number(0, kLayersMax));
      }
      if (last < first) return ErrorAt(begin, "want layers in ascending order");
      for (int64_t i = first; i <= last; ++i) layers->push_back(static_cast<int>(i));
    } while (Take('+'));
    std::sort(layers->begin(), layers->end());
    layers->erase(std::unique(layers->begin(), layers->end()), layers->end());
    return absl::OkStatus();
  }

  const std::string& text_;
  size_t at_ = 0;
};

// 0-1+3 of ascending layers.
std::string LayersText(const std::vector<int>& layers) {
  std::string text;
  for (size_t i = 0; i < layers.size();) {
    size_t last = i;
    while (last + 1 < layers.size() && layers[last + 1] == layers[last] + 1) ++last;
    absl::StrAppend(&text, text.empty() ? "" : "+", layers[i]);
    if (last > i) absl::StrAppend(&text, "-", layers[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace

std::string DeriveOp::Text() const {
  const char* name = "";
  for (const auto& [known, its_kind] : kNames) {
    if (its_kind == kind) name = known;
  }
  const char* mode = size.mode == DeriveSize::Mode::kTimes  ? "x"
                     : size.mode == DeriveSize::Mode::kPlus ? "+"
                                                            : "";
  return absl::StrCat(name, ":", mode, size.amount, layers.empty() ? "" : "@", LayersText(layers));
}

absl::StatusOr<std::vector<DeriveOp>> ParseDeriveOps(const std::string& text) {
  return Parser(text).All();
}

std::string DeriveOpsText(const std::vector<DeriveOp>& ops) {
  return absl::StrJoin(ops, ",", [](std::string* out, const DeriveOp& op) { *out += op.Text(); });
}

std::vector<std::string> DeriveOpNames() {
  std::vector<std::string> names;
  for (const auto& entry : kNames) names.emplace_back(entry.first);
  return names;
}

}  // namespace saffron
