// One block of a sweep: its axes and expressions, in an order in which each may be evaluated.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/dependency_order.h"
#include "coordinator/sweep/sweep_limits.h"
#include "coordinator/sweep/sweep_plan.h"

namespace saffron {
namespace {

// "a -> b -> a".
std::string CycleText(const std::vector<int>& cycle, const std::vector<std::string>& names) {
  std::vector<std::string> path;
  for (int i : cycle) path.push_back(names[i]);
  path.push_back(path.front());
  return absl::StrJoin(path, " -> ");
}

class BlockPlanner {
 public:
  BlockPlanner(const v1::Block& block, const Constants& constants, Problems& problems)
      : block_(block),
        constants_(constants),
        values_(constants, problems),
        problems_(problems),
        known_(KnownNames(constants)) {}

  PlannedBlock Plan() {
    plan_.name = block_.name();
    plan_.place = PlaceOf(block_.position());
    plan_.random = block_.method() == v1::Block::RANDOM;
    plan_.count = block_.count();
    CheckMethod();
    if (block_.has_ablate()) AddAxis(PlanAblation(block_.ablate(), constants_, problems_));
    for (const v1::Parameter& parameter : block_.parameters()) AddParameter(parameter);
    for (const v1::Zip& zip : block_.zip()) AddZip(zip);
    PlanDerived();
    PlanConditions();
    for (const v1::Expression& exclude : block_.exclude()) {
      if (auto parsed = Parse(exclude, "exclude")) plan_.exclude.push_back(*std::move(parsed));
    }
    return std::move(plan_);
  }

 private:
  std::string BlockKey() const { return absl::StrCat("blocks.", block_.name()); }

  void CheckMethod() {
    const auto fail = [this](std::string_view what) {
      problems_.Add(block_.position(), BlockKey(), what);
    };
    if (!v1::Block::Method_IsValid(block_.method()))
      fail("want method grid or random, got another");
    if (block_.count() < 0 || block_.count() > kCountMax) {
      fail(absl::StrCat("want count in [1, ", kCountMax, "], got ", block_.count()));
    }
    if (plan_.random && block_.count() == 0) {
      fail(
          "want count (or run_cap in a W&B file), the number of variants to draw, with method: "
          "random, got none");
    }
    if (plan_.random && block_.has_ablate()) fail("want method: grid with ablate, got random");
    // Where something else is wrong, it is likely a misspelt one.
    if (problems_.empty() && block_.parameters().empty() && block_.zip().empty() &&
        !block_.has_ablate() && !block_.has_init_from()) {
      fail("want parameters, zip, ablate or init_from, got none of them");
    }
  }

  // Each key is set in one way only.
  bool Claim(const ParamSpec& key, const v1::Position& position, const std::string& how) {
    const auto [entry, first] = owners_.emplace(key.key, how);
    if (first) return true;
    problems_.Add(position, key.key,
                  absl::StrCat("want each key set once in a block, got it in ", entry->second,
                               " and in ", how));
    return false;
  }

  void AddAxis(PlannedAxis axis) {
    // An ablation has no condition and comes first of all, so that nobody asks for its place.
    const bool ablation = axis.name == "ablate";
    for (const ParamSpec* key : axis.keys) {
      if (ablation) owners_.emplace(key->key, "ablate");
      if (!ablation) axis_of_[key->key] = static_cast<int>(plan_.axes.size());
    }
    plan_.axes.push_back(std::move(axis));
  }

  void AddParameter(const v1::Parameter& parameter) {
    const ParamSpec* key = values_.Key(parameter.key(), parameter.position());
    if (key == nullptr || !Claim(*key, parameter.position(), "parameters")) return;
    AddAxis(PlanParameter(parameter, *key, plan_.random, constants_, problems_));
  }

  void AddZip(const v1::Zip& zip) {
    if (zip.parameters().empty()) {
      problems_.Add(zip.position(), "zip", "want at least one key with its values, got none");
      return;
    }
    PlannedAxis axis{.place = PlaceOf(zip.position())};
    std::vector<std::string> names, lengths;
    std::vector<PlannedAxis> columns;
    for (const v1::Parameter& parameter : zip.parameters()) {
      names.push_back(parameter.key());
      lengths.push_back(absl::StrCat(parameter.key(), " ", parameter.values_size()));
      const ParamSpec* key = values_.Key(parameter.key(), parameter.position());
      if (key == nullptr || !Claim(*key, parameter.position(), "zip")) continue;
      if (parameter.has_min() || parameter.has_max() || !parameter.probabilities().empty() ||
          parameter.distribution() != v1::Parameter::DISTRIBUTION_UNSPECIFIED) {
        problems_.Add(parameter.position(), parameter.key(),
                      "want a list of values in a zip, got a "
                      "distribution");
      }
      columns.push_back(PlanParameter(parameter, *key, plan_.random, constants_, problems_));
      axis.keys.push_back(key);
    }
    axis.name = absl::StrJoin(names, "+");
    for (const v1::Parameter& parameter : zip.parameters()) {
      if (parameter.values_size() == zip.parameters(0).values_size()) continue;
      problems_.Add(parameter.position(), "zip",
                    absl::StrCat("want lists of one length, got ", absl::StrJoin(lengths, ", ")));
      return;
    }
    for (int i = 0; i < zip.parameters(0).values_size(); ++i) {
      for (const PlannedAxis& column : columns) {
        axis.values.push_back(i < static_cast<int>(column.values.size()) ? column.values[i]
                                                                         : PlannedValue{});
      }
    }
    AddAxis(std::move(axis));
  }

