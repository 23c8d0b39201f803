#include "coordinator/sweep/document_reader.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

void WantGot(const DocumentNode& node, std::string_view key, std::string_view wanted,
             Problems& problems) {
  problems.Add(node.place, key, absl::StrCat("want ", Absl(wanted), ", got ", DescribeNode(node)));
}

// The scalar, unless it is a list, a mapping, or in a spelling that is a problem by itself.
std::optional<Scalar> TakeScalar(const DocumentNode& node, std::string_view key,
                                 std::string_view wanted, Problems& problems) {
  Scalar scalar;
  if (node.is_scalar()) scalar = ReadScalar(node);
  if (const auto* problem = std::get_if<ScalarProblem>(&scalar)) {
    problems.Add(node.place, key, problem->what);
    return std::nullopt;
  }
  if (std::holds_alternative<std::monostate>(scalar)) {
    WantGot(node, key, wanted, problems);
    return std::nullopt;
  }
  return scalar;
}

}  // namespace

const std::vector<DocumentMember>& ReadMap(const DocumentNode& node, std::string_view key,
                                           Problems& problems) {
  if (node.kind != DocumentNode::Kind::kMap) WantGot(node, key, "a mapping", problems);
  return node.members;
}

const std::vector<DocumentNode>& ReadList(const DocumentNode& node, std::string_view key,
                                          Problems& problems) {
  if (node.kind != DocumentNode::Kind::kList) WantGot(node, key, "a list", problems);
  return node.items;
}

MapReader::MapReader(const DocumentNode& node, std::string_view key, Problems& problems)
    : members_(&ReadMap(node, key, problems)), key_(key), problems_(problems) {}

const DocumentMember* MapReader::Take(std::string_view key) {
  known_.emplace_back(key);
  for (const DocumentMember& member : *members_) {
    if (member.key == key) return &member;
  }
  return nullptr;
}

bool MapReader::Has(std::string_view key) const {
  return std::any_of(members_->begin(), members_->end(),
                     [key](const DocumentMember& member) { return member.key == key; });
}

void MapReader::Finish() {
  for (const DocumentMember& member : *members_) {
    if (std::find(known_.begin(), known_.end(), member.key) != known_.end()) continue;
    const std::string near = NearestName(member.key, known_);
    problems_.Add(
        member.place, member.key,
        absl::StrCat("want a key of ", key_.empty() ? "the sweep" : key_,
                     near.empty() ? absl::StrCat(" (", absl::StrJoin(known_, ", "), ")") : "",
                     ", got an unknown one", DidYouMean(near)));
  }
}

std::optional<int64_t> ReadInteger(const DocumentNode& node, std::string_view key, int64_t min,
                                   int64_t max, Problems& problems) {
  const std::string wanted =
      min == max ? absl::StrCat(min) : absl::StrCat("an integer in [", min, ", ", max, "]");
  const std::optional<Scalar> scalar = TakeScalar(node, key, wanted, problems);
  if (!scalar.has_value()) return std::nullopt;
  std::optional<int64_t> value;
  if (const auto* whole = std::get_if<int64_t>(&*scalar)) value = *whole;
  if (const auto* real = std::get_if<double>(&*scalar)) {
    // 1e6 is a million.
    if (*real == std::floor(*real) && std::abs(*real) < 0x1p53) value = static_cast<int64_t>(*real);
  }
  if (value.has_value() && *value >= min && *value <= max) return value;
  WantGot(node, key, wanted, problems);
  return std::nullopt;
}

std::optional<double> ReadNumber(const DocumentNode& node, std::string_view key,
                                 Problems& problems) {
  const std::optional<Scalar> scalar = TakeScalar(node, key, "a number", problems);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* whole = std::get_if<int64_t>(&*scalar)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&*scalar)) return *real;
  WantGot(node, key, "a number", problems);
  return std::nullopt;
}

std::optional<bool> ReadBoolean(const DocumentNode& node, std::string_view key,
                                Problems& problems) {
  const std::optional<Scalar> scalar = TakeScalar(node, key, "true or false", problems);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* truth = std::get_if<bool>(&*scalar)) return *truth;
  WantGot(node, key, "true or false", problems);
  return std::nullopt;
}

std::optional<std::string> ReadString(const DocumentNode& node, std::string_view key,
                                      Problems& problems) {
  if (node.kind == DocumentNode::Kind::kQuoted) return node.text;
  const std::optional<Scalar> scalar = TakeScalar(node, key, "a string", problems);
  if (!scalar.has_value()) return std::nullopt;
  if (const auto* text = std::get_if<std::string>(&*scalar)) return *text;
  problems.Add(
      node.place, key,
      absl::StrCat("want a string, got ", DescribeNode(node), "; write \"", node.text, "\""));
  return std::nullopt;
}

std::optional<std::string> ReadText(const DocumentNode& node, std::string_view key,
                                    std::string_view wanted, Problems& problems) {
  if (node.is_scalar() && !node.text.empty()) return node.text;
  WantGot(node, key, wanted, problems);
  return std::nullopt;
}

std::optional<std::string> ReadWord(const DocumentNode& node, std::string_view key,
                                    const std::vector<std::string>& words,
                                    const std::vector<std::string>& later, Problems& problems) {
  const std::string wanted =
      absl::StrCat(words.size() > 1 ? "one of " : "", absl::StrJoin(words, ", "));
  if (!node.is_scalar()) {
    WantGot(node, key, wanted, problems);
    return std::nullopt;
  }
  if (std::find(words.begin(), words.end(), node.text) != words.end()) return node.text;
  const bool known = std::find(later.begin(), later.end(), node.text) != later.end();
  problems.Add(node.place, key,
               absl::StrCat("want ", wanted, ", got ", node.text,
                            known ? ", which is not supported yet"
                                  : DidYouMean(NearestName(node.text, words))));
  return std::nullopt;
}

std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor& descriptor) {
  std::vector<std::string> words;
  for (int i = 0; i < descriptor.value_count(); ++i) {
    if (descriptor.value(i)->number() == 0) continue;
    words.push_back(absl::AsciiStrToLower(descriptor.value(i)->name()));
  }
  return words;
}

int EnumNumber(const google::protobuf::EnumDescriptor& descriptor, std::string_view word) {
  const auto* value = descriptor.FindValueByName(absl::AsciiStrToUpper(Absl(word)));
  CHECK(value != nullptr) << word << " is no " << descriptor.full_name();
  return value->number();
}

std::string EnumWord(const google::protobuf::EnumDescriptor& descriptor, int number) {
  const auto* value = descriptor.FindValueByNumber(number);
  CHECK(value != nullptr) << number << " is no " << descriptor.full_name();
  return absl::AsciiStrToLower(value->name());
}

}  // namespace saffron
