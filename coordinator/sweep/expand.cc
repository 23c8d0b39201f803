#include "coordinator/sweep/expand.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/block_expander.h"
#include "coordinator/sweep/problems.h"
#include "coordinator/sweep/sweep_plan.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"
#include "core/train/start_rules.h"

namespace saffron {
namespace {

constexpr char kDefaultMetric[] = "test/perplexity";

// "model.bits: want …" of ResolvedVariant::Resolve, taken apart.
std::pair<std::string, std::string> SplitKey(absl::string_view message) {
  const size_t colon = message.find(": ");
  if (colon == absl::string_view::npos) return {"", std::string(message)};
  return {std::string(message.substr(0, colon)), std::string(message.substr(colon + 2))};
}

// Digests are random already: eight of their characters are hash enough.
struct DigestHash {
  size_t operator()(std::string_view digest) const {
    uint64_t word = 0;
    std::memcpy(&word, digest.data(), sizeof word);
    return word * 0x9E3779B97F4A7C15u >> 16;
  }
};

// The identity of a variant that starts from another one's model.
std::string InitDigest(const std::string& own, const std::string& parent, const VariantInit& init,
                       bool upcycled) {
  std::string text = absl::StrCat("init_from 1\n", own, "\n", parent, "\nseed ",
                                  init.seed ? absl::StrCat(*init.seed) : "same", "\ncheckpoint ",
                                  init.best ? "best" : "last", "\n");
  for (const std::string& derive : init.derive) absl::StrAppend(&text, "derive ", derive, "\n");
  if (init.reset_state) text += "state reset\n";
  // The first numerics of dense models that become sparse gave every expert all of a moment.
  if (upcycled) text += "experts 2\n";
  return Sha256Hex(text);
}

class Expander {
 public:
  Expander(const v1::SweepSpec& spec, const SweepPlan& plan, const ExpandOptions& options,
           Problems& problems)
      : spec_(spec), plan_(plan), options_(options), problems_(problems) {}

  absl::StatusOr<Expansion> Run() {
    ExpandBaseline();
    CheckSizes();
    for (const PlannedBlock& block : plan_.blocks) {
      RETURN_IF_ERROR(problems_.ToStatus());
      ExpandBlock(block);
    }
    RETURN_IF_ERROR(problems_.ToStatus());
    if (result_.variants.empty()) {
      problems_.Add(Place(), "blocks", "want at least one variant, got no blocks and no baseline");
    } else {
      ChooseMetric();
    }
    RETURN_IF_ERROR(problems_.ToStatus());
    return std::move(result_);
  }

 private:
  // Before anything is expanded.
  void CheckSizes() {
    int64_t total = 0;
    for (const PlannedBlock& block : plan_.blocks) {
      BlockExpander expander(plan_, block, spec_.sampling_seed(), budget_, problems_);
      sizes_.push_back(expander.CheckedSize().value_or(0));
      total += sizes_.back();
    }
    if (total > kCombinationsMax) {
      problems_.Add(Place(), "blocks",
                    absl::StrCat("want at most ", kCombinationsMax,
                                 " combinations in all blocks together, got ", total));
    }
    const size_t most = std::min(total, spec_.limits().variants()) + 1;
    result_.variants.reserve(most);
    index_.reserve(most);
  }

  void ExpandBaseline() {
    Params given;
    for (const PlannedSetting& setting : plan_.baseline) given[setting.key->key] = setting.value;
    absl::StatusOr<ResolvedVariant> variant = ResolvedVariant::Resolve(given);
    if (!spec_.include_baseline()) {
      // Then blocks may well set what it lacks.
      if (variant.ok()) baseline_digest_ = variant->Digest();
      return;
    }
    const auto place_of = [this](std::string_view key) {
      for (const PlannedSetting& setting : plan_.baseline) {
        if (setting.key->key == key) return setting.place;
      }
      return Place();
    };
    if (!variant.ok()) {
      const auto [key, what] = SplitKey(variant.status().message());
      problems_.Add(place_of(key), key, absl::StrCat(what, " (in the baseline)"));
      return;
    }
    result_.has_baseline = true;
    result_.blocks.push_back({.name = "baseline"});
    baseline_digest_ = variant->Digest();
    CheckCorpus(*variant, place_of("data.corpus"));
    Add(*std::move(variant), {.block = 0, .position = 0, .role = VariantRole::kBaseline});
  }

