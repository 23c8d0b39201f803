#pragma once
// Walks the combinations of one block in order.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/sweep/problems.h"
#include "coordinator/sweep/sweep_plan.h"

namespace saffron {

// A combination that `exclude` kept.
struct Combination {
  // Every key that the baseline or the block sets, with its value.
  const Params& given;
  int64_t position;           // among those kept
  const std::string& groups;  // of an ablation, '+'-joined; else empty
};

// What expanding a sweep may cost, over all of its blocks: seconds, whatever somebody submits.
struct ExpansionBudget {
  static constexpr int64_t kOperations = 50'000'000;
  static constexpr int64_t kVisits = 3'000'000;
  int64_t operations = kOperations;  // of expressions
  int64_t visits = kVisits;          // to combinations, excluded and drawn-again ones included
};

class BlockExpander {
 public:
  // The plan and the rest must outlive the expander.
  BlockExpander(const SweepPlan& plan, const PlannedBlock& block, uint64_t sampling_seed,
                ExpansionBudget& budget, Problems& problems);

  // The number of combinations, an upper bound where axes have conditions; nothing, and a problem
  // that names the axes and their sizes, when it is over kCombinationsMax. Expands nothing.
  std::optional<int64_t> CheckedSize();

  // Calls `visit` for every combination in order, until it returns false or problems stop the walk.
  // Then excluded() holds, and a block or axis of which nothing is left has been added as a
  // problem.
  void Walk(const std::function<bool(const Combination&)>& visit);

  int64_t excluded() const { return excluded_; }
  // Where the current value of `key` was written; the block where nothing else is known.
  Place PlaceOfKey(std::string_view key) const;
  // " (in block size, where model.bits = 8 and model.context = 2)".
  std::string Where() const;
  // "blocks.size".
  std::string Key() const { return "blocks." + block_.name; }
  // Sentences about what no kept combination used.
  std::vector<std::string> Notes() const;

 private:
  // A key that the block or the baseline sets: its value now, and outside of any choice.
  struct Cell {
    const ParamSpec* key;
    ParamValue* now;
    ParamValue baseline;
    Place place, baseline_place;
  };
  struct BoundExpression {
    const PlannedExpression* planned;
    std::vector<const ParamValue*> values;
    int64_t hits = 0;  // of an exclude: combinations that it left out
  };
  struct Axis {
    const PlannedAxis* planned;
    std::vector<int> cells;
    std::vector<BoundExpression> when;
    int64_t size;
    int64_t stream = 0;           // of random draws
    std::vector<bool> used = {};  // choices in kept combinations
    int64_t choice = -1;          // now; -1: the axis does not exist here
    int64_t reached = 0;          // combinations in which it existed
    int64_t kept = 0;             // of these, those not excluded
  };
  struct Derived {
    int cell;
    BoundExpression expression;
  };

  int AddCell(const ParamSpec& key);
  BoundExpression BindNames(const PlannedExpression& expression);
  std::optional<bool> Holds(BoundExpression& expression);
  // Takes an evaluation, or a visit, from the budget.
  bool Spend(const BoundExpression& expression);
  bool SpendVisit();
  int64_t SizeBound() const;  // saturates
  void Fail(const PlannedExpression& expression, const absl::Status& status);

  bool Exists(Axis& axis, bool* exists);
  void Choose(Axis& axis, int64_t choice);
  void Leave(Axis& axis);
  bool Draw(Axis& axis, int64_t index);
  bool Nested(size_t depth, const std::function<bool()>& leaf);
  bool AtCombination(const std::function<bool(const Combination&)>& visit);
  bool Derive();
  std::optional<bool> Excluded();
  void WalkGrid(const std::function<bool(const Combination&)>& visit);
  void WalkRandom(const std::function<bool(const Combination&)>& visit);
  void CheckLeftovers();
  std::string SizesText() const;

  const SweepPlan& plan_;
  const PlannedBlock& block_;
  uint64_t sampling_seed_;
  ExpansionBudget& budget_;
  Problems& problems_;
  Params given_;
  std::vector<Cell> cells_;
  std::map<std::string, int, std::less<>> cell_of_;
  std::vector<Axis> axes_;
  std::vector<Derived> derived_;
  std::vector<BoundExpression> exclude_;
  std::string groups_;
  int64_t excluded_ = 0, kept_ = 0;
  bool stopped_ = false;  // by `visit`, an error, or the block's count
};

}  // namespace saffron
