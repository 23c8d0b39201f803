#include "core/model/variant.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "core/base/numerics_version.h"
#include "core/base/status_macros.h"
#include "core/model/number_list.h"
#include "core/model/registry.h"
#include "core/model/registry_table.h"

namespace saffron {
namespace {

// JSON's quoting: RFC 8259, section 7. Bytes from 0x80 on stay as they are.
std::string Quoted(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += "\\u00";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string DoubleText(double value) {
  if (std::isnan(value)) return "nan";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  const bool is_marked = text.find_first_of(".einf") != std::string::npos;
  return is_marked ? text : text + ".0";
}

struct TextOf {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return DoubleText(value); }
  std::string operator()(const std::string& value) const { return Quoted(value); }
};

// How an error shows a bound: 1e+06 as 1000000.
std::string BoundText(double bound) {
  return absl::StrCat(bound == std::floor(bound) && std::abs(bound) < 1e15
                          ? absl::StrCat(static_cast<int64_t>(bound))
                          : DoubleText(bound));
}

// "an integer in [2, 1024]", "a number above 0", "one of a, b".
std::string Wanted(const ParamSpec& spec) {
  if (!spec.choices.empty()) return absl::StrCat("one of ", absl::StrJoin(spec.choices, ", "));
  const char* type = spec.type == ParamType::kInt      ? "an integer"
                     : spec.type == ParamType::kDouble ? "a number"
                     : spec.type == ParamType::kBool   ? "true or false"
                                                       : "a string";
  if (spec.min.has_value() && spec.max.has_value()) {
    const std::string many =
        spec.one_for_each.empty()
            ? ""
            : absl::StrCat(", or a list of them with one for each of ", spec.one_for_each);
    return absl::StrCat(type, " in ", spec.min_exclusive ? "(" : "[", BoundText(*spec.min), ", ",
                        BoundText(*spec.max), spec.max_exclusive ? ")" : "]", many);
  }
  return type;
}

absl::Status WantGot(const ParamSpec& spec, const std::string& wanted, const ParamValue& got,
                     const std::string& hint = "") {
  return absl::InvalidArgumentError(
      absl::StrCat(spec.key, ": ", wanted, ", got ", ParamValueText(got), hint));
}

bool InRange(const ParamSpec& spec, double value) {
  // Written so that NaN is out of every range.
  if (spec.min.has_value() && !(spec.min_exclusive ? value > *spec.min : value >= *spec.min)) {
    return false;
  }
  if (spec.max.has_value() && !(spec.max_exclusive ? value < *spec.max : value <= *spec.max)) {
    return false;
  }
  return std::isfinite(value);
}

// The value with the type of the key, where it has an equal one.
absl::StatusOr<ParamValue> Convert(const ParamSpec& spec, const ParamValue& given) {
  const auto* whole = std::get_if<int64_t>(&given);
  const auto* real = std::get_if<double>(&given);
  if (spec.type == ParamType::kDouble && whole != nullptr) return static_cast<double>(*whole);
  // -0 and 0 are one value with two texts.
  if (spec.type == ParamType::kDouble && real != nullptr) return *real == 0 ? 0.0 : *real;
  if (spec.type == ParamType::kInt && real != nullptr && *real == std::floor(*real) &&
      std::abs(*real) < 0x1p63) {
    return static_cast<int64_t>(*real);
  }
  if (given.index() == spec.default_value.index()) return given;
  if (const auto* text = std::get_if<std::string>(&given); text && !spec.one_for_each.empty()) {
    const auto numbers = ParseNumberList(*text);
    if (numbers.has_value() && numbers->size() == 1) return numbers->front();
    if (numbers.has_value()) return NumberListText(*numbers);
  }
  return WantGot(spec, absl::StrCat("want ", Wanted(spec)), given);
}

class PointerView : public ParamView {
 public:
  PointerView(const RegistryTable& table, const std::vector<const ParamValue*>& values)
      : table_(table), values_(values) {}
  const ParamValue& operator[](std::string_view key) const override {
    const int index = table_.IndexOf(key);
    CHECK(index >= 0) << "no key " << key;
    return *values_[index];
  }

