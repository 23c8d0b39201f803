// The keys of metrics: what each is, and which a variant reports.

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/lag_template.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

constexpr bool kDeterministic = true;
constexpr bool kVaries = false;  // from run to run: left out when results are compared

std::vector<MetricSpec> MakeMetrics() {
  std::vector<MetricSpec> metrics;
  for (const char* split : {"train", "valid", "test"}) {
    const auto on = [split](const char* what) {
      return absl::StrCat(what, " on the ", split, " split");
    };
    const char* sample = split == std::string_view("train") ? " (a fixed sample of it)" : "";
    metrics.push_back(
        {absl::StrCat(split, "/nats_per_token"), "nats",
         absl::StrCat(on("Mean negative log-likelihood of a token (or image)"), sample, "."),
         kDeterministic});
    metrics.push_back({absl::StrCat(split, "/perplexity"), "",
                       absl::StrCat("exp of ", split, "/nats_per_token."), kDeterministic});
    metrics.push_back(
        {absl::StrCat(split, "/accuracy"), "",
         absl::StrCat(on("Share of targets that were the likeliest guess"), sample, "."),
         kDeterministic});
  }
  for (const char* split : {"valid", "test"}) {
    metrics.push_back(
        {absl::StrCat(split, "/bits_per_byte"), "bits",
         absl::StrCat("Negative log2-likelihood of the ", split,
                      " split over its UTF-8 bytes: comparable between byte, bpe and "
                      "unigram. Not between word vocabularies: there an unknown word leaves "
                      "its spelling unpaid, and the smaller the vocabulary, the more."),
         kDeterministic});
  }
  const std::vector<MetricSpec> others = {
      {"test/lead", "nats",
       "How much less a test token of log_linear costs than under Kneser-Ney with the same "
       "n-grams, "
       "mixed linearly with the same histories.",
       kDeterministic},
      {"test/lead_low", "nats", "Lower end of its 95 % interval, from blocks of 500 tokens.",
       kDeterministic},
      {"test/lead_high", "nats", "Upper end of it.", kDeterministic},
      {"train/loss", "nats", "Training loss averaged since the evaluation before.", kDeterministic},
      {"train/steps_done", "steps", "Optimisation steps done.", kDeterministic},
      {"train/best_step", "steps", "Step of the parameters that were kept.", kDeterministic},
      {"raw/*", "",
       "With train.ema: the same metric of the parameters as they are, without the average.",
       kDeterministic},
      {"polish/loss", "nats", "Loss on the sample that train.polish works on.", kDeterministic},
      {"polish/valid_nats_per_token", "nats",
       "valid/nats_per_token by iteration of train.polish, in its learning curve.", kDeterministic},
      {"polish/iterations", "", "Iterations of train.polish done.", kDeterministic},
      {"polish/best_iteration", "", "Iteration whose parameters were kept; 0: the start.",
       kDeterministic},
      {"model/parameters", "", "Numbers that define the model.", kDeterministic},
      {"model/parameters_trained", "",
       "Those of them that steps or polishing may change: without what train.freeze froze.",
       kDeterministic},
      {"model/parameters_active", "",
       "Those of a transformer that work on any one token: of a sparse layer's experts, "
       "model.expert_top.",
       kDeterministic},
      {"model/flops_active", "FLOP", "Arithmetic of a transformer's forward pass for one token.",
       kDeterministic},
      {"model/flops_total", "FLOP", "The same if every expert worked on every token.",
       kDeterministic},
      {"routing/load", "",
       "Largest share of choices that one expert has, times experts, of any sparse layer on the "
       "test split (1: all equal). What follows is the mean of the sparse layers there.",
       kDeterministic},
      {"routing/dropped", "", "Share of choices that found their expert full.", kDeterministic},
      {"routing/unserved", "", "Share of tokens that no expert took.", kDeterministic},
      {"routing/entropy", "nats",
       "Entropy of the router's probabilities; the logarithm of model.experts when it knows "
       "nothing.",
       kDeterministic},
      {"routing/z", "", "Squared logsumexp of the router's logits.", kDeterministic},
      {"routing/information", "nats",
       "Mutual information of a token and the expert it chooses first, over at most 65,536 "
       "tokens.",
       kDeterministic},
      {"routing/information_shuffled", "nats",
       "The same with the choices shuffled among the tokens: what chance alone gives.",
       kDeterministic},
      {"init/step", "steps", "Steps that made the parent's model, with init_from.", kDeterministic},
      {"init/max_change", "",
       "Largest difference of a logit, on random tokens in double precision, between a transformer "
       "before its first step and its parent. By more than 1e-10 growing fails the trial; other "
       "settings of routers that the parent had may show here.",
       kDeterministic},
      {"init/max_change_float", "",
       "The same with parameters and arithmetic in float; at most 1e-4 of the largest logit.",
       kDeterministic},
      {"init/state_arrays", "",
       "Arrays of the optimiser's state that were carried over from the parent; 0: it starts anew.",
       kDeterministic},
      {"cost/flops", "FLOP", "Estimated arithmetic of solve, training and evaluation.",
       kDeterministic},
      {"solve/alpha", "tokens", "Mass of the prior in smoothed counts.", kDeterministic},
      {"solve/kappa", "tokens", "Shrinkage of evidence from few counts.", kDeterministic},
      {"solve/gamma", "", "Scale of the solved attention; 0: the hold-out preferred none.",
       kDeterministic},
      {"solve/gain/*", "",
       "Weight of one key's evidence in the top layer, by stream and lag (x1, c1, r, o1), of "
       "pixels or of a ridge regression; of log_linear, by lags, history or stream (1.2, "
       "1.2_seen, recent, c1), the mean over its classes.",
       kDeterministic},
      {"solve/holdout_nats", "nats", "Mean loss of a held-out target under the gains fitted to it.",
       kDeterministic},
      {"solve/mixture_weight", "", "Share of the evidence in its mixture with a network.",
       kDeterministic},
      {"solve/evidence_scale", "", "Scale of the evidence in a product, fitted.", kDeterministic},
      {"solve/network_scale", "", "Scale of the network in a product, fitted.", kDeterministic},
      {"time/data_s", "s", "Reading the corpus.", kVaries},
      {"time/solve_s", "s", "The explicit solution, or counting.", kVaries},
      {"time/train_s", "s", "Optimisation steps.", kVaries},
      {"time/parent_s", "s",
       "Making the parent's model again, with init_from, where its checkpoint was not kept.",
       kVaries},
      {"time/polish_s", "s", "train.polish.", kVaries},
      {"time/evaluate_s", "s", "Evaluations.", kVaries},
      {"time/total_s", "s", "The whole trial, with what earlier attempts trained.", kVaries},
      {"time/tokens_per_s", "1/s", "Targets trained on per second of optimisation.", kVaries},
      {"memory/peak_bytes", "bytes", "Highest resident memory of the process during the trial.",
       kVaries},
      {"cache/memory_hits", "", "Statistics found in memory.", kVaries},
      {"cache/disk_hits", "", "Statistics found on disk.", kVaries},
      {"cache/misses", "", "Statistics that had to be counted.", kVaries},
  };
  metrics.insert(metrics.end(), others.begin(), others.end());
  return metrics;
}

