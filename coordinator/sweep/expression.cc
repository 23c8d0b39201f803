// Evaluation: a walk over the tree. Errors are kept aside, so that values pass without wrapping.

#include "coordinator/sweep/expression.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace saffron {
namespace {

constexpr size_t kStringBytesMax = 4096;

bool IsNumber(const ParamValue& value) {
  return std::holds_alternative<int64_t>(value) || std::holds_alternative<double>(value);
}
bool IsInteger(const ParamValue& value) { return std::holds_alternative<int64_t>(value); }
bool IsString(const ParamValue& value) { return std::holds_alternative<std::string>(value); }
double AsDouble(const ParamValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  return std::get<double>(value);
}
// 64 bits of mantissa on x86: every integer and every double, exactly.
long double AsLong(const ParamValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return *whole;
  return std::get<double>(value);
}

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

  absl::StatusOr<ParamValue> Run() {
    ParamValue result = Value(static_cast<int>(expression_.nodes_.size()) - 1);
    if (!status_.ok()) return status_;
    return result;
  }

 private:
  using Op = Expression::Op;
  using Node = Expression::Node;

  // After an error every value is false, and nobody looks.
  ParamValue Fail(const Node& node, absl::string_view what) {
    if (status_.ok()) {
      status_ =
          absl::InvalidArgumentError(absl::StrCat(what, " (", expression_.Where(node.column), ")"));
    }
    return false;
  }

  ParamValue Value(int index) {
    if (!status_.ok()) return false;
    const Node& node = expression_.nodes_[index];
    switch (node.op) {
      case Op::kLiteral:
        return expression_.literals_[node.index];
      case Op::kName:
        return *values_[node.index];
      case Op::kIf:
        return Value(node.children[Truth(node, 0, "if") ? 1 : 2]);
      case Op::kOr:
        return Truth(node, 0, "or") || Truth(node, 1, "or");
      case Op::kAnd:
        return Truth(node, 0, "and") && Truth(node, 1, "and");
      case Op::kNot:
        return !Truth(node, 0, "not");
      case Op::kIn:
        return Contains(node);
      case Op::kNotIn:
        return !Contains(node);
      case Op::kList:
        return Fail(node, "want a list only after in, got one elsewhere");
      case Op::kMin:
      case Op::kMax:
        return Extreme(node);
      case Op::kNegate:
      case Op::kRound:
      case Op::kFloor:
      case Op::kCeil:
      case Op::kAbs:
      case Op::kSqrt:
      case Op::kLog2:
        return Unary(node, Value(node.children[0]));
      default: {
        const ParamValue left = Value(node.children[0]);
        const ParamValue right = Value(node.children[1]);
        if (!status_.ok()) return false;
        return node.op >= Op::kEqual ? Compare(node, left, right) : Arithmetic(node, left, right);
      }
    }
  }

  bool Truth(const Node& node, int child, absl::string_view word) {
    const ParamValue value = Value(node.children[child]);
    if (const bool* truth = std::get_if<bool>(&value)) return *truth;
    Fail(node, absl::StrCat("want true or false for ", word, ", got ", ParamValueText(value)));
    return false;
  }

  ParamValue WantNumbers(const Node& node, absl::string_view name, const ParamValue& left,
                         const ParamValue& right) {
    return Fail(node, absl::StrCat("want numbers on both sides of ", name, ", got ",
                                   ParamValueText(left), " and ", ParamValueText(right)));
  }

  ParamValue Finite(const Node& node, double value) {
    if (std::isfinite(value)) return value;
    return Fail(node, absl::StrCat("want a finite result, got ", ParamValueText(value)));
  }

