// Blocks that start from the models of other variants.

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/sweep_limits.h"
#include "coordinator/sweep/sweep_plan.h"
#include "core/data/utf8.h"
#include "core/derive/derive_op.h"

namespace saffron {
namespace {

constexpr char kKey[] = "init_from.variant";
constexpr size_t kDerivationBytesMax = 200;

// "BLOCK", "BLOCK #N".
struct Reference {
  std::string block;
  std::optional<int64_t> position;
};

Reference ParseReference(const std::string& text) {
  const size_t hash = text.rfind(" #");
  int64_t position = 0;
  if (hash == std::string::npos || !absl::SimpleAtoi(text.substr(hash + 2), &position) ||
      position < 0) {
    return {text, std::nullopt};
  }
  return {text.substr(0, hash), position};
}

class InitPlanner {
 public:
  InitPlanner(const v1::SweepSpec& spec, SweepPlan* plan, Problems& problems)
      : spec_(spec), plan_(plan), problems_(problems) {}

  void Plan() {
    for (int i = 0; i < spec_.blocks_size() && i < std::ssize(plan_->blocks); ++i) {
      if (spec_.blocks(i).has_init_from()) PlanOne(i, spec_.blocks(i).init_from());
    }
  }

 private:
  void Fail(const v1::InitFrom& init, std::string_view key, const std::string& what) {
    problems_.Add(init.position(), key, what);
  }

  void PlanOne(int i, const v1::InitFrom& init) {
    PlannedInit planned{.place = PlaceOf(init.position())};
    if (init.variant().empty() == init.settings().empty()) {
      return Fail(init, kKey,
                  absl::StrCat("want baseline, the name of a block above, \"BLOCK #N\", or the "
                               "settings in which the parent differs, got ",
                               init.variant().empty() ? "none" : "two of them"));
    }
    if (!init.variant().empty() && !FindBlock(i, init, &planned)) return;
    planned.settings = ValuePlanner(plan_->constants, problems_).Settings(init.settings());
    if (init.has_seed()) {
      const uint64_t first = spec_.seeds().first();
      if (init.seed() < first || init.seed() - first >= spec_.seeds().count()) {
        Fail(init, "init_from.seed",
             absl::StrCat("want same, or one of the sweep's seeds (", first, " to ",
                          first + spec_.seeds().count() - 1, "), got ", init.seed()));
      }
      planned.seed = init.seed();
    }
    if (!v1::InitFrom::Checkpoint_IsValid(init.checkpoint())) {
      Fail(init, "init_from.checkpoint", "want best or last, got another");
    }
    planned.best = init.checkpoint() == v1::InitFrom::BEST;
    if (init.derive_size() > kDerivationsMax) {
      Fail(
          init, "init_from.derive",
          absl::StrCat("want at most ", kDerivationsMax, " derivations, got ", init.derive_size()));
    }
    for (const std::string& derive : init.derive()) {
      if (derive.empty() || derive.size() > kDerivationBytesMax || FirstInvalidUtf8(derive)) {
        Fail(init, "init_from.derive",
             absl::StrCat("want operators such as mlp:x2, at most ", kDerivationBytesMax,
                          " bytes, got ", derive.empty() ? "none" : "something else"));
      } else if (const auto ops = ParseDeriveOps(derive); !ops.ok()) {
        Fail(init, "init_from.derive", std::string(ops.status().message()));
      }
      planned.derive.push_back(derive);
    }
    if (!v1::InitFrom::State_IsValid(init.state())) {
      Fail(init, "init_from.state", "want keep or reset, got another");
    }
    planned.reset_state = init.state() == v1::InitFrom::RESET;
    planned.keep_state = init.state() == v1::InitFrom::KEEP;
    if (planned.keep_state && planned.best) {
      Fail(init, "init_from.state",
           "want reset with checkpoint: best, which is a model without its optimiser's state, got "
           "keep; checkpoint: last has that state");
    }
    plan_->blocks[i].init = std::move(planned);
  }

  bool FindBlock(int i, const v1::InitFrom& init, PlannedInit* planned) {
    if (init.variant() == "baseline") {
      if (spec_.include_baseline()) return true;
      Fail(init, kKey,
           "want a variant of the sweep, got the baseline, which is none (include_baseline)");
      return false;
    }
    const Reference reference = ParseReference(init.variant());
    planned->position = reference.position;
    planned->block = IndexOf(reference.block);
    if (planned->block < 0) {
      std::vector<std::string> names = {"baseline"};
      for (const v1::Block& block : spec_.blocks()) names.push_back(block.name());
      Fail(init, kKey,
           absl::StrCat("want baseline or the name of a block above, got ", init.variant(),
                        DidYouMean(NearestName(reference.block, names))));
      return false;
    }
    if (planned->block < i) return true;
    const std::string cycle = CycleThrough(i);
    Fail(init, kKey,
         !cycle.empty() ? absl::StrCat("want blocks that do not start from each other, got ", cycle)
                        : absl::StrCat("want a block above ", spec_.blocks(i).name(), ", got ",
                                       reference.block, ", which stands below it: move it up"));
    return false;
  }

  int IndexOf(const std::string& block) const {
    for (int i = 0; i < spec_.blocks_size(); ++i) {
      if (spec_.blocks(i).name() == block) return i;
    }
    return -1;
  }

  // "a -> b -> a" when the block starts from itself, by way of others or not; else nothing.
  std::string CycleThrough(int start) const {
    std::vector<std::string> path = {spec_.blocks(start).name()};
    for (int at = start; std::ssize(path) <= spec_.blocks_size() + 1;) {
      if (!spec_.blocks(at).has_init_from()) return "";
      at = IndexOf(ParseReference(spec_.blocks(at).init_from().variant()).block);
      if (at < 0) return "";
      path.push_back(spec_.blocks(at).name());
      if (at == start) return absl::StrJoin(path, " -> ");
    }
    return "";
  }

  const v1::SweepSpec& spec_;
  SweepPlan* const plan_;
  Problems& problems_;
};

}  // namespace

void PlanInits(const v1::SweepSpec& spec, SweepPlan* plan, Problems& problems) {
  InitPlanner(spec, plan, problems).Plan();
}

}  // namespace saffron
