// Evaluation: a walk over the tree. Errors are kept aside, so that values pass without wrapping.

#include "coordinator/sweep/expression.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace saffron {
namespace {

constexpr size_t kStringBytesMax = 4096;

// A ParamValue that costs nothing to copy: strings stay where they are.
struct Operand {
  enum class Type : uint8_t { kBool, kInteger, kReal, kString };
  Type type = Type::kBool;
  bool truth = false;
  int64_t whole = 0;
  double real = 0;
  const std::string* text = nullptr;

  static Operand Of(bool value) { return {.type = Type::kBool, .truth = value}; }
  static Operand Of(int64_t value) { return {.type = Type::kInteger, .whole = value}; }
  static Operand Of(double value) { return {.type = Type::kReal, .real = value}; }
  static Operand Of(const std::string& value) { return {.type = Type::kString, .text = &value}; }
  static Operand Of(const ParamValue& value) {
    return std::visit([](const auto& held) { return Of(held); }, value);
  }

  bool is_number() const { return type == Type::kInteger || type == Type::kReal; }
  bool is_integer() const { return type == Type::kInteger; }
  bool is_string() const { return type == Type::kString; }
  bool is_bool() const { return type == Type::kBool; }
  double AsDouble() const { return is_integer() ? static_cast<double>(whole) : real; }
  // 64 bits of mantissa on x86: every integer and every double, exactly.
  long double AsLong() const { return is_integer() ? static_cast<long double>(whole) : real; }
  ParamValue Value() const {
    switch (type) {
      case Type::kBool:
        return truth;
      case Type::kInteger:
        return whole;
      case Type::kReal:
        return real;
      case Type::kString:
        return *text;
    }
    return false;
  }
  std::string Text() const { return ParamValueText(Value()); }
};

int64_t FloorDivide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

// base^exponent, exponent >= 0; false on overflow.
bool IntegerPower(int64_t base, int64_t exponent, int64_t* result) {
  *result = 1;
  while (true) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(*result, base, result)) return false;
    exponent /= 2;
    if (exponent == 0) return true;
    if (__builtin_mul_overflow(base, base, &base)) return false;
  }
}

}  // namespace

class ExpressionEvaluator {
 public:
  ExpressionEvaluator(const Expression& expression, const std::vector<const ParamValue*>& values)
      : expression_(expression), values_(values) {}

  absl::StatusOr<Operand> Run() {
    const Operand result = Value(static_cast<int>(expression_.nodes_.size()) - 1);
    if (!status_.ok()) return status_;
    return result;
  }

 private:
  using Op = Expression::Op;
  using Node = Expression::Node;

  // After an error every value is false, and nobody looks.
  Operand Fail(const Node& node, absl::string_view what) {
    if (status_.ok()) {
      status_ =
          absl::InvalidArgumentError(absl::StrCat(what, " (", expression_.Where(node.column), ")"));
    }
    return {};
  }

  // Binary operators lean to the left: a chain of them, as long as an expression may be, is walked
  // up from its first operand instead of descended, so that it takes no stack.
  static bool LeansLeft(Op op) {
    return op == Op::kOr || op == Op::kAnd || (op >= Op::kAdd && op <= Op::kGreaterEqual);
  }

  Operand Value(int index) {
    absl::InlinedVector<const Node*, 8> chain;
    const Node* node = &expression_.nodes_[index];
    for (; LeansLeft(node->op); node = &expression_.nodes_[node->children[0]])
      chain.push_back(node);
    Operand value = Leaf(*node);
    for (; !chain.empty() && status_.ok(); chain.pop_back()) value = Binary(*chain.back(), value);
    return status_.ok() ? value : Operand();
  }