class MetricList {
 public:
  void Add(std::initializer_list<const char*> keys) {
    keys_.insert(keys_.end(), keys.begin(), keys.end());
  }
  void AddSplits(const char* what) {
    for (const char* split : {"train", "valid", "test"})
      keys_.push_back(absl::StrCat(split, "/", what));
  }
  void AddRaw(const char* split, const char* what) {
    keys_.push_back(absl::StrCat("raw/", split, "/", what));
  }
  void AddGain(const std::string& key) { keys_.push_back(absl::StrCat("solve/gain/", key)); }
  std::vector<std::string> Take() { return std::move(keys_); }

 private:
  std::vector<std::string> keys_;
};

void AddSaffuSolve(const ResolvedVariant& variant, MetricList& list) {
  list.Add({"solve/alpha", "solve/kappa"});
  if (variant.String("model.attention") == "solved") list.Add({"solve/gamma"});
  for (int64_t lag = 1; lag <= variant.Int("model.context"); ++lag)
    list.AddGain(absl::StrCat("x", lag));
  if (variant.Has("model.context_lags")) {
    for (int64_t lag = 1; lag <= variant.Int("model.context_lags"); ++lag) {
      list.AddGain(absl::StrCat("c", lag));
    }
  }
  if (variant.Has("model.radius")) list.AddGain("r");
  if (variant.Int("model.layers") == 1) return;
  for (int64_t lag = 1; lag <= variant.Int("model.context"); ++lag) {
    list.AddGain(absl::StrCat("o", lag));  // outputs of the layer below
  }
}

void AddSoftmaxSolve(const ResolvedVariant& variant, MetricList& list) {
  if (!variant.Has("model.context")) return list.AddGain("pixels");
  for (int64_t lag = 1; lag <= variant.Int("model.context"); ++lag)
    list.AddGain(absl::StrCat("x", lag));
}

