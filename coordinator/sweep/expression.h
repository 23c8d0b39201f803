#pragma once
// The expressions of `derived`, `when`, `exclude` and of values that begin with '='. Pure: no side
// effects, no loops; every cost is bounded when the text is parsed.
//
//   a if c else b                     c is a boolean; only the branch taken is evaluated
//   or  and  not   (|| && !)          of booleans; the right side only where it matters
//   == != < <= > >=  in  not in       numbers with numbers, strings with strings, booleans == !=;
//                                     in a [list], or part of a string; a < b < c is a < b and b <
//                                     c
//   + -   * / // %   -x   **          integers stay integers: overflow is an error; a / b of
//   integers
//                                     is an integer where it comes out even; // and % round down
//   min max round floor ceil abs sqrt log2 (...)      round: half away from zero; to integers
//   12  1.5e-3  'text'  "text"  true  false  [a, b]  (…)
//   model.bits  tokens                a registered key or a constant
//
// Loosest first. Numbers never compare with strings: a typed error, not false. A result that is not
// finite, a division by zero, the root of a negative number are errors that show the operands.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/variant.h"

namespace saffron {

inline constexpr int kExpressionBytesMax = 4096;
inline constexpr int kExpressionDepthMax = 64;
inline constexpr int kExpressionCostMax = 4096;

// Words that cannot name a constant: "and", "in", "min", ...
bool IsExpressionWord(std::string_view word);

// A parsed expression. Immutable and thread-safe.
class Expression {
 public:
  struct Name {
    std::string name;
    int column;  // of its first use, from 1
  };

  // INVALID_ARGUMENT: "want …, got … (column N of "text")".
  static absl::StatusOr<Expression> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  // The distinct names that it reads, by first use.
  const std::vector<Name>& names() const { return names_; }
  // Upper bound of the operations of one evaluation, at most kExpressionCostMax.
  int64_t cost() const { return cost_; }

  // The value where names()[i] is *values[i]. INVALID_ARGUMENT as Parse.
  absl::StatusOr<ParamValue> Evaluate(const std::vector<const ParamValue*>& values) const;
  // As Evaluate, of an expression that must be true or false.
  absl::StatusOr<bool> Holds(const std::vector<const ParamValue*>& values) const;

  // "column N of "text"", to point at a name.
  std::string Where(int column) const;

 private:
  friend class ExpressionParser;
  friend class ExpressionEvaluator;
  enum class Op : uint8_t {
    kLiteral,
    kName,
    kIf,
    kOr,
    kAnd,
    kNot,
    kNegate,
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kFloorDivide,
    kModulo,
    kPower,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kIn,
    kNotIn,
    kList,
    kMin,
    kMax,
    kRound,
    kFloor,
    kCeil,
    kAbs,
    kSqrt,
    kLog2,
  };
  struct Node {
    Op op;
    int column;
    std::vector<int> children = {};  // indices of nodes; several may share one
    int index = -1;                  // kLiteral: into literals_; kName: into names_
    int64_t cost = 1;                // operations of evaluating it, children included
  };

  std::string text_;
  std::vector<Name> names_;
  std::vector<ParamValue> literals_;
  std::vector<Node> nodes_;  // children before parents; the last is the root
  int64_t cost_ = 0;
};

}  // namespace saffron