  Operand Binary(const Node& node, const Operand& left) {
    if (node.op == Op::kOr) {
      return Operand::Of(Truth(node, left, "or") || Truth(node, 1, "or"));
    }
    if (node.op == Op::kAnd) {
      return Operand::Of(Truth(node, left, "and") && Truth(node, 1, "and"));
    }
    const Operand right = Value(node.children[1]);
    if (!status_.ok()) return {};
    return node.op >= Op::kEqual ? Operand::Of(Compare(node, left, right))
                                 : Arithmetic(node, left, right);
  }

  // Of a node that does not lean left.
  Operand Leaf(const Node& node) {
    if (!status_.ok()) return {};
    switch (node.op) {
      case Op::kLiteral:
        return Operand::Of(expression_.literals_[node.index]);
      case Op::kName:
        return Operand::Of(*values_[node.index]);
      case Op::kIf:
        return Value(node.children[Truth(node, 0, "if") ? 1 : 2]);
      case Op::kNot:
        return Operand::Of(!Truth(node, 0, "not"));
      case Op::kIn:
        return Operand::Of(Contains(node));
      case Op::kNotIn:
        return Operand::Of(!Contains(node));
      case Op::kList:
        return Fail(node, "want a list only after in, got one elsewhere");
      case Op::kMin:
      case Op::kMax:
        return Extreme(node);
      default:
        return Unary(node, Value(node.children[0]));
    }
  }

  bool Truth(const Node& node, int child, absl::string_view word) {
    return Truth(node, Value(node.children[child]), word);
  }

  bool Truth(const Node& node, const Operand& value, absl::string_view word) {
    if (!value.is_bool()) {
      Fail(node, absl::StrCat("want true or false for ", word, ", got ", value.Text()));
    }
    return value.truth;
  }

  static absl::string_view NameOf(Op op) {
    switch (op) {
      case Op::kAdd:
        return "+";
      case Op::kNegate:
      case Op::kSubtract:
        return "-";
      case Op::kMultiply:
        return "*";
      case Op::kDivide:
        return "/";
      case Op::kFloorDivide:
        return "//";
      case Op::kModulo:
        return "%";
      case Op::kPower:
        return "**";
      case Op::kEqual:
        return "==";
      case Op::kNotEqual:
        return "!=";
      case Op::kLess:
        return "<";
      case Op::kLessEqual:
        return "<=";
      case Op::kGreater:
        return ">";
      case Op::kGreaterEqual:
        return ">=";
      case Op::kRound:
        return "round";
      case Op::kFloor:
        return "floor";
      case Op::kCeil:
        return "ceil";
      case Op::kAbs:
        return "abs";
      case Op::kSqrt:
        return "sqrt";
      case Op::kLog2:
        return "log2";
      case Op::kMin:
        return "min";
      case Op::kMax:
        return "max";
      default:
        break;
    }
    CHECK(false) << "operator " << static_cast<int>(op) << " has no name";
    return "";
  }

  Operand Arithmetic(const Node& node, const Operand& left, const Operand& right) {
    if (node.op == Op::kAdd && left.is_string() && right.is_string())
      return Join(node, left, right);
    if (!left.is_number() || !right.is_number()) {
      return Fail(node, absl::StrCat("want numbers on both sides of ", NameOf(node.op), ", got ",
                                     left.Text(), " and ", right.Text()));
    }
    const bool divides =
        node.op == Op::kDivide || node.op == Op::kFloorDivide || node.op == Op::kModulo;
    if (divides && right.AsDouble() == 0) {
      return Fail(node, absl::StrCat("want a divisor other than zero, got ", left.Text(), " ",
                                     NameOf(node.op), " ", right.Text()));
    }
    if (left.is_integer() && right.is_integer()) {
      return IntegerArithmetic(node, left.whole, right.whole);
    }
    return RealArithmetic(node, left.AsDouble(), right.AsDouble());
  }

  Operand Join(const Node& node, const Operand& left, const Operand& right) {
    joined_.push_back(*left.text + *right.text);
    if (joined_.back().size() <= kStringBytesMax) return Operand::Of(joined_.back());
    return Fail(node, absl::StrCat("want a string of at most ", kStringBytesMax, " bytes, got ",
                                   joined_.back().size(), ": too costly"));
  }