  // Parses and checks the names.
  std::optional<PlannedExpression> Parse(const v1::Expression& written, const std::string& key) {
    absl::StatusOr<Expression> expression = Expression::Parse(written.text());
    if (!expression.ok()) {
      problems_.Add(written.position(), key, std::string(expression.status().message()));
      return std::nullopt;
    }
    for (const Expression::Name& name : expression->names()) {
      if (FindParam(name.name) != nullptr || constants_.count(name.name) > 0) continue;
      problems_.Add(written.position(), key,
                    std::string(UnknownName(*expression, name, known_).message()));
      return std::nullopt;
    }
    return PlannedExpression{*std::move(expression), key, PlaceOf(written.position())};
  }

  void PlanDerived() {
    std::vector<PlannedDerived> all;
    std::vector<std::string> names;
    for (const v1::KeyExpression& derived : block_.derived()) {
      const ParamSpec* key = values_.Key(derived.key(), derived.position());
      if (key == nullptr || !Claim(*key, derived.position(), "derived")) continue;
      derived_.insert(key->key);
      auto expression = Parse(derived.expression(), derived.key());
      if (!expression.has_value()) continue;
      all.push_back({key, *std::move(expression)});
      names.push_back(key->key);
    }
    std::vector<std::vector<int>> depends_on(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      for (const Expression::Name& name : all[i].expression.expression.names()) {
        const auto other = std::find(names.begin(), names.end(), name.name);
        if (other != names.end()) depends_on[i].push_back(static_cast<int>(other - names.begin()));
      }
    }
    const DependencyOrder order = OrderByDependency(depends_on);
    if (!order.cycle.empty()) {
      const PlannedDerived& first = all[order.cycle.front()];
      problems_.Add(first.expression.place, first.key->key,
                    absl::StrCat("want derived keys that do not read each other in a circle, got ",
                                 CycleText(order.cycle, names)));
      return;
    }
    for (int i : order.order) plan_.derived.push_back(std::move(all[i]));
  }

  void PlanConditions() {
    for (const v1::KeyExpression& when : block_.when()) {
      const auto axis = axis_of_.find(when.key());
      if (axis == axis_of_.end()) {
        if (values_.Key(when.key(), when.position()) == nullptr) continue;
        problems_.Add(
            when.position(), when.key(),
            absl::StrCat("want a key of this block's parameters or zip, got one of no axis"));
        continue;
      }
      auto condition = Parse(when.expression(), when.key());
      if (!condition.has_value()) continue;
      for (const Expression::Name& name : condition->expression.names()) {
        if (derived_.count(name.name) == 0) continue;
        problems_.Add(
            condition->place, when.key(),
            absl::StrCat("want a condition on axes and the baseline, got the derived key ",
                         name.name, ", which is computed later"));
      }
      plan_.axes[axis->second].when.push_back(*std::move(condition));
    }
    OrderAxes();
  }

  void OrderAxes() {
    std::vector<std::vector<int>> depends_on(plan_.axes.size());
    std::vector<std::string> names;
    for (size_t i = 0; i < plan_.axes.size(); ++i) {
      names.push_back(plan_.axes[i].name);
      for (const PlannedExpression& condition : plan_.axes[i].when) {
        for (const Expression::Name& name : condition.expression.names()) {
          const auto other = axis_of_.find(name.name);
          if (other != axis_of_.end()) depends_on[i].push_back(other->second);
        }
      }
    }
    const DependencyOrder order = OrderByDependency(depends_on);
    if (!order.cycle.empty()) {
      const PlannedExpression& condition = plan_.axes[order.cycle.front()].when.front();
      problems_.Add(condition.place, condition.key,
                    absl::StrCat("want conditions that do not read each other in a circle, got ",
                                 CycleText(order.cycle, names)));
      return;
    }
    std::vector<PlannedAxis> ordered;
    for (int i : order.order) ordered.push_back(std::move(plan_.axes[i]));
    plan_.axes = std::move(ordered);
  }

  const v1::Block& block_;
  const Constants& constants_;
  ValuePlanner values_;
  Problems& problems_;
  std::vector<std::string> known_;
  std::map<std::string, std::string> owners_;  // key -> what sets it
  std::map<std::string, int> axis_of_;         // key -> index into plan_.axes
  std::set<std::string> derived_;
  PlannedBlock plan_;
};

}  // namespace

PlannedBlock PlanBlock(const v1::Block& block, const Constants& constants, Problems& problems) {
  return BlockPlanner(block, constants, problems).Plan();
}

}  // namespace saffron