void AddLogLinearSolve(const ResolvedVariant& variant, MetricList& list) {
  if (variant.Int("model.order") > 1) list.Add({"test/lead", "test/lead_low", "test/lead_high"});
  const bool has_gains = variant.Int("model.order") > 1 || variant.Bool("model.unigram_gain") ||
                         variant.String("model.templates") != "none" ||
                         variant.String("model.dense") != "none" ||
                         variant.String("model.history") != "none";
  if (has_gains && variant.String("solve.gains") == "calibrated") {
    list.Add({"solve/holdout_nats"});
  }
  const auto templates = ParseTemplates(variant.String("model.templates"));
  CHECK(templates.ok()) << templates.status();
  std::vector<LagTemplate> keys = *templates;
  for (int64_t n = 1; n < variant.Int("model.order"); ++n) {
    keys.push_back(LagTemplate::Chain(static_cast<int>(n)));
  }
  for (const LagTemplate& lags : keys) {
    list.AddGain(lags.Name());
    if (variant.Bool("model.seen_gains")) list.AddGain(lags.Name() + "_seen");
  }
  const std::string& history = variant.String("model.history");
  for (const char* kind : {"all", "recent", "followers"}) {
    if (absl::StrContains(history, kind)) list.AddGain(kind);
  }
  if (variant.Bool("model.unigram_gain")) list.AddGain("unigram");
  const auto add_lags = [&](const char* stream, const char* lags) {
    if (!variant.Has(lags)) return;
    for (int64_t lag = 1; lag <= variant.Int(lags); ++lag) list.AddGain(absl::StrCat(stream, lag));
  };
  add_lags("x", "model.dense_lags");
  add_lags("c", "model.dense_context_lags");
  if (variant.Has("model.dense_radius")) list.AddGain("r");
  if (variant.Has("model.join") && variant.String("model.join") == "mixture") {
    list.Add({"solve/mixture_weight"});
  }
  if (variant.Has("model.scales") && variant.String("model.scales") == "fitted") {
    list.Add({"solve/evidence_scale", "solve/network_scale"});
  }
}

}  // namespace

const std::vector<MetricSpec>& AllMetrics() {
  static const auto* const metrics = new std::vector<MetricSpec>(MakeMetrics());
  return *metrics;
}

const MetricSpec* FindMetric(std::string_view key) {
  for (const MetricSpec& spec : AllMetrics()) {
    if (spec.key == key) return &spec;
    if (spec.key.back() != '*') continue;
    const std::string_view family = std::string_view(spec.key).substr(0, spec.key.size() - 1);
    if (key.size() > family.size() && key.substr(0, family.size()) == family) return &spec;
  }
  return nullptr;
}

std::vector<std::string> ReportedMetrics(const ResolvedVariant& variant) {
  MetricList list;
  list.AddSplits("nats_per_token");
  list.AddSplits("perplexity");
  list.Add({"time/total_s"});
  const std::string& type = variant.String("model.type");
  if (type == "noop") return list.Take();
  list.Add({"model/parameters", "model/parameters_trained", "cost/flops", "time/data_s",
            "time/solve_s", "time/train_s", "time/evaluate_s", "memory/peak_bytes",
            "cache/memory_hits", "cache/disk_hits", "cache/misses"});
  if (variant.Has("data.tokens")) list.Add({"valid/bits_per_byte", "test/bits_per_byte"});
  if (type == "transformer") {
    list.Add({"model/parameters_active", "model/flops_active", "model/flops_total"});
  }
  if (variant.Has("model.expert_top")) {
    list.Add({"routing/load", "routing/dropped", "routing/unserved", "routing/entropy", "routing/z",
              "routing/information", "routing/information_shuffled"});
  }
  if (type == "log_linear") AddLogLinearSolve(variant, list);
  const bool is_tuned = variant.Has("train.steps") && variant.Int("train.steps") > 0;
  if (is_tuned) {
    list.Add({"train/loss", "train/steps_done", "train/best_step", "time/tokens_per_s"});
    if (variant.Double("train.ema") > 0) {
      for (const char* split : {"train", "valid", "test"}) {
        list.AddRaw(split, "nats_per_token");
        list.AddRaw(split, "perplexity");
      }
    }
  }
  if (!variant.Has("train.polish")) return list.Take();
  const bool is_explicit = variant.Has("train.init") && variant.String("train.init") == "explicit";
  // The sparse solution over one-hot tokens ranks no guesses.
  const bool is_polished = variant.Int("train.polish") > 0;
  const bool stays_sparse = variant.Has("model.input") && variant.Has("model.context") &&
                            is_explicit && !is_tuned && !is_polished;
  if (!stays_sparse) list.AddSplits("accuracy");
  if (is_explicit && type == "transformer") {
    for (const char* readout : {"explicit", "ridge"}) {
      if (variant.String("solve.readout") == readout) list.AddGain(readout);
    }
  } else if (is_explicit) {
    (type == "saffu" ? AddSaffuSolve : AddSoftmaxSolve)(variant, list);
  }
  if (is_polished) {
    list.Add({"polish/loss", "polish/iterations", "polish/best_iteration", "time/polish_s"});
  }
  return list.Take();
}

}  // namespace saffron