  Operand IntegerArithmetic(const Node& node, int64_t a, int64_t b) {
    int64_t result = 0;
    bool fits = true;
    // The one quotient of two integers that is no 64-bit integer.
    const bool too_large = a == std::numeric_limits<int64_t>::min() && b == -1;
    switch (node.op) {
      case Op::kAdd:
        fits = !__builtin_add_overflow(a, b, &result);
        break;
      case Op::kSubtract:
        fits = !__builtin_sub_overflow(a, b, &result);
        break;
      case Op::kMultiply:
        fits = !__builtin_mul_overflow(a, b, &result);
        break;
      case Op::kDivide:
        fits = !too_large;
        if (fits && a % b != 0) {
          return Operand::Of(static_cast<double>(a) / static_cast<double>(b));
        }
        if (fits) result = a / b;
        break;
      case Op::kFloorDivide:
        fits = !too_large;
        if (fits) result = FloorDivide(a, b);
        break;
      case Op::kModulo:
        result = too_large ? 0 : a - FloorDivide(a, b) * b;
        break;
      default:
        if (b < 0) return RealArithmetic(node, static_cast<double>(a), static_cast<double>(b));
        fits = IntegerPower(a, b, &result);
    }
    if (fits) return Operand::Of(result);
    return Fail(node, absl::StrCat("want an integer of 64 bits, got ", a, " ", NameOf(node.op), " ",
                                   b, ", which is larger"));
  }

  Operand RealArithmetic(const Node& node, double a, double b) {
    double result = 0;
    switch (node.op) {
      case Op::kAdd:
        result = a + b;
        break;
      case Op::kSubtract:
        result = a - b;
        break;
      case Op::kMultiply:
        result = a * b;
        break;
      case Op::kDivide:
        result = a / b;
        break;
      case Op::kFloorDivide:
        result = std::floor(a / b);
        break;
      case Op::kModulo:
        result = a - std::floor(a / b) * b;
        break;
      default:
        result = std::pow(a, b);
    }
    if (std::isfinite(result)) return Operand::Of(result);
    return Fail(node,
                absl::StrCat("want a finite result, got ", ParamValueText(a), " ", NameOf(node.op),
                             " ", ParamValueText(b), " = ", ParamValueText(result)));
  }

  template <typename T>
  static bool Ordered(Op op, const T& a, const T& b) {
    switch (op) {
      case Op::kEqual:
        return a == b;
      case Op::kNotEqual:
        return a != b;
      case Op::kLess:
        return a < b;
      case Op::kLessEqual:
        return a <= b;
      case Op::kGreater:
        return a > b;
      default:
        return a >= b;
    }
  }

  bool Compare(const Node& node, const Operand& left, const Operand& right) {
    return Compare(node, node.op, left, right);
  }
  bool Compare(const Node& node, Op op, const Operand& left, const Operand& right) {
    if (left.is_integer() && right.is_integer()) return Ordered(op, left.whole, right.whole);
    if (left.is_number() && right.is_number()) return Ordered(op, left.AsLong(), right.AsLong());
    if (left.is_string() && right.is_string()) return Ordered(op, *left.text, *right.text);
    const bool booleans = left.is_bool() && right.is_bool();
    if (booleans && (op == Op::kEqual || op == Op::kNotEqual)) {
      return Ordered(op, left.truth, right.truth);
    }
    Fail(node, absl::StrCat("want ", booleans ? "numbers or strings" : "values of one type",
                            " on both sides of ", NameOf(op), ", got ", left.Text(), " and ",
                            right.Text()));
    return false;
  }

