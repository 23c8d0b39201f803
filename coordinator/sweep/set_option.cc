#include "coordinator/sweep/set_option.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "coordinator/sweep/problems.h"
#include "coordinator/sweep/spec_from_document.h"
#include "coordinator/sweep/sweep_values.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

class SetOption {
 public:
  SetOption(const std::string& option, v1::SweepSpec* spec)
      : option_(option), spec_(*spec), problems_(absl::StrCat("--set ", option)) {}

  absl::Status Apply() {
    const size_t equals = option_.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Fail("want NAME=VALUE, as in tokens=100000, got something else");
    }
    name_ = std::string(absl::StripAsciiWhitespace(option_.substr(0, equals)));
    text_ = std::string(absl::StripAsciiWhitespace(option_.substr(equals + 1)));
    for (v1::Setting& constant : *spec_.mutable_constants()) {
      if (constant.key() == name_) return SetConstant(&constant);
    }
    const ParamSpec* key = FindParam(name_);
    return key != nullptr ? SetBaseline(*key) : Unknown();
  }

 private:
  absl::Status Fail(std::string_view what) {
    problems_.Add(Place(), "", what);
    return problems_.ToStatus();
  }

  absl::Status Unknown() {
    std::vector<std::string> constants;
    for (const v1::Setting& constant : spec_.constants()) constants.push_back(constant.key());
    std::string near = NearestName(name_, constants);
    if (near.empty()) near = NearestParam(name_);
    return Fail(absl::StrCat(
        constants.empty() ? "want a registered key (the sweep has no constants)"
                          : absl::StrCat("want a constant of the sweep (",
                                         absl::StrJoin(constants, ", "), ") or a registered key"),
        ", got ", name_, DidYouMean(near)));
  }

  // The value as a file would have it; where strings are wanted, no quotes are needed.
  std::optional<v1::SweepValue> Read(bool as_string) {
    const bool quoted = text_.size() >= 2 && text_.front() == text_.back() &&
                        (text_.front() == '"' || text_.front() == '\'');
    DocumentNode node{.kind = DocumentNode::Kind::kPlain, .place = {}, .text = text_};
    if (quoted) node.text = text_.substr(1, text_.size() - 2);
    if (quoted || as_string) node.kind = DocumentNode::Kind::kQuoted;
    v1::SweepValue value;
    ReadSweepValue(node, "", &value, problems_);
    if (!problems_.empty()) return std::nullopt;
    value.clear_position();
    return value;
  }

  absl::Status SetConstant(v1::Setting* constant) {
    const bool is_text = constant->value().kind_case() == v1::SweepValue::kText;
    const bool is_boolean = constant->value().kind_case() == v1::SweepValue::kBoolean;
    const std::optional<v1::SweepValue> value = Read(is_text);
    if (!value.has_value()) return problems_.ToStatus();
    const auto kind = value->kind_case();
    const bool same =
        kind == v1::SweepValue::kExpression || (is_text == (kind == v1::SweepValue::kText) &&
                                                is_boolean == (kind == v1::SweepValue::kBoolean));
    if (!same) {
      return Fail(absl::StrCat("want a ",
                               is_text      ? "string"
                               : is_boolean ? "boolean"
                                            : "number",
                               ", as the constant is in the sweep, got ", text_));
    }
    *constant->mutable_value() = *value;
    return absl::OkStatus();
  }

  absl::Status SetBaseline(const ParamSpec& key) {
    const std::optional<v1::SweepValue> value = Read(key.type == ParamType::kString);
    if (!value.has_value()) return problems_.ToStatus();
    // An expression is checked with the rest of the spec, when all constants are known.
    if (value->kind_case() != v1::SweepValue::kExpression) {
      ASSIGN_OR_RETURN(const ParamValue given, ValueOf(*value, {}));
      const auto fitting = FitToKey(key, given, false);
      if (!fitting.ok()) return Fail(std::string(fitting.status().message()));
    }
    v1::Setting* setting = nullptr;
    for (v1::Setting& existing : *spec_.mutable_baseline()) {
      if (existing.key() == name_) setting = &existing;
    }
    if (setting == nullptr) setting = spec_.add_baseline();
    setting->set_key(name_);
    setting->clear_position();
    *setting->mutable_value() = *value;
    return absl::OkStatus();
  }

  const std::string& option_;
  v1::SweepSpec& spec_;
  Problems problems_;
  std::string name_, text_;
};

}  // namespace

absl::Status ApplySetOptions(const std::vector<std::string>& options, v1::SweepSpec* spec) {
  for (const std::string& option : options) RETURN_IF_ERROR(SetOption(option, spec).Apply());
  return absl::OkStatus();
}

}  // namespace saffron
