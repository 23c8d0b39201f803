// JSON (RFC 8259) with the place of every key and value, which JSON libraries do not give.

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/document.h"
#include "core/data/utf8.h"

namespace saffron {
namespace {

class JsonParser {
 public:
  JsonParser(std::string_view text, Problems& problems)
      : text_(text), lines_(text), problems_(problems) {}

  std::optional<DocumentNode> Parse() {
    DocumentNode root;
    SkipSpace();
    if (at_ == text_.size()) return DocumentNode{.place = {1, 1}};
    if (!ParseValue(root, 0)) return std::nullopt;
    SkipSpace();
    if (at_ < text_.size()) {
      Fail("want one JSON value in a file, got something after it");
      return std::nullopt;
    }
    RemoveDuplicateKeys(root, problems_);
    return root;
  }

 private:
  Place Here() const { return lines_.PlaceOfOffset(at_); }
  bool Fail(std::string_view what) {
    problems_.Add(Here(), "", what);
    return false;
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpace() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
  }
  std::string Got() const {
    if (at_ >= text_.size()) return "got the end";
    return absl::StrCat("got ",
                        std::string(text_.substr(at_, DecodeUtf8(text_.substr(at_)).bytes)));
  }

  bool ParseValue(DocumentNode& node, int depth) {
    node.place = Here();
    if (depth >= kDocumentDepthMax) {
      return Fail(absl::StrCat("want at most ", kDocumentDepthMax, " levels of nesting, got more"));
    }
    if (++nodes_ > kDocumentNodesMax) {
      return Fail(absl::StrCat("want at most ", kDocumentNodesMax, " values, got more"));
    }
    switch (Peek()) {
      case '{':
        return ParseObject(node, depth);
      case '[':
        return ParseArray(node, depth);
      case '"':
        node.kind = DocumentNode::Kind::kQuoted;
        return ParseString(node.text);
      default:
        return ParseWord(node);
    }
  }

  bool ParseObject(DocumentNode& node, int depth) {
    node.kind = DocumentNode::Kind::kMap;
    ++at_;
    SkipSpace();
    while (Peek() != '}') {
      if (!node.members.empty() && !TakeComma()) return false;
      DocumentMember member;
      member.place = Here();
      if (Peek() != '"') return Fail(absl::StrCat("want a key in double quotes, ", Got()));
      if (!ParseString(member.key)) return false;
      SkipSpace();
      if (Peek() != ':') return Fail(absl::StrCat("want : after a key, ", Got()));
      ++at_;
      SkipSpace();
      if (!ParseValue(member.value, depth + 1)) return false;
      node.members.push_back(std::move(member));
      SkipSpace();
    }
    ++at_;
    return true;
  }

  bool ParseArray(DocumentNode& node, int depth) {
    node.kind = DocumentNode::Kind::kList;
    ++at_;
    SkipSpace();
    while (Peek() != ']') {
      if (!node.items.empty() && !TakeComma()) return false;
      node.items.emplace_back();
      if (!ParseValue(node.items.back(), depth + 1)) return false;
      SkipSpace();
    }
    ++at_;
    return true;
  }

  bool TakeComma() {
    if (Peek() != ',') return Fail(absl::StrCat("want a comma or the closing bracket, ", Got()));
    ++at_;
    SkipSpace();
    return true;
  }

  // true, false, null, or a number.
  bool ParseWord(DocumentNode& node) {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n,:[]{}\"").find(text_[at_]) == std::string_view::npos) {
      ++at_;
    }
    const std::string_view word = text_.substr(begin, at_ - begin);
    node.kind = word == "null" ? DocumentNode::Kind::kNull : DocumentNode::Kind::kPlain;
    node.text = word;
    if (word == "true" || word == "false" || word == "null" || IsNumber(word)) return true;
    at_ = begin;
    if (word.empty()) return Fail(absl::StrCat("want a value, ", Got()));
    return Fail(absl::StrCat("want a value (strings stand in double quotes), got ", node.text));
  }

  // -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
  static bool IsNumber(std::string_view word) {
    size_t at = 0;
    const auto digits = [&] {
      const size_t begin = at;
      while (at < word.size() && word[at] >= '0' && word[at] <= '9') ++at;
      return at - begin;
    };
    if (word[0] == '-') ++at;
    const bool zero = at < word.size() && word[at] == '0';
    const size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) return false;
    if (at < word.size() && word[at] == '.') {
      ++at;
      if (digits() == 0) return false;
    }
    if (at < word.size() && (word[at] == 'e' || word[at] == 'E')) {
      ++at;
      if (at < word.size() && (word[at] == '+' || word[at] == '-')) ++at;
      if (digits() == 0) return false;
    }
    return at == word.size();
  }

  bool ParseString(std::string& out) {
    ++at_;
    while (Peek() != '"') {
      if (at_ >= text_.size() || text_[at_] == '\n')
        return Fail("want a closing \", got the end of the line");
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      ++at_;
      if (!ParseEscape(out)) return false;
    }
    ++at_;
    return true;
  }

  bool ParseEscape(std::string& out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    const size_t which = at_ < text_.size() ? kFrom.find(text_[at_]) : std::string_view::npos;
    if (which != std::string_view::npos) {
      out += kTo[which];
      ++at_;
      return true;
    }
    uint32_t code = 0;
    if (!ParseHex(code)) return false;
    if (code >= 0xDC00 && code < 0xE000) return Fail("want a whole surrogate pair, got half");
    if (code >= 0xD800 && code < 0xDC00) {
      uint32_t low = 0;
      if (Peek() != '\\') return Fail("want a whole surrogate pair, got half");
      ++at_;
      if (!ParseHex(low)) return false;
      if (low < 0xDC00 || low >= 0xE000) return Fail("want a whole surrogate pair, got half");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendUtf8(code, out);
    return true;
  }

  // At the u of \uXXXX.
  bool ParseHex(uint32_t& code) {
    if (Peek() != 'u') return Fail(absl::StrCat("want an escape of JSON after \\, ", Got()));
    ++at_;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = Peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return Fail(absl::StrCat("want four hex digits after \\u, ", Got()));
      code = code * 16 + digit;
    }
    return true;
  }

  static void AppendUtf8(uint32_t code, std::string& out) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[more] | (code >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }

  std::string_view text_;
  LineIndex lines_;
  Problems& problems_;
  size_t at_ = 0;
  int64_t nodes_ = 0;
};

}  // namespace

std::optional<DocumentNode> ParseJson(std::string_view text, Problems& problems) {
  return JsonParser(text, problems).Parse();
}

}  // namespace saffron