  bool Contains(const Node& node) {
    const Operand sought = Value(node.children[0]);
    const Node& list = expression_.nodes_[node.children[1]];
    if (list.op != Op::kList) {
      const Operand whole = Value(node.children[1]);
      if (sought.is_string() && whole.is_string()) {
        return whole.text->find(*sought.text) != std::string::npos;
      }
      Fail(node, absl::StrCat("want a [list], or strings on both sides of in, got ", sought.Text(),
                              " and ", whole.Text()));
      return false;
    }
    for (int child : list.children) {
      const Operand item = Value(child);
      if (!status_.ok()) return false;
      if (Compare(node, Op::kEqual, sought, item)) return true;
    }
    return false;
  }

  Operand Extreme(const Node& node) {
    std::optional<Operand> best;
    for (int child : node.children) {
      const Operand value = Value(child);
      if (!status_.ok()) return {};
      if (!value.is_number()) {
        return Fail(node,
                    absl::StrCat("want numbers in ", NameOf(node.op), "(), got ", value.Text()));
      }
      const Op order = node.op == Op::kMin ? Op::kLess : Op::kGreater;
      if (!best.has_value() || Ordered(order, value.AsLong(), best->AsLong())) best = value;
    }
    return *best;
  }

  Operand Unary(const Node& node, const Operand& value) {
    if (!status_.ok()) return {};
    if (!value.is_number()) {
      return Fail(node,
                  absl::StrCat("want a number after ", NameOf(node.op), ", got ", value.Text()));
    }
    switch (node.op) {
      case Op::kNegate:
      case Op::kAbs:
        return Signed(node, value);
      case Op::kSqrt:
        if (value.AsDouble() >= 0) return Operand::Of(std::sqrt(value.AsDouble()));
        return Fail(node, absl::StrCat("want sqrt() of at least 0, got ", value.Text()));
      case Op::kLog2:
        if (value.AsDouble() > 0) return Operand::Of(std::log2(value.AsDouble()));
        return Fail(node, absl::StrCat("want log2() of more than 0, got ", value.Text()));
      default:
        return ToInteger(node, value);
    }
  }

  Operand Signed(const Node& node, const Operand& value) {
    const bool negate = node.op == Op::kNegate || value.AsDouble() < 0;
    if (!negate) return value;
    if (!value.is_integer()) return Operand::Of(-value.real);
    if (value.whole != std::numeric_limits<int64_t>::min()) return Operand::Of(-value.whole);
    return Fail(node, absl::StrCat("want an integer of 64 bits, got minus ", value.whole));
  }

  Operand ToInteger(const Node& node, const Operand& value) {
    if (value.is_integer()) return value;
    const double whole = node.op == Op::kRound   ? std::round(value.real)
                         : node.op == Op::kFloor ? std::floor(value.real)
                                                 : std::ceil(value.real);
    if (std::abs(whole) < 0x1p63) return Operand::Of(static_cast<int64_t>(whole));
    return Fail(node, absl::StrCat("want an integer of 64 bits, got ", NameOf(node.op), "(",
                                   value.Text(), ")"));
  }

  const Expression& expression_;
  const std::vector<const ParamValue*>& values_;
  absl::Status status_;
  std::deque<std::string> joined_;  // strings that + made
};

absl::StatusOr<ParamValue> Expression::Evaluate(
    const std::vector<const ParamValue*>& values) const {
  CHECK(values.size() == names_.size()) << "names of " << text_;
  // Before the evaluator goes, and the strings it made.
  ExpressionEvaluator evaluator(*this, values);
  const absl::StatusOr<Operand> result = evaluator.Run();
  if (!result.ok()) return result.status();
  return result->Value();
}

absl::StatusOr<bool> Expression::Holds(const std::vector<const ParamValue*>& values) const {
  CHECK(values.size() == names_.size()) << "names of " << text_;
  ExpressionEvaluator evaluator(*this, values);
  const absl::StatusOr<Operand> result = evaluator.Run();
  if (!result.ok()) return result.status();
  if (result->is_bool()) return result->truth;
  return absl::InvalidArgumentError(
      absl::StrCat("want true or false, got ", result->Text(), " (", Where(1), ")"));
}

}  // namespace saffron
