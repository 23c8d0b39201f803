#include "coordinator/sweep/block_expander.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/expand.h"
#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {
namespace {

// FNV-1a, 32 bits: the stream of draws of a key in a block.
uint32_t StreamOf(std::string_view block, std::string_view key) {
  uint32_t hash = 2166136261u;
  for (std::string_view part : {block, std::string_view("\n"), key}) {
    for (char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  }
  return hash;
}

int64_t Times(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

}  // namespace

BlockExpander::BlockExpander(const SweepPlan& plan, const PlannedBlock& block,
                             uint64_t sampling_seed, ExpansionBudget& budget, Problems& problems)
    : plan_(plan),
      block_(block),
      sampling_seed_(sampling_seed),
      budget_(budget),
      problems_(problems) {
  for (const PlannedSetting& setting : plan.baseline) {
    Cell& cell = cells_[AddCell(*setting.key)];
    cell.baseline = *cell.now = setting.value;
    cell.place = cell.baseline_place = setting.place;
  }
  for (const PlannedAxis& planned : block.axes) {
    Axis axis{.planned = &planned, .cells = {}, .when = {}, .size = planned.size()};
    for (const ParamSpec* key : planned.keys) axis.cells.push_back(AddCell(*key));
    axis.stream = StreamOf(block.name, planned.keys.front()->key);
    if (!planned.distribution.has_value()) axis.used.resize(axis.size);
    axes_.push_back(std::move(axis));
  }
  for (const PlannedDerived& derived : block.derived) {
    derived_.push_back({AddCell(*derived.key), {}});
  }
  // Names are bound when every cell is there.
  for (Axis& axis : axes_) {
    for (const PlannedExpression& when : axis.planned->when) axis.when.push_back(BindNames(when));
  }
  for (size_t i = 0; i < derived_.size(); ++i) {
    derived_[i].expression = BindNames(block.derived[i].expression);
  }
  for (const PlannedExpression& exclude : block.exclude) exclude_.push_back(BindNames(exclude));
}

int BlockExpander::AddCell(const ParamSpec& key) {
  const auto [entry, added] = cell_of_.emplace(key.key, static_cast<int>(cells_.size()));
  if (added) {
    ParamValue& value = given_[key.key] = key.default_value;
    cells_.push_back({&key, &value, key.default_value, block_.place, block_.place});
  }
  return entry->second;
}

BlockExpander::BoundExpression BlockExpander::BindNames(const PlannedExpression& expression) {
  BoundExpression bound{&expression, {}};
  for (const Expression::Name& name : expression.expression.names()) {
    if (const auto given = given_.find(name.name); given != given_.end()) {
      bound.values.push_back(&given->second);
    } else if (const auto constant = plan_.constants.find(name.name);
               constant != plan_.constants.end()) {
      bound.values.push_back(&constant->second);
    } else {
      bound.values.push_back(&FindParam(name.name)->default_value);
    }
  }
  return bound;
}

void BlockExpander::Fail(const PlannedExpression& expression, const absl::Status& status) {
  problems_.Add(expression.place, expression.key, absl::StrCat(status.message(), Where()));
  stopped_ = true;
}

bool BlockExpander::Spend(const BoundExpression& expression) {
  budget_.operations -= expression.planned->expression.cost();
  if (budget_.operations >= 0) return true;
  problems_.Add(expression.planned->place, expression.planned->key,
                absl::StrCat("want at most ", ExpansionBudget::kOperations,
                             " operations for all combinations of a sweep, got more: too costly"));
  stopped_ = true;
  return false;
}

bool BlockExpander::SpendVisit() {
  if (--budget_.visits >= 0) return true;
  problems_.Add(block_.place, Key(),
                absl::StrCat("want a sweep that is expanded in at most ", ExpansionBudget::kVisits,
                             " steps, got more: exclude leaves too little of its blocks"));
  stopped_ = true;
  return false;
}

std::optional<bool> BlockExpander::Holds(BoundExpression& expression) {
  if (!Spend(expression)) return std::nullopt;
  const absl::StatusOr<bool> holds = expression.planned->expression.Holds(expression.values);
  if (holds.ok()) return *holds;
  Fail(*expression.planned, holds.status());
  return std::nullopt;
}

int64_t BlockExpander::SizeBound() const {
  if (block_.random) return block_.count;
  int64_t size = 1;
  for (const Axis& axis : axes_) size = Times(size, axis.size);
  return block_.count > 0 ? std::min(size, block_.count) : size;
}

std::string BlockExpander::SizesText() const {
  std::vector<std::string> sizes;
  for (const Axis& axis : axes_) {
    if (axis.size > 1) sizes.push_back(absl::StrCat(axis.planned->name, " ", axis.size));
  }
  return absl::StrJoin(sizes, " x ");
}

std::optional<int64_t> BlockExpander::CheckedSize() {
  int64_t size = SizeBound();
  if (size <= kCombinationsMax) return size;
  const bool conditional =
      std::any_of(axes_.begin(), axes_.end(), [](const Axis& axis) { return !axis.when.empty(); });
  if (conditional) {
    // Axes that exist side by side do not multiply; only walking over them tells. It ends soon
    // after the limit.
    size = 0;
    Nested(0, [this, &size] { return SpendVisit() && ++size <= kCombinationsMax; });
    const bool failed = stopped_ && size <= kCombinationsMax;
    stopped_ = false;
    for (Axis& axis : axes_) Leave(axis);
    if (failed) return std::nullopt;
    if (size <= kCombinationsMax) return size;
  }
  problems_.Add(block_.place, Key(),
                absl::StrCat("want at most ", kCombinationsMax, " combinations, got ",
                             conditional ? "more" : absl::StrCat(size), " (", SizesText(),
                             "); method: random draws some of them, count: N takes the first N"));
  return std::nullopt;
}

void BlockExpander::Choose(Axis& axis, int64_t choice) {
  axis.choice = choice;
  const PlannedAxis& planned = *axis.planned;
  if (!planned.groups.empty()) groups_ = planned.groups[choice];
  if (planned.distribution.has_value()) {
    Cell& cell = cells_[axis.cells.front()];
    *cell.now = planned.distribution->GridPoint(choice);
    cell.place = planned.place;
    return;
  }
  for (size_t k = 0; k < axis.cells.size(); ++k) {
    Cell& cell = cells_[axis.cells[k]];
    const PlannedValue& value = planned.values[choice * axis.cells.size() + k];
    *cell.now = value.value.has_value() ? *value.value : cell.baseline;
    cell.place = value.value.has_value() ? value.place : cell.baseline_place;
  }
}

void BlockExpander::Leave(Axis& axis) {
  axis.choice = -1;
  for (int index : axis.cells) {
    Cell& cell = cells_[index];
    *cell.now = cell.baseline;
    cell.place = cell.baseline_place;
  }
}

bool BlockExpander::Exists(Axis& axis, bool* exists) {
  *exists = true;
  for (BoundExpression& condition : axis.when) {
    const std::optional<bool> holds = Holds(condition);
    if (!holds.has_value()) return false;
    *exists = *exists && *holds;
  }
  return true;
}

// Calls `leaf` for every combination of the axes from `depth` on. False when the walk is over.
bool BlockExpander::Nested(size_t depth, const std::function<bool()>& leaf) {
  if (depth == axes_.size()) {
    stopped_ = stopped_ || !leaf();
    return !stopped_;
  }
  Axis& axis = axes_[depth];
  bool exists = true;
  if (!Exists(axis, &exists)) return false;
  if (!exists) {
    Leave(axis);
    return Nested(depth + 1, leaf);
  }
  for (int64_t choice = 0; choice < axis.size; ++choice) {
    Choose(axis, choice);
    if (!Nested(depth + 1, leaf)) return false;
  }
  Leave(axis);
  return true;
}

bool BlockExpander::Derive() {
  for (Derived& derived : derived_) {
    const PlannedExpression& planned = *derived.expression.planned;
    if (!Spend(derived.expression)) return false;
    const absl::StatusOr<ParamValue> value = planned.expression.Evaluate(derived.expression.values);
    if (!value.ok()) {
      Fail(planned, value.status());
      return false;
    }
    Cell& cell = cells_[derived.cell];
    absl::StatusOr<ParamValue> fitting = FitToKey(*cell.key, *value, true);
    if (!fitting.ok()) {
      Fail(planned, fitting.status());
      return false;
    }
    *cell.now = *std::move(fitting);
    cell.place = planned.place;
  }
  return true;
}

std::optional<bool> BlockExpander::Excluded() {
  for (BoundExpression& exclude : exclude_) {
    const std::optional<bool> holds = Holds(exclude);
    if (!holds.has_value()) return std::nullopt;
    if (!*holds) continue;
    ++exclude.hits;
    return true;
  }
  return false;
}

// Derives, excludes, visits. False when the walk is over.
bool BlockExpander::AtCombination(const std::function<bool(const Combination&)>& visit) {
  if (!SpendVisit() || !Derive()) return false;
  const std::optional<bool> excluded = Excluded();
  if (!excluded.has_value()) return false;
  for (Axis& axis : axes_) {
    if (axis.choice < 0) continue;
    ++axis.reached;
    if (*excluded) continue;
    ++axis.kept;
    if (!axis.used.empty()) axis.used[axis.choice] = true;
  }
  if (*excluded) {
    ++excluded_;
    return true;
  }
  if (!visit({given_, kept_++, groups_})) return false;
  return block_.count == 0 || kept_ < block_.count;
}

void BlockExpander::WalkGrid(const std::function<bool(const Combination&)>& visit) {
  int64_t walked = 0;
  Nested(0, [&] {
    // A count of the first N lifts the limit on the product; `exclude` must not search it for ever.
    if (++walked <= kCombinationsMax) return AtCombination(visit);
    problems_.Add(block_.place, Key(),
                  absl::StrCat("want ", block_.count,
                               " combinations that exclude leaves among the "
                               "first ",
                               kCombinationsMax, ", got ", kept_));
    return false;
  });
}

bool BlockExpander::Draw(Axis& axis, int64_t index) {
  const CounterRandom random(sampling_seed_, RandomPurpose::kSweep,
                             static_cast<uint32_t>(axis.stream));
  const PlannedAxis& planned = *axis.planned;
  if (planned.distribution.has_value()) {
    std::optional<ParamValue> value = planned.distribution->Draw(random, index);
    if (!value.has_value()) {
      problems_.Add(planned.place, planned.name,
                    "want a distribution that reaches the key's range, got 64 draws outside of it");
      stopped_ = true;
      return false;
    }
    Cell& cell = cells_[axis.cells.front()];
    *cell.now = *std::move(value);
    cell.place = planned.place;
    axis.choice = 0;
    return true;
  }
  if (planned.cumulative.empty()) {
    Choose(axis, static_cast<int64_t>(random.Below(index, axis.size)));
    return true;
  }
  const double at = random.Uniform(index) * planned.cumulative.back();
  const auto found = std::upper_bound(planned.cumulative.begin(), planned.cumulative.end(), at);
  Choose(axis, std::min<int64_t>(found - planned.cumulative.begin(), axis.size - 1));
  return true;
}

void BlockExpander::WalkRandom(const std::function<bool(const Combination&)>& visit) {
  // A draw that is excluded is made again; not for ever.
  const int64_t draws_max = 20 * block_.count + 1000;
  for (int64_t draw = 0; !stopped_; ++draw) {
    if (draw == draws_max) {
      if (kept_ == 0) return;  // the whole block is excluded: reported as such
      problems_.Add(block_.place, Key(),
                    absl::StrCat("want ", block_.count, " draws that exclude leaves, got ", kept_,
                                 " of ", draws_max));
      return;
    }
    for (Axis& axis : axes_) {
      bool exists = true;
      if (!Exists(axis, &exists)) return;
      if (!exists) Leave(axis);
      if (exists && !Draw(axis, draw)) return;
    }
    if (!AtCombination(visit)) return;
  }
}

void BlockExpander::Walk(const std::function<bool(const Combination&)>& visit) {
  if (block_.random) {
    WalkRandom(visit);
  } else {
    WalkGrid(visit);
  }
  if (problems_.empty()) CheckLeftovers();
}

void BlockExpander::CheckLeftovers() {
  const BoundExpression* most = nullptr;
  for (const BoundExpression& exclude : exclude_) {
    if (exclude.hits > 0 && (most == nullptr || exclude.hits > most->hits)) most = &exclude;
  }
  if (most == nullptr) return;
  // Of a walk that ended early nothing is known about the rest.
  if (block_.count > 0 && kept_ == block_.count) return;
  const std::string text = most->planned->expression.text();
  std::vector<std::string> emptied;
  for (const Axis& axis : axes_) {
    if (axis.reached > 0 && axis.kept == 0) emptied.push_back(axis.planned->name);
  }
  if (kept_ == 0) {
    problems_.Add(most->planned->place, "exclude",
                  absl::StrCat("want something left of block ", block_.name, ", got all ",
                               excluded_, " combinations of ", absl::StrJoin(emptied, ", "),
                               " excluded (", most->hits, " by `", text, "`)"));
  } else if (!emptied.empty()) {
    problems_.Add(most->planned->place, "exclude",
                  absl::StrCat("want something left of every axis of block ", block_.name,
                               ", got every value of ", absl::StrJoin(emptied, ", "), " excluded (",
                               most->hits, " combinations by `", text, "`)"));
  }
}

Place BlockExpander::PlaceOfKey(std::string_view key) const {
  const auto cell = cell_of_.find(key);
  return cell == cell_of_.end() ? block_.place : cells_[cell->second].place;
}

std::string BlockExpander::Where() const {
  std::vector<std::string> settings;
  for (const Axis& axis : axes_) {
    if (axis.choice < 0) continue;
    for (int index : axis.cells) {
      settings.push_back(
          absl::StrCat(cells_[index].key->key, " = ", ParamValueText(*cells_[index].now)));
    }
  }
  return absl::StrCat(" (in block ", block_.name, settings.empty() ? "" : ", where ",
                      absl::StrJoin(settings, " and "), ")");
}

std::vector<std::string> BlockExpander::Notes() const {
  std::vector<std::string> notes;
  if (block_.random) return notes;
  for (const Axis& axis : axes_) {
    const PlannedAxis& planned = *axis.planned;
    if (axis.reached == 0) {
      notes.push_back(absl::StrCat(problems_.Location(planned.place), ": ", planned.name,
                                   ": its `when` holds nowhere in block ", block_.name));
      continue;
    }
    if (excluded_ == 0 || block_.count > 0 || axis.cells.size() != 1) continue;
    std::vector<std::string> unused;
    for (size_t choice = 0; choice < axis.used.size(); ++choice) {
      if (!axis.used[choice]) unused.push_back(ParamValueText(*planned.values[choice].value));
    }
    if (unused.empty()) continue;
    constexpr size_t kShown = 5;
    const size_t more = unused.size() - std::min(unused.size(), kShown);
    unused.resize(unused.size() - more);
    notes.push_back(absl::StrCat(problems_.Location(planned.place), ": ", planned.name,
                                 ": exclude leaves no combination of block ", block_.name, " with ",
                                 absl::StrJoin(unused, ", "),
                                 more > 0 ? absl::StrCat(" and ", more, " more") : ""));
  }
  return notes;
}

}  // namespace saffron