  void ExpandBlock(const PlannedBlock& block) {
    block_ = static_cast<int>(result_.blocks.size());
    parent_.reset();
    if (block.init && block.init->settings.empty()) {
      parent_ = FindParent(*block.init);
      if (!parent_) return;
    }
    result_.blocks.push_back({.name = block.name});
    irrelevant_.clear();
    for (const PlannedAxis& axis : block.axes) {
      for (const ParamSpec* key : axis.keys) irrelevant_.emplace_back(key, axis.place);
    }
    unchanged_.clear();
    BlockExpander expander(plan_, block, spec_.sampling_seed(), budget_, problems_);
    expander.Walk([&](const Combination& combination) {
      return AddCombination(block, expander, combination);
    });
    result_.blocks.back().excluded = expander.excluded();
    if (!problems_.empty()) return;
    AddNotes(block, expander);
  }

  // The variant that a block names as its parent; nothing, and a problem, when it is not one
  // variant.
  std::optional<int64_t> FindParent(const PlannedInit& init) {
    if (init.block < 0) return 0;  // the baseline is the first
    // The baseline's own block comes before those of the file.
    const int block = init.block + (result_.has_baseline ? 1 : 0);
    std::vector<int64_t> found;
    int64_t combinations = 0;
    for (size_t i = 0; i < result_.variants.size(); ++i) {
      bool named = false;
      for (const VariantOrigin& origin : result_.variants[i].origins) {
        if (origin.block != block) continue;
        combinations = std::max(combinations, origin.position + 1);
        named = named || !init.position || origin.position == *init.position;
      }
      if (named) found.push_back(static_cast<int64_t>(i));
    }
    if (found.size() == 1) return found[0];
    const std::string& name = plan_.blocks[init.block].name;
    problems_.Add(init.place, "init_from.variant",
                  init.position ? absl::StrCat("want one of \"", name, " #0\" to \"", name, " #",
                                               combinations - 1, "\", got \"", name, " #",
                                               *init.position, "\"")
                                : absl::StrCat("want one variant, got block ", name, ", which has ",
                                               found.size(), ": name one as \"", name, " #N\""));
    return std::nullopt;
  }

  // What the combination starts from; nothing, and a problem, when there is no such variant.
  std::optional<VariantInit> InitOf(const PlannedInit& init, const BlockExpander& expander,
                                    const Combination& combination) {
    VariantInit out{.parent = parent_.value_or(0),
                    .seed = init.seed,
                    .best = init.best,
                    .derive = init.derive,
                    .reset_state = init.reset_state};
    if (init.settings.empty()) return out;
    Params given = combination.given;
    std::string text;
    for (const PlannedSetting& setting : init.settings) {
      given[setting.key->key] = setting.value;
      absl::StrAppend(&text, text.empty() ? "" : ", ", setting.key->key, " = ",
                      ParamValueText(setting.value));
    }
    const absl::StatusOr<ResolvedVariant> parent = ResolvedVariant::Resolve(given);
    if (parent.ok()) {
      if (const auto known = index_.find(parent->Digest()); known != index_.end()) {
        out.parent = static_cast<int64_t>(known->second);
        return out;
      }
    }
    problems_.Add(
        init.place, "init_from.variant",
        parent.ok()
            ? absl::StrCat("want a variant that the baseline or a block above names, got "
                           "none that differs in ",
                           text, expander.Where())
            : absl::StrCat("want a variant, got: ", parent.status().message(), expander.Where()));
    return std::nullopt;
  }