 private:
  const RegistryTable& table_;
  const std::vector<const ParamValue*>& values_;
};

// A list of numbers has one for each of the key that says how many: wanted where it has not. Where
// all are the same, it becomes the one for all.
std::string SettleList(const ParamSpec& spec, const ParamView& view, ParamValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (spec.one_for_each.empty() || text == nullptr) return "";
  const std::vector<int64_t> numbers = *ParseNumberList(*text);
  const int64_t count = view.Int(spec.one_for_each);
  if (static_cast<int64_t>(numbers.size()) != count) {
    return absl::StrCat("want a number for each of ", spec.one_for_each, " (", count,
                        "), or one for all");
  }
  const int64_t first = numbers.front();
  if (std::count(numbers.begin(), numbers.end(), first) == count) value = first;
  return "";
}

template <typename T>
const T& ValueOf(const ResolvedVariant& variant, std::string_view key) {
  const T* value = std::get_if<T>(&variant[key]);
  CHECK(value != nullptr) << key << " has another type";
  return *value;
}

}  // namespace

absl::StatusOr<ParamValue> CheckedParam(const ParamSpec& spec, const ParamValue& given) {
  ASSIGN_OR_RETURN(ParamValue value, Convert(spec, given));
  bool in_range = true;
  if (const auto* whole = std::get_if<int64_t>(&value)) in_range = InRange(spec, *whole);
  if (const auto* real = std::get_if<double>(&value)) in_range = InRange(spec, *real);
  if (const auto* text = std::get_if<std::string>(&value); text && !spec.one_for_each.empty()) {
    const std::vector<int64_t> numbers = *ParseNumberList(*text);
    for (const int64_t number : numbers) in_range = in_range && InRange(spec, number);
  }
  if (!in_range) return WantGot(spec, absl::StrCat("want ", Wanted(spec)), given);
  if (const auto* text = std::get_if<std::string>(&value); text && !spec.choices.empty()) {
    bool known = false;
    for (const std::string& choice : spec.choices) known = known || choice == *text;
    if (!known) {
      const std::string near = NearestName(*text, spec.choices);
      return WantGot(spec, absl::StrCat("want ", Wanted(spec)), given,
                     near.empty() ? "" : absl::StrCat("; did you mean ", near, "?"));
    }
  }
  if (spec.validate) {
    if (std::string wanted = spec.validate(value); !wanted.empty()) {
      return WantGot(spec, wanted, given);
    }
  }
  return value;
}

std::string ParamValueText(const ParamValue& value) { return std::visit(TextOf{}, value); }

absl::StatusOr<ResolvedVariant> ResolvedVariant::Resolve(const Params& given) {
  const RegistryTable& table = RegistryTable::Get();
  const std::vector<ParamSpec>& specs = table.params();
  std::vector<ParamValue> checked(specs.size());
  std::vector<const ParamValue*> values(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) values[i] = &specs[i].default_value;
  for (const auto& [key, value] : given) {
    const int index = table.IndexOf(key);
    if (index < 0) {
      const std::string near = NearestParam(key);
      return absl::InvalidArgumentError(
          absl::StrCat(key, ": no such key",
                       near.empty() ? "; keys start with data., model., solve. or train."
                                    : absl::StrCat("; did you mean ", near, "?")));
    }
    ASSIGN_OR_RETURN(checked[index], CheckedParam(specs[index], value));
    values[index] = &checked[index];
  }
  const std::vector<bool> relevant = table.DropIrrelevant(values);
  const PointerView view(table, values);
  ResolvedVariant variant;
  for (const int i : table.by_key()) {
    if (!relevant[i]) continue;
    if (specs[i].consistent) {
      if (std::string wanted = specs[i].consistent(view); !wanted.empty()) {
        return WantGot(specs[i], wanted, *values[i]);
      }
    }
    ParamValue value = *values[i];
    if (std::string wanted = SettleList(specs[i], view, value); !wanted.empty()) {
      return WantGot(specs[i], wanted, value);
    }
    variant.params_.emplace_hint(variant.params_.end(), specs[i].key, std::move(value));
  }
  return variant;
}

bool ResolvedVariant::Has(std::string_view key) const {
  return params_.find(std::string(key)) != params_.end();
}
const ParamValue& ResolvedVariant::operator[](std::string_view key) const {
  const auto found = params_.find(std::string(key));
  CHECK(found != params_.end()) << key << " is not relevant to this variant";
  return found->second;
}
bool ResolvedVariant::Bool(std::string_view key) const { return ValueOf<bool>(*this, key); }
int64_t ResolvedVariant::Int(std::string_view key) const { return ValueOf<int64_t>(*this, key); }
double ResolvedVariant::Double(std::string_view key) const { return ValueOf<double>(*this, key); }
const std::string& ResolvedVariant::String(std::string_view key) const {
  return ValueOf<std::string>(*this, key);
}

std::string ResolvedVariant::CanonicalText() const {
  std::string text;
  for (const auto& [key, value] : params_) {
    if (value == FindParam(key)->default_value) continue;
    absl::StrAppend(&text, key, "=", ParamValueText(value), "\n");
  }
  return text;
}

std::string ResolvedVariant::Digest() const { return Sha256Hex(CanonicalText()); }

std::string TrialDigest(const ResolvedVariant& variant, uint64_t seed,
                        std::string_view data_fingerprint) {
  // One item a line under a title; no item can hold a line break, so no two identities share a
  // text.
  return Sha256Hex(
      absl::StrCat("saffron trial\nvariant=", variant.Digest(), "\nseed=", seed,
                   "\ndata=", absl::string_view(data_fingerprint.data(), data_fingerprint.size()),
                   "\nnumerics=", kNumericsVersion, "\n"));
}

}  // namespace saffron
