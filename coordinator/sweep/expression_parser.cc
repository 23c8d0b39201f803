// Text to tree: a hand-written lexer and one function a level of precedence.

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expression.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

enum class TokenKind { kEnd, kInteger, kNumber, kString, kName, kSymbol };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int column = 1;
  std::string text = {};  // of a string: its content
  ParamValue value = false;
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

// Longest first, so that "<=" is not "<" and "=".
constexpr std::array<std::string_view, 26> kSymbols = {
    "**", "//", "==", "!=", "<=", ">=", "&&", "||", "+", "-", "*", "/", "%",
    "<",  ">",  "!",  "(",  ")",  "[",  "]",  ",",  "=", "&", "|", "^", ".",
};

constexpr std::array<std::string_view, 8> kFunctions = {"min",  "max", "round", "floor",
                                                        "ceil", "abs", "sqrt",  "log2"};
constexpr std::array<std::string_view, 10> kWords = {"if", "else", "or",   "and",   "not",
                                                     "in", "true", "True", "false", "False"};

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

bool IsExpressionWord(std::string_view word) {
  for (std::string_view known : kFunctions) {
    if (word == known) return true;
  }
  for (std::string_view known : kWords) {
    if (word == known) return true;
  }
  return false;
}

class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) { result_.text_ = text; }

  absl::StatusOr<Expression> Parse() {
    if (result_.text_.size() > kExpressionBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("want an expression of at most ",
                                                     kExpressionBytesMax, " bytes, got ",
                                                     result_.text_.size(), ": too costly"));
    }
    RETURN_IF_ERROR(Advance());
    if (token_.kind == TokenKind::kEnd) {
      return absl::InvalidArgumentError("want an expression, got nothing");
    }
    ASSIGN_OR_RETURN(const int root, ParseConditional());
    if (token_.kind != TokenKind::kEnd) return Unexpected("an operator or the end");
    result_.cost_ = result_.nodes_[root].cost;
    return std::move(result_);
  }

 private:
  using Op = Expression::Op;
  using Node = Expression::Node;

  // Counts nesting, so that parsing and evaluating never run out of stack.
  class Depth {
   public:
    explicit Depth(ExpressionParser* parser) : parser_(parser) { ++parser_->depth_; }
    ~Depth() { --parser_->depth_; }
    absl::Status Check() const {
      if (parser_->depth_ <= kExpressionDepthMax) return absl::OkStatus();
      return parser_->Error(parser_->token_.column,
                            absl::StrCat("want at most ", kExpressionDepthMax,
                                         " levels of nesting, got more: too costly"));
    }

   private:
    ExpressionParser* parser_;
  };

  absl::Status Error(int column, std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(Absl(what), " (", result_.Where(column), ")"));
  }
  absl::Status Unexpected(std::string_view wanted) const {
    if (token_.kind == TokenKind::kSymbol && token_.text == "=") {
      return Error(token_.column, "want ==, got =");
    }
    const std::string got = token_.kind == TokenKind::kEnd      ? "the end"
                            : token_.kind == TokenKind::kString ? ParamValueText(token_.value)
                                                                : token_.text;
    return Error(token_.column, absl::StrCat("want ", Absl(wanted), ", got ", got));
  }

  absl::Status Advance() {
    const std::string& text = result_.text_;
    while (at_ < text.size() && (text[at_] == ' ' || text[at_] == '\t' || text[at_] == '\n')) ++at_;
    token_ = {.column = static_cast<int>(at_) + 1};
    if (at_ == text.size()) return absl::OkStatus();
    const char c = text[at_];
    if (IsDigit(c) || (c == '.' && at_ + 1 < text.size() && IsDigit(text[at_ + 1]))) {
      return LexNumber();
    }
    if (c == '\'' || c == '"') return LexString(c);
    if (IsNameStart(c)) {
      LexName();
      return absl::OkStatus();
    }
    for (std::string_view symbol : kSymbols) {
      if (text.compare(at_, symbol.size(), symbol) != 0) continue;
      token_.kind = TokenKind::kSymbol;
      token_.text = symbol;
      at_ += symbol.size();
      return absl::OkStatus();
    }
    return Error(token_.column,
                 "want a number, a name, a string or an operator, got a character "
                 "that begins none of them");
  }

  absl::Status LexNumber() {
    const std::string& text = result_.text_;
    const size_t begin = at_;
    bool integer = true;
    const auto digits = [&] {
      while (at_ < text.size() && IsDigit(text[at_])) ++at_;
    };
    digits();
    if (at_ < text.size() && text[at_] == '.') {
      integer = false;
      ++at_;
      digits();
    }
    if (at_ < text.size() && (text[at_] == 'e' || text[at_] == 'E')) {
      size_t exponent = at_ + 1;
      if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
      if (exponent < text.size() && IsDigit(text[exponent])) {
        integer = false;
        at_ = exponent;
        digits();
      }
    }
    token_.text = text.substr(begin, at_ - begin);
    const char* const last = text.data() + at_;
    if (at_ < text.size() && IsNamePart(text[at_])) {
      return Error(token_.column,
                   absl::StrCat("want a number, got ", token_.text, std::string(1, text[at_])));
    }
    std::errc failure;
    if (integer) {
      int64_t whole = 0;
      failure = std::from_chars(text.data() + begin, last, whole).ec;
      token_.kind = TokenKind::kInteger;
      token_.value = whole;
    } else {
      double real = 0;
      failure = std::from_chars(text.data() + begin, last, real).ec;
      token_.kind = TokenKind::kNumber;
      token_.value = real;
    }
    if (failure != std::errc()) {
      return Error(token_.column, absl::StrCat("want a number of 64 bits, got ", token_.text));
    }
    return absl::OkStatus();
  }

  absl::Status LexString(char quote) {
    const std::string& text = result_.text_;
    const size_t end = text.find(quote, at_ + 1);
    if (end == std::string::npos) {
      return Error(token_.column,
                   absl::StrCat("want a closing ", std::string(1, quote), ", got the end"));
    }
    token_.kind = TokenKind::kString;
    token_.text = text.substr(at_ + 1, end - at_ - 1);
    token_.value = token_.text;
    at_ = end + 1;
    return absl::OkStatus();
  }

  // Letters, with single dots between: "model.bits".
  void LexName() {
    const std::string& text = result_.text_;
    const size_t begin = at_;
    while (at_ < text.size() &&
           (IsNamePart(text[at_]) ||
            (text[at_] == '.' && at_ + 1 < text.size() && IsNameStart(text[at_ + 1])))) {
      ++at_;
    }
    token_.kind = TokenKind::kName;
    token_.text = text.substr(begin, at_ - begin);
  }

  bool At(std::string_view symbol_or_word) const {
    return (token_.kind == TokenKind::kSymbol || token_.kind == TokenKind::kName) &&
           token_.text == symbol_or_word;
  }
  absl::Status Expect(std::string_view symbol) {
    if (!At(symbol)) return Unexpected(symbol);
    return Advance();
  }

  absl::StatusOr<int> Add(Op op, int column, std::vector<int> children) {
    Node node{.op = op, .column = column, .children = std::move(children)};
    for (int child : node.children) node.cost += result_.nodes_[child].cost;
    // Chained comparisons share their middle operand, so that cost may double at each level.
    if (node.cost > kExpressionCostMax) {
      return Error(column, absl::StrCat("want at most ", kExpressionCostMax,
                                        " operations, got more: too costly"));
    }
    result_.nodes_.push_back(std::move(node));
    return static_cast<int>(result_.nodes_.size()) - 1;
  }

  absl::StatusOr<int> ParseConditional() {
    Depth depth(this);
    RETURN_IF_ERROR(depth.Check());
    ASSIGN_OR_RETURN(const int value, ParseOr());
    if (!At("if")) return value;
    const int column = token_.column;
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(const int condition, ParseOr());
    RETURN_IF_ERROR(Expect("else"));
    ASSIGN_OR_RETURN(const int otherwise, ParseConditional());
    return Add(Op::kIf, column, {condition, value, otherwise});
  }

  absl::StatusOr<int> ParseOr() {
    ASSIGN_OR_RETURN(int left, ParseAnd());
    while (At("or") || At("||")) {
      const int column = token_.column;
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(const int right, ParseAnd());
      ASSIGN_OR_RETURN(left, Add(Op::kOr, column, {left, right}));
    }
    return left;
  }

  absl::StatusOr<int> ParseAnd() {
    ASSIGN_OR_RETURN(int left, ParseNot());
    while (At("and") || At("&&")) {
      const int column = token_.column;
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(const int right, ParseNot());
      ASSIGN_OR_RETURN(left, Add(Op::kAnd, column, {left, right}));
    }
    return left;
  }

  absl::StatusOr<int> ParseNot() {
    if (!At("not") && !At("!")) return ParseComparison();
    Depth depth(this);
    RETURN_IF_ERROR(depth.Check());
    const int column = token_.column;
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(const int operand, ParseNot());
    return Add(Op::kNot, column, {operand});
  }

  // The comparison at the current token, which is consumed; nothing if there is none.
  absl::StatusOr<std::optional<Op>> TakeComparison() {
    static constexpr std::pair<std::string_view, Op> kComparisons[] = {
        {"==", Op::kEqual},  {"!=", Op::kNotEqual},     {"<", Op::kLess}, {"<=", Op::kLessEqual},
        {">", Op::kGreater}, {">=", Op::kGreaterEqual}, {"in", Op::kIn}};
    for (const auto& [symbol, op] : kComparisons) {
      if (!At(symbol)) continue;
      RETURN_IF_ERROR(Advance());
      return op;
    }
    if (!At("not")) return std::nullopt;
    RETURN_IF_ERROR(Advance());
    RETURN_IF_ERROR(Expect("in"));
    return Op::kNotIn;
  }

  absl::StatusOr<int> ParseComparison() {
    ASSIGN_OR_RETURN(int left, ParseSum());
    std::optional<int> all;
    while (true) {
      const int column = token_.column;
      ASSIGN_OR_RETURN(const std::optional<Op> op, TakeComparison());
      if (!op.has_value()) return all.value_or(left);
      ASSIGN_OR_RETURN(const int right, ParseSum());
      ASSIGN_OR_RETURN(const int one, Add(*op, column, {left, right}));
      if (all.has_value()) {
        ASSIGN_OR_RETURN(all, Add(Op::kAnd, column, {*all, one}));
      } else {
        all = one;
      }
      left = right;
    }
  }

  absl::StatusOr<int> ParseSum() {
    ASSIGN_OR_RETURN(int left, ParseProduct());
    while (At("+") || At("-")) {
      const Op op = At("+") ? Op::kAdd : Op::kSubtract;
      const int column = token_.column;
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(const int right, ParseProduct());
      ASSIGN_OR_RETURN(left, Add(op, column, {left, right}));
    }
    return left;
  }

  absl::StatusOr<int> ParseProduct() {
    ASSIGN_OR_RETURN(int left, ParseUnary());
    while (At("*") || At("/") || At("//") || At("%")) {
      const Op op = At("*")    ? Op::kMultiply
                    : At("/")  ? Op::kDivide
                    : At("//") ? Op::kFloorDivide
                               : Op::kModulo;
      const int column = token_.column;
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(const int right, ParseUnary());
      ASSIGN_OR_RETURN(left, Add(op, column, {left, right}));
    }
    return left;
  }

  // -x, and powers, which bind tighter on the left and looser on the right: -2 ** -1 is -(2 **
  // (-1)).
  absl::StatusOr<int> ParseUnary() {
    Depth depth(this);
    RETURN_IF_ERROR(depth.Check());
    const int column = token_.column;
    if (At("-") || At("+")) {
      const bool negative = At("-");
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(const int operand, ParseUnary());
      return negative ? Add(Op::kNegate, column, {operand}) : operand;
    }
    ASSIGN_OR_RETURN(const int base, ParseAtom());
    if (!At("**")) return base;
    const int power_column = token_.column;
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(const int exponent, ParseUnary());
    return Add(Op::kPower, power_column, {base, exponent});
  }

  absl::StatusOr<int> AddLiteral(ParamValue value) {
    ASSIGN_OR_RETURN(const int node, Add(Op::kLiteral, token_.column, {}));
    result_.nodes_[node].index = static_cast<int>(result_.literals_.size());
    result_.literals_.push_back(std::move(value));
    RETURN_IF_ERROR(Advance());
    return node;
  }

  absl::StatusOr<int> ParseAtom() {
    switch (token_.kind) {
      case TokenKind::kInteger:
      case TokenKind::kNumber:
      case TokenKind::kString:
        return AddLiteral(token_.value);
      case TokenKind::kName:
        return ParseWord();
      case TokenKind::kSymbol:
        if (At("[")) return ParseList(Op::kList, "]");
        if (At("(")) {
          RETURN_IF_ERROR(Advance());
          ASSIGN_OR_RETURN(const int inner, ParseConditional());
          RETURN_IF_ERROR(Expect(")"));
          return inner;
        }
        break;
      case TokenKind::kEnd:
        break;
    }
    return Unexpected("a value");
  }

  absl::StatusOr<int> ParseWord() {
    static constexpr std::pair<std::string_view, Op> kCalls[] = {
        {"min", Op::kMin},   {"max", Op::kMax}, {"round", Op::kRound}, {"floor", Op::kFloor},
        {"ceil", Op::kCeil}, {"abs", Op::kAbs}, {"sqrt", Op::kSqrt},   {"log2", Op::kLog2}};
    if (At("true") || At("True")) return AddLiteral(true);
    if (At("false") || At("False")) return AddLiteral(false);
    for (const auto& [name, op] : kCalls) {
      if (At(name)) return ParseCall(op);
    }
    if (IsExpressionWord(token_.text)) return Unexpected("a value");
    const Token name = token_;
    RETURN_IF_ERROR(Advance());
    if (At("(")) {
      return Error(name.column, absl::StrCat("want one of the functions min, max, round, floor, "
                                             "ceil, abs, sqrt, log2, got ",
                                             name.text));
    }
    ASSIGN_OR_RETURN(const int node, Add(Op::kName, name.column, {}));
    result_.nodes_[node].index = NameIndex(name);
    return node;
  }

  int NameIndex(const Token& name) {
    for (size_t i = 0; i < result_.names_.size(); ++i) {
      if (result_.names_[i].name == name.text) return static_cast<int>(i);
    }
    result_.names_.push_back({name.text, name.column});
    return static_cast<int>(result_.names_.size()) - 1;
  }

  absl::StatusOr<int> ParseCall(Op op) {
    const Token name = token_;
    RETURN_IF_ERROR(Advance());
    if (!At("(")) return Unexpected("( after " + name.text);
    ASSIGN_OR_RETURN(const int call, ParseList(op, ")"));
    result_.nodes_[call].column = name.column;
    const size_t count = result_.nodes_[call].children.size();
    const bool any = op == Op::kMin || op == Op::kMax;
    if (any ? count == 0 : count != 1) {
      return Error(name.column, absl::StrCat("want ", any ? "at least one value" : "one value",
                                             " in ", name.text, "(), got ", count));
    }
    return call;
  }

  // At the opening bracket: values with commas between, to `close`.
  absl::StatusOr<int> ParseList(Op op, std::string_view close) {
    const int column = token_.column;
    RETURN_IF_ERROR(Advance());
    std::vector<int> children;
    while (!At(close)) {
      if (!children.empty()) RETURN_IF_ERROR(Expect(","));
      ASSIGN_OR_RETURN(const int child, ParseConditional());
      children.push_back(child);
    }
    RETURN_IF_ERROR(Advance());
    return Add(op, column, std::move(children));
  }

  Expression result_;
  Token token_;
  size_t at_ = 0;
  int depth_ = 0;
};

absl::StatusOr<Expression> Expression::Parse(std::string_view text) {
  return ExpressionParser(text).Parse();
}

std::string Expression::Where(int column) const {
  // A long text is cut around the column.
  constexpr int kShown = 60;
  const int size = static_cast<int>(text_.size());
  if (size <= kShown) return absl::StrCat("column ", column, " of `", text_, "`");
  int begin = std::max(0, std::min(column - 1 - kShown / 2, size - kShown));
  int end = begin + kShown;
  const auto inside_character = [this](int at) { return (text_[at] & 0xC0) == 0x80; };
  while (begin < size && inside_character(begin)) ++begin;
  while (end < size && inside_character(end)) ++end;
  return absl::StrCat("column ", column, " of `", begin > 0 ? "…" : "",
                      text_.substr(begin, end - begin), end < size ? "…" : "", "`");
}

}  // namespace saffron