  // Whether the parent's model can be what the variant starts from; else a problem.
  bool StartsFrom(const VariantInit& init, const PlannedInit& planned,
                  const ResolvedVariant& variant, const BlockExpander& expander) {
    const ResolvedVariant& parent = result_.variants[init.parent].variant;
    absl::Status fits = CheckStart(parent, variant, init.derive);
    if (fits.ok() && planned.keep_state) fits = CheckKeepsState(parent, variant);
    if (fits.ok()) return true;
    problems_.Add(planned.place, "init_from", absl::StrCat(fits.message(), expander.Where()));
    return false;
  }

  bool AddCombination(const PlannedBlock& block, const BlockExpander& expander,
                      const Combination& combination) {
    absl::StatusOr<ResolvedVariant> variant = ResolvedVariant::Resolve(combination.given);
    if (!variant.ok()) {
      const auto [key, what] = SplitKey(variant.status().message());
      problems_.Add(expander.PlaceOfKey(key), key, absl::StrCat(what, expander.Where()));
      // One of each kind is enough; a thousand combinations may share it.
      return ++failures_ < Problems::kShownMax;
    }
    std::optional<VariantInit> init;
    if (block.init) {
      init = InitOf(*block.init, expander, combination);
      if (!init || !StartsFrom(*init, *block.init, *variant, expander)) {
        return ++failures_ < Problems::kShownMax;
      }
    }
    irrelevant_.erase(std::remove_if(irrelevant_.begin(), irrelevant_.end(),
                                     [&](const auto& key) { return variant->Has(key.first->key); }),
                      irrelevant_.end());
    const bool ablation = !combination.groups.empty();
    const size_t before = result_.variants.size();
    const size_t index = Add(*std::move(variant),
                             {.block = block_,
                              .position = combination.position,
                              .role = ablation       ? VariantRole::kAblation
                                      : block.random ? VariantRole::kRandom
                                                     : VariantRole::kGrid,
                              .groups = combination.groups},
                             std::move(init));
    if (ablation && result_.variants[index].digest == baseline_digest_) {
      unchanged_.insert(combination.groups);
    }
    if (index < before) return true;
    CheckCorpus(result_.variants[index].variant, expander.PlaceOfKey("data.corpus"));
    return CheckLimit(block, expander) && problems_.empty();
  }

  // The index of the variant, new or known.
  size_t Add(ResolvedVariant variant, VariantOrigin origin, std::optional<VariantInit> init = {}) {
    std::string digest = variant.Digest();
    if (init) {
      const ExpandedVariant& parent = result_.variants[init->parent];
      const bool upcycled =
          variant.Has("model.expert_top") && !parent.variant.Has("model.expert_top");
      digest = InitDigest(digest, parent.digest, *init, upcycled);
    }
    BlockStatistics& statistics = result_.blocks[origin.block];
    if (const auto known = index_.find(digest); known != index_.end()) {
      ++statistics.collapsed;
      result_.variants[known->second].origins.push_back(std::move(origin));
      return known->second;
    }
    ++statistics.distinct;
    const size_t index = result_.variants.size();
    ExpandedVariant& added = result_.variants.emplace_back();
    added.variant = std::move(variant);
    added.digest = std::move(digest);
    added.init = std::move(init);
    added.origins.push_back(std::move(origin));
    // A digest is too long to be kept inside of its string: moving the string does not move it.
    index_.emplace(added.digest, index);
    return index;
  }

  bool CheckLimit(const PlannedBlock& block, const BlockExpander& expander) {
    const int64_t limit = spec_.limits().variants();
    if (static_cast<int64_t>(result_.variants.size()) <= limit) return true;
    problems_.Add(
        block.place, expander.Key(),
        absl::StrCat("want at most ", limit,
                     " distinct variants in the sweep, got more with the combinations of "
                     "this block (",
                     sizes_[&block - plan_.blocks.data()], "); limits.variants sets the number"));
    return false;
  }

  void CheckCorpus(const ResolvedVariant& variant, Place place) {
    if (!options_.corpora.has_value() || !variant.Has("data.corpus")) return;
    const std::string& corpus = variant.String("data.corpus");
    const std::vector<std::string>& known = *options_.corpora;
    if (std::find(known.begin(), known.end(), corpus) != known.end()) return;
    problems_.Add(place, "data.corpus",
                  absl::StrCat("want a corpus that exists (",
                               known.empty() ? "there is none" : absl::StrJoin(known, ", "),
                               "; `saffron data fetch` gets one, `data add` makes one), got ",
                               ParamValueText(corpus), DidYouMean(NearestName(corpus, known))));
  }

