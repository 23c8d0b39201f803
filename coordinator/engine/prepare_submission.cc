#include "coordinator/engine/prepare_submission.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/model/own_numerics.h"
#include "core/model/registry.h"
#include "core/model/varying_keys.h"

namespace saffron {
namespace {

absl::Duration DurationOf(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

// Names variants by what sets them apart: "bits=128 lr=0.01".
class Labeller {
 public:
  explicit Labeller(const Expansion& expansion) {
    if (expansion.has_baseline) baseline_ = &expansion.variants.front().variant.params();
    std::vector<const Params*> params;
    params.reserve(expansion.variants.size());
    for (const ExpandedVariant& v : expansion.variants) params.push_back(&v.variant.params());
    varying_ = VaryingKeys(params);
    std::map<std::string, int> last_names;
    for (const std::string& key : varying_) ++last_names[LastName(key)];
    for (const std::string& key : varying_) {
      names_[key] = last_names[LastName(key)] == 1 ? LastName(key) : key;
    }
  }

  std::string Label(const ExpandedVariant& v, const Expansion& expansion) const {
    const VariantOrigin& first = v.origins.front();
    if (first.role == VariantRole::kBaseline) return "baseline";
    if (!first.groups.empty()) return first.groups;
    std::string label;
    for (const auto& [key, value] : v.variant.params()) {
      if (varying_.count(key) == 0) continue;
      if (baseline_ != nullptr) {
        auto base = baseline_->find(key);
        if (base != baseline_->end() && base->second == value) continue;
      }
      const std::string* text = std::get_if<std::string>(&value);
      absl::StrAppend(&label, label.empty() ? "" : " ", names_.at(key), "=",
                      text != nullptr ? *text : ParamValueText(value));
    }
    // Told apart from the baseline only by keys that it does not have.
    if (label.empty())
      label = absl::StrCat(expansion.blocks[first.block].name, " #", first.position);
    return label;
  }

 private:
  static std::string LastName(const std::string& key) { return key.substr(key.rfind('.') + 1); }

  const Params* baseline_ = nullptr;
  std::set<std::string> varying_;
  std::map<std::string, std::string> names_;
};

// Versions of its own are part of its identity.
void AddNumerics(SubmittedVariant* out) {
  for (const auto& [key, version] : OwnNumerics(out->params)) {
    out->params[key] = version;
    out->digest = Sha256Hex(absl::StrCat(out->digest, "\n", key, " ", ParamValueText(version)));
  }
}

// What the variant starts from, and that its identity depends on whatever data its ancestors read
// and on their numerics.
void AddInit(const VariantInit& init, const Submission& s, SubmittedVariant* out) {
  const SubmittedVariant& parent = s.variants[init.parent];
  out->init = SubmittedInit{.parent = init.parent,
                            .seed = init.seed,
                            .checkpoint = init.best ? "best" : "last",
                            .derive = init.derive};
  out->params["init_from.variant"] = parent.digest.substr(0, 12);
  out->params["init_from.checkpoint"] = out->init->checkpoint;
  if (init.seed) out->params["init_from.seed"] = static_cast<int64_t>(*init.seed);
  if (!init.derive.empty()) out->params["init_from.derive"] = absl::StrJoin(init.derive, "; ");
  if (init.reset_state) out->params["init_from.state"] = std::string("reset");
  absl::StrAppend(&out->label, out->label.empty() ? "" : " ", "from ", parent.label);
  const bool is_plain = !parent.init && OwnNumerics(parent.params).empty();
  if (parent.fingerprint == out->fingerprint && is_plain) return;
  // The parent's digest carries its numerics and its ancestors' data; its own data is not in it.
  out->digest = Sha256Hex(
      absl::StrCat(out->digest, "\nparent ", parent.digest, "\ndata ",
                   parent.fingerprint == out->fingerprint ? std::string() : parent.fingerprint));
}

Submission HeaderOf(const v1::SweepSpec& spec, const Expansion& expansion, int numerics) {
  Submission s;
  s.name = spec.name();
  s.question = spec.question();
  s.spec = CanonicalSpecText(spec);
  s.spec_digest = SpecDigest(spec);
  s.metric = expansion.metric;
  s.maximize = expansion.maximize;
  s.numerics = numerics;
  s.seed_first = spec.seeds().first();
  s.seed_count = spec.seeds().count();
  const v1::Retry& retry = spec.retry();
  s.retry.max = {retry.preempted(), retry.worker_lost(), retry.out_of_memory(), retry.timeout(),
                 retry.error()};
  s.poison = static_cast<int>(retry.poison());
  if (spec.limits().has_trial_time()) s.trial_time = DurationOf(spec.limits().trial_time());
  if (spec.limits().has_total_time()) s.total_time = DurationOf(spec.limits().total_time());
  if (spec.resources().memory_bytes() > 0) s.memory_bytes = spec.resources().memory_bytes();
  for (const BlockStatistics& block : expansion.blocks) s.blocks.push_back(block.name);
  return s;
}

}  // namespace

absl::StatusOr<PreparedSubmission> PrepareSubmission(
    v1::SweepSpec spec, int numerics, const std::map<std::string, std::string>& corpora) {
  RETURN_IF_ERROR(CheckSpec(&spec));
  ExpandOptions options{.corpora = std::vector<std::string>()};
  for (const auto& [name, fingerprint] : corpora) options.corpora->push_back(name);
  ASSIGN_OR_RETURN(Expansion expansion, Expand(spec, options));

  PreparedSubmission prepared{HeaderOf(spec, expansion, numerics), expansion.blocks,
                              expansion.notes};
  Submission& s = prepared.submission;
  const Labeller labeller(expansion);
  s.variants.reserve(expansion.variants.size());
  for (ExpandedVariant& v : expansion.variants) {
    SubmittedVariant out;
    out.digest = std::move(v.digest);
    out.label = labeller.Label(v, expansion);
    for (const VariantOrigin& o : v.origins) {
      out.origins.push_back({o.block, o.position, std::string(VariantRoleName(o.role)), o.groups});
    }
    if (v.variant.Has("data.corpus")) {
      out.corpus = v.variant.String("data.corpus");
      auto corpus = corpora.find(out.corpus);
      if (corpus == corpora.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("data.corpus: there is no corpus ", out.corpus));
      }
      out.fingerprint = corpus->second;
    }
    const CostEstimate cost = EstimateCost(v.variant);
    out.parameters = cost.parameters;
    out.flops = cost.flops;
    out.seconds = cost.seconds;
    out.params = v.variant.params();
    AddNumerics(&out);
    if (v.init) AddInit(*v.init, s, &out);
    s.variants.push_back(std::move(out));
  }
  return prepared;
}

}  // namespace saffron
