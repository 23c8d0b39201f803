#include "coordinator/sweep/document.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/data/utf8.h"
#include "core/model/variant.h"

namespace saffron {
namespace {

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// [0-9]+(\.[0-9]*)? or \.[0-9]+, then an exponent or nothing.
bool LooksLikeDecimal(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && absl::ascii_isdigit(text[at])) ++at;
    return at - begin;
  };
  size_t mantissa = digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    mantissa += digits();
  }
  if (mantissa == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

Scalar ReadDecimal(const std::string& text, std::string_view unsigned_text) {
  const char* const begin = text.data() + (text[0] == '+' ? 1 : 0);
  const char* const end = text.data() + text.size();
  if (AllDigits(unsigned_text)) {
    int64_t whole = 0;
    if (std::from_chars(begin, end, whole).ec == std::errc()) return whole;
    return ScalarProblem{absl::StrCat("want an integer of 64 bits, got ", text)};
  }
  double real = 0;
  if (std::from_chars(begin, end, real).ec == std::errc()) return real;
  return ScalarProblem{absl::StrCat("want a number that a double holds, got ", text)};
}

// Numbers in spellings that readers of YAML disagree about.
Scalar ReadOddNumber(const std::string& text, std::string_view unsigned_text) {
  if (unsigned_text.size() > 1 && unsigned_text[0] == '0' && AllDigits(unsigned_text)) {
    const size_t zeros = std::min(unsigned_text.find_first_not_of('0'), unsigned_text.size() - 1);
    const std::string sign = text[0] == '-' ? "-" : "";
    return ScalarProblem{absl::StrCat("want a decimal number, got ", text,
                                      ", which some readers take for octal; write ", sign,
                                      std::string(unsigned_text.substr(zeros)))};
  }
  if (unsigned_text.size() > 2 && unsigned_text[0] == '0' &&
      IsOneOf(unsigned_text.substr(1, 1), {"x", "X", "o", "O", "b", "B"}) &&
      std::all_of(unsigned_text.begin() + 2, unsigned_text.end(), absl::ascii_isxdigit)) {
    return ScalarProblem{absl::StrCat("want a decimal number, got ", text)};
  }
  const std::string lower =
      absl::AsciiStrToLower(absl::string_view(unsigned_text.data(), unsigned_text.size()));
  if (lower == ".inf" || lower == ".nan") {
    return ScalarProblem{absl::StrCat("want a finite number, got ", text)};
  }
  const std::string joined = absl::StrReplaceAll(
      absl::string_view(unsigned_text.data(), unsigned_text.size()), {{"_", ""}});
  if (joined != unsigned_text && unsigned_text[0] != '_' && LooksLikeDecimal(joined)) {
    return ScalarProblem{absl::StrCat("want a number without underscores, got ", text, "; write ",
                                      text[0] == '-' ? "-" : "", joined)};
  }
  return text;
}

Scalar ReadPlain(const std::string& text) {
  if (IsOneOf(text, {"", "~", "null", "Null", "NULL"})) return std::monostate();
  if (IsOneOf(text, {"true", "True", "TRUE"})) return true;
  if (IsOneOf(text, {"false", "False", "FALSE"})) return false;
  const std::string lower = absl::AsciiStrToLower(text);
  if (IsOneOf(lower, {"yes", "no", "on", "off"})) {
    return ScalarProblem{absl::StrCat("want true, false or a quoted string, got the bare word ",
                                      text, ", which some readers take for a boolean; write ",
                                      lower == "yes" || lower == "on" ? "true" : "false", " or \"",
                                      text, "\"")};
  }
  std::string_view unsigned_text = text;
  if (text[0] == '+' || text[0] == '-') unsigned_text.remove_prefix(1);
  if (unsigned_text.empty()) return text;
  const bool octal =
      unsigned_text.size() > 1 && unsigned_text[0] == '0' && AllDigits(unsigned_text);
  if (!octal && LooksLikeDecimal(unsigned_text)) return ReadDecimal(text, unsigned_text);
  return ReadOddNumber(text, unsigned_text);
}

struct Describe {
  std::string operator()(std::monostate) const { return "nothing"; }
  std::string operator()(bool value) const { return ParamValueText(value); }
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return ParamValueText(value); }
  std::string operator()(const std::string& value) const {
    constexpr size_t kShown = 60;
    if (value.size() <= kShown) return ParamValueText(value);
    return absl::StrCat("a string of ", value.size(), " bytes");
  }
  std::string operator()(const ScalarProblem& problem) const { return problem.what; }
};

}  // namespace