  void AddNotes(const PlannedBlock& block, const BlockExpander& expander) {
    for (const auto& [key, place] : irrelevant_) {
      result_.notes.push_back(absl::StrCat(problems_.Location(place), ": ", key->key,
                                           ": matters to no variant of block ", block.name,
                                           "; it does where ", key->RelevanceText()));
    }
    for (const std::string& groups : unchanged_) {
      // An ablation comes before all axes.
      result_.notes.push_back(absl::StrCat(problems_.Location(block.axes.front().place), ": ",
                                           groups,
                                           ": changes nothing; the variant is the baseline"));
    }
    for (std::string& note : expander.Notes()) result_.notes.push_back(std::move(note));
  }

  bool IsReported(const std::string& metric) const {
    return std::any_of(result_.variants.begin(), result_.variants.end(),
                       [&metric](const ExpandedVariant& v) { return Reports(v.variant, metric); });
  }
  static bool Reports(const ResolvedVariant& variant, const std::string& metric) {
    const std::vector<std::string> reported = ReportedMetrics(variant);
    return std::find(reported.begin(), reported.end(), metric) != reported.end();
  }

  void ChooseMetric() {
    const std::string& wanted = spec_.metric().name();
    if (wanted.empty()) {
      if (IsReported(kDefaultMetric)) result_.metric = kDefaultMetric;
      result_.maximize = spec_.metric().goal() == v1::SweepMetric::MAXIMIZE;
      return;
    }
    result_.metric = wanted;
    result_.maximize = spec_.metric().goal() == v1::SweepMetric::MAXIMIZE;
    if (IsReported(wanted)) return;
    std::set<std::string> reported;
    for (const ExpandedVariant& variant : result_.variants) {
      for (std::string& metric : ReportedMetrics(variant.variant)) {
        reported.insert(std::move(metric));
      }
    }
    const std::vector<std::string> names(reported.begin(), reported.end());
    const std::string near = NearestName(wanted, names);
    problems_.Add(
        spec_.metric().position(), "metric.name",
        absl::StrCat("want a metric that a variant reports",
                     near.empty() ? absl::StrCat(" (", absl::StrJoin(names, ", "), ")") : "",
                     ", got ", wanted, DidYouMean(near)));
  }

  const v1::SweepSpec& spec_;
  const SweepPlan& plan_;
  const ExpandOptions& options_;
  Problems& problems_;
  Expansion result_;
  // Digest -> index into variants, whose strings it reads.
  std::unordered_map<std::string_view, size_t, DigestHash> index_;
  std::string baseline_digest_;
  ExpansionBudget budget_;
  std::optional<int64_t> parent_;  // of the current block's variants, where it is one for all
  std::vector<int64_t> sizes_;     // of the plan's blocks
  int block_ = 0;
  int failures_ = 0;
  // Of the current block: keys of axes that no variant had yet, and ablations that changed nothing.
  std::vector<std::pair<const ParamSpec*, Place>> irrelevant_;
  std::set<std::string> unchanged_;
};

}  // namespace

std::string_view VariantRoleName(VariantRole role) {
  switch (role) {
    case VariantRole::kBaseline:
      return "baseline";
    case VariantRole::kAblation:
      return "ablation";
    case VariantRole::kGrid:
      return "grid";
    case VariantRole::kRandom:
      return "random";
  }
  CHECK(false) << "role " << static_cast<int>(role);
  return "";
}

absl::StatusOr<Expansion> Expand(const v1::SweepSpec& spec, const ExpandOptions& options) {
  v1::SweepSpec filled = spec;
  FillDefaults(&filled);
  Problems problems(filled.source());
  const SweepPlan plan = PlanSweep(filled, problems);
  RETURN_IF_ERROR(problems.ToStatus());
  return Expander(filled, plan, options, problems).Run();
}

}  // namespace saffron
