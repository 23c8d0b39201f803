#pragma once
// A spec with every value evaluated, fitted to its key, and every expression parsed: what expansion
// walks over. Making it finds whatever is wrong with a spec before combinations are made.

#include <optional>
#include <string>
#include <vector>

#include "coordinator/sweep/distribution.h"
#include "coordinator/sweep/expression.h"
#include "coordinator/sweep/problems.h"
#include "coordinator/sweep/sweep_values.h"
#include "core/model/registry.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

struct PlannedSetting {
  const ParamSpec* key = nullptr;
  ParamValue value = {};
  Place place = {};
};

struct PlannedExpression {
  Expression expression;
  std::string key;  // of the spec: "exclude", or the key of `when` or `derived`
  Place place;
};

// A value of one key in one choice of an axis. Not set: the key keeps its baseline value.
struct PlannedValue {
  std::optional<ParamValue> value = {};
  Place place = {};
};

// Something that varies: one parameter, a zip, or the changes of an ablation. Either `values` or
// `distribution`.
struct PlannedAxis {
  std::string name = {};  // "model.bits", "train.steps+train.lr", "ablate"
  Place place = {};
  std::vector<const ParamSpec*> keys = {};
  std::vector<PlannedValue> values = {};  // [choices, keys], row by row
  std::vector<double> cumulative = {};    // [choices] of probabilities; empty: all equal
  std::vector<std::string> groups = {};   // [choices] of an ablation: what is changed
  std::optional<Distribution> distribution = {};
  std::vector<PlannedExpression> when = {};  // the axis exists where all hold

  // Number of choices of a grid.
  int64_t size() const;
};

struct PlannedDerived {
  const ParamSpec* key;
  PlannedExpression expression;
};

// Where the variants of a block start from.
struct PlannedInit {
  Place place = {};
  int block = -1;                             // of the plan; -1: the baseline, or `settings`
  std::optional<int64_t> position = {};       // in the block; not set: its only variant
  std::vector<PlannedSetting> settings = {};  // not empty: the variant that differs in these
  std::optional<uint64_t> seed = {};          // not set: the same as the trial's
  bool best = false;                          // the best checkpoint, not the last
  std::vector<std::string> derive = {};
  bool reset_state = false;  // of the optimiser
  bool keep_state = false;   // it is asked for by name, not by default: it must be possible
};

struct PlannedBlock {
  std::string name;
  Place place;
  bool random = false;
  int64_t count = 0;
  std::vector<PlannedAxis> axes;        // slowest first; those with conditions after what they read
  std::vector<PlannedDerived> derived;  // each after those it reads
  std::vector<PlannedExpression> exclude;
  std::optional<PlannedInit> init = {};
};

struct SweepPlan {
  Constants constants;
  std::vector<PlannedSetting> baseline;
  std::vector<PlannedBlock> blocks;
};

// Sets what `spec` leaves open to its default.
void FillDefaults(v1::SweepSpec* spec);

// The plan of a spec with its defaults filled in. Of use only when no problem was added.
SweepPlan PlanSweep(const v1::SweepSpec& spec, Problems& problems);

// Steps of PlanSweep.
class ValuePlanner {
 public:
  ValuePlanner(const Constants& constants, Problems& problems)
      : constants_(constants), problems_(problems) {}

  // The registered key, or nullptr and a problem.
  const ParamSpec* Key(const std::string& key, const v1::Position& position);
  // The value, fitting its key.
  std::optional<ParamValue> Value(const ParamSpec& key, const v1::SweepValue& value);
  // A number that need not fit a key; `what` completes the key in the problem ("model.bits.min").
  std::optional<double> Number(const std::string& what, const v1::SweepValue& value);
  std::optional<PlannedSetting> Setting(const v1::Setting& setting);
  // Settings with each key once.
  std::vector<PlannedSetting> Settings(const google::protobuf::RepeatedPtrField<v1::Setting>& all);

 private:
  const Constants& constants_;
  Problems& problems_;
};

// The parents of the spec's blocks: what they name is there, stands above, and none is its own
// ancestor.
void PlanInits(const v1::SweepSpec& spec, SweepPlan* plan, Problems& problems);
PlannedBlock PlanBlock(const v1::Block& block, const Constants& constants, Problems& problems);
// The axis of a parameter.
PlannedAxis PlanParameter(const v1::Parameter& parameter, const ParamSpec& key, bool random,
                          const Constants& constants, Problems& problems);
// The axis of an ablation: its choices by mode.
PlannedAxis PlanAblation(const v1::Ablation& ablation, const Constants& constants,
                         Problems& problems);

}  // namespace saffron