LineIndex::LineIndex(std::string_view text) : text_(text), starts_{0} {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') starts_.push_back(at + 1);
    // 10xxxxxx
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continued_.push_back(at);
  }
}

std::string_view LineIndex::Line(int line) const {
  if (line < 0 || line >= static_cast<int>(starts_.size())) return {};
  const std::string_view rest = text_.substr(starts_[line]);
  return rest.substr(0, rest.find_first_of("\r\n"));
}

std::string_view LineIndex::From(int line, int column) const {
  if (line < 0 || line >= static_cast<int>(starts_.size()) || column < 0) return {};
  const size_t offset = starts_[line] + column;
  return offset < text_.size() ? text_.substr(offset) : std::string_view();
}

Place LineIndex::PlaceOfBytes(int line, int column) const {
  column = std::max(column, 0);
  if (line < 0 || line >= static_cast<int>(starts_.size())) return {line + 1, column + 1};
  const auto first = std::lower_bound(continued_.begin(), continued_.end(), starts_[line]);
  const auto last = std::lower_bound(first, continued_.end(), starts_[line] + column);
  return {.line = line + 1, .column = 1 + column - static_cast<int>(last - first)};
}

Place LineIndex::PlaceOfOffset(size_t offset) const {
  const auto next = std::upper_bound(starts_.begin(), starts_.end(), offset);
  const int line = static_cast<int>(next - starts_.begin()) - 1;
  return PlaceOfBytes(line, static_cast<int>(offset - starts_[line]));
}

bool CheckCharacters(std::string_view text, Problems& problems) {
  if (text.substr(0, 2) == "\xFF\xFE" || text.substr(0, 2) == "\xFE\xFF") {
    problems.Add({1, 1}, "", "want UTF-8, got UTF-16; save the file as UTF-8");
    return false;
  }
  const auto hex = [](char c) {
    return absl::StrCat(absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
  };
  if (const auto bad = FirstInvalidUtf8(text)) {
    problems.Add(LineIndex(text).PlaceOfOffset(*bad), "",
                 absl::StrCat("want UTF-8, got the byte 0x", hex(text[*bad])));
    return false;
  }
  const auto control = std::find_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r') ||
           c == 0x7f;
  });
  if (control == text.end()) return true;
  problems.Add(LineIndex(text).PlaceOfOffset(control - text.begin()), "",
               absl::StrCat("want text, got the control character 0x", hex(*control)));
  return false;
}

void RemoveDuplicateKeys(DocumentNode& node, Problems& problems) {
  for (DocumentNode& item : node.items) RemoveDuplicateKeys(item, problems);
  std::vector<DocumentMember*> sorted;
  for (DocumentMember& member : node.members) {
    RemoveDuplicateKeys(member.value, problems);
    sorted.push_back(&member);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->key < b->key; });
  std::vector<const DocumentMember*> again;
  for (size_t i = 1, first = 0; i < sorted.size(); ++i) {
    if (sorted[i]->key != sorted[first]->key) {
      first = i;
      continue;
    }
    problems.Add(sorted[i]->place, sorted[i]->key,
                 absl::StrCat("want each key once, got it again (first on line ",
                              sorted[first]->place.line, ")"));
    again.push_back(sorted[i]);
  }
  if (again.empty()) return;
  std::vector<DocumentMember> kept;
  for (DocumentMember& member : node.members) {
    if (std::find(again.begin(), again.end(), &member) == again.end()) {
      kept.push_back(std::move(member));
    }
  }
  node.members = std::move(kept);
}

Scalar ReadScalar(const DocumentNode& node) {
  if (node.kind == DocumentNode::Kind::kNull) return std::monostate();
  if (node.kind == DocumentNode::Kind::kQuoted) return node.text;
  return ReadPlain(node.text);
}

std::string DescribeNode(const DocumentNode& node) {
  switch (node.kind) {
    case DocumentNode::Kind::kList:
      return "a list";
    case DocumentNode::Kind::kMap:
      return "a mapping";
    default:
      return std::visit(Describe{}, ReadScalar(node));
  }
}

}  // namespace saffron