  static absl::string_view NameOf(Op op) {
    switch (op) {
      case Op::kAdd:
        return "+";
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
      case Op::kNegate:
        return "-";
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

  ParamValue Arithmetic(const Node& node, const ParamValue& left, const ParamValue& right) {
    if (node.op == Op::kAdd && IsString(left) && IsString(right)) {
      std::string joined = std::get<std::string>(left) + std::get<std::string>(right);
      if (joined.size() <= kStringBytesMax) return joined;
      return Fail(node, absl::StrCat("want a string of at most ", kStringBytesMax, " bytes, got ",
                                     joined.size(), ": too costly"));
    }
    if (!IsNumber(left) || !IsNumber(right)) {
      return WantNumbers(node, NameOf(node.op), left, right);
    }
    const bool divides =
        node.op == Op::kDivide || node.op == Op::kFloorDivide || node.op == Op::kModulo;
    if (divides && AsDouble(right) == 0) {
      return Fail(node, absl::StrCat("want a divisor other than zero, got ", ParamValueText(left),
                                     " ", NameOf(node.op), " ", ParamValueText(right)));
    }
    if (IsInteger(left) && IsInteger(right)) {
      return IntegerArithmetic(node, std::get<int64_t>(left), std::get<int64_t>(right));
    }
    return RealArithmetic(node, AsDouble(left), AsDouble(right));
  }

  ParamValue IntegerArithmetic(const Node& node, int64_t a, int64_t b) {
    int64_t result = 0;
    bool fits = true;
    // The one quotient of two integers that is no 64-bit integer.
    const bool divides_out = a == std::numeric_limits<int64_t>::min() && b == -1;
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
        fits = !divides_out;
        if (fits && a % b != 0)
          return Finite(node, static_cast<double>(a) / static_cast<double>(b));
        if (fits) result = a / b;
        break;
      case Op::kFloorDivide:
        fits = !divides_out;
        if (fits) result = FloorDivide(a, b);
        break;
      case Op::kModulo:
        result = divides_out ? 0 : a - FloorDivide(a, b) * b;
        break;
      default:
        if (b < 0) return RealArithmetic(node, static_cast<double>(a), static_cast<double>(b));
        fits = IntegerPower(a, b, &result);
    }
    if (fits) return result;
    return Fail(node, absl::StrCat("want an integer of 64 bits, got ", a, " ", NameOf(node.op), " ",
                                   b, ", which is larger"));
  }

  ParamValue RealArithmetic(const Node& node, double a, double b) {
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
    if (std::isfinite(result)) return result;
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

  ParamValue Compare(const Node& node, const ParamValue& left, const ParamValue& right) {
    if (IsNumber(left) && IsNumber(right)) return Ordered(node.op, AsLong(left), AsLong(right));
    if (IsString(left) && IsString(right)) {
      return Ordered(node.op, std::get<std::string>(left), std::get<std::string>(right));
    }
    if (left.index() == right.index() && (node.op == Op::kEqual || node.op == Op::kNotEqual)) {
      return Ordered(node.op, std::get<bool>(left), std::get<bool>(right));
    }
    const bool booleans = left.index() == right.index();
    return Fail(node, absl::StrCat("want ", booleans ? "numbers or strings" : "values of one type",
                                   " on both sides of ", NameOf(node.op), ", got ",
                                   ParamValueText(left), " and ", ParamValueText(right)));
  }

  bool Contains(const Node& node) {
    const ParamValue sought = Value(node.children[0]);
    const Node& list = expression_.nodes_[node.children[1]];
    if (list.op != Op::kList) {
      const ParamValue whole = Value(node.children[1]);
      if (!status_.ok()) return false;
      if (IsString(sought) && IsString(whole)) {
        return std::get<std::string>(whole).find(std::get<std::string>(sought)) !=
               std::string::npos;
      }
      Fail(node, absl::StrCat("want a [list], or strings on both sides of in, got ",
                              ParamValueText(sought), " and ", ParamValueText(whole)));
      return false;
    }
    const Node equals{.op = Op::kEqual, .column = node.column};
    for (int child : list.children) {
      const ParamValue item = Value(child);
      if (!status_.ok()) return false;
      const ParamValue equal = Compare(equals, sought, item);
      if (status_.ok() && std::get<bool>(equal)) return true;
    }
    return false;
  }

  ParamValue Extreme(const Node& node) {
    ParamValue best = Value(node.children[0]);
    for (int child : node.children) {
      ParamValue value = Value(child);
      if (!status_.ok()) return false;
      if (!IsNumber(value)) {
        return Fail(node, absl::StrCat("want numbers in ", NameOf(node.op), "(), got ",
                                       ParamValueText(value)));
      }
      if (Ordered(node.op == Op::kMin ? Op::kLess : Op::kGreater, AsLong(value), AsLong(best))) {
        best = std::move(value);
      }
    }
    return best;
  }

  ParamValue Unary(const Node& node, const ParamValue& value) {
    if (!status_.ok()) return false;
    if (!IsNumber(value)) {
      return Fail(node, absl::StrCat("want a number after ", NameOf(node.op), ", got ",
                                     ParamValueText(value)));
    }
    const double real = AsDouble(value);
    switch (node.op) {
      case Op::kNegate:
      case Op::kAbs: {
        const auto* whole = std::get_if<int64_t>(&value);
        if (whole == nullptr) return node.op == Op::kNegate ? -real : std::abs(real);
        if (node.op == Op::kAbs && *whole >= 0) return value;
        if (*whole != std::numeric_limits<int64_t>::min()) return -*whole;
        return Fail(node, absl::StrCat("want an integer of 64 bits, got minus ", *whole));
      }
      case Op::kSqrt:
        if (real >= 0) return std::sqrt(real);
        return Fail(node, absl::StrCat("want sqrt() of at least 0, got ", ParamValueText(value)));
      case Op::kLog2:
        if (real > 0) return std::log2(real);
        return Fail(node, absl::StrCat("want log2() of more than 0, got ", ParamValueText(value)));
      default:
        return ToInteger(node, value);
    }
  }

  ParamValue ToInteger(const Node& node, const ParamValue& value) {
    if (IsInteger(value)) return value;
    const double real = std::get<double>(value);
    const double whole = node.op == Op::kRound   ? std::round(real)
                         : node.op == Op::kFloor ? std::floor(real)
                                                 : std::ceil(real);
    if (std::abs(whole) < 0x1p63) return static_cast<int64_t>(whole);
    return Fail(node, absl::StrCat("want an integer of 64 bits, got ", NameOf(node.op), "(",
                                   ParamValueText(value), ")"));
  }

  const Expression& expression_;
  const std::vector<const ParamValue*>& values_;
  absl::Status status_;
};

absl::StatusOr<ParamValue> Expression::Evaluate(
    const std::vector<const ParamValue*>& values) const {
  CHECK(values.size() == names_.size()) << "names of " << text_;
  return ExpressionEvaluator(*this, values).Run();
}

absl::StatusOr<bool> Expression::Holds(const std::vector<const ParamValue*>& values) const {
  absl::StatusOr<ParamValue> value = Evaluate(values);
  if (!value.ok()) return value.status();
  if (const bool* truth = std::get_if<bool>(&*value)) return *truth;
  return absl::InvalidArgumentError(
      absl::StrCat("want true or false, got ", ParamValueText(*value), " (", Where(1), ")"));
}

}  // namespace saffron
