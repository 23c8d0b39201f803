// What a variant will cost, from its shape alone. Seconds are a fit to measured trials
// (tests/bench/trial_bench.cc), good enough to start long work first and to estimate a plan.

#include <algorithm>
#include <cmath>

#include "core/data/data_store.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

constexpr double kImagePixels = 784, kImageClasses = 10, kImagesEvaluated = 2000;
constexpr double kBytesVocabulary = 257;

double Vocabulary(const ResolvedVariant& v) {
  return v.Has("data.vocab") ? static_cast<double>(v.Int("data.vocab")) : kBytesVocabulary;
}
double EvaluatedTokens(const ResolvedVariant& v) {
  return 2.0 * static_cast<double>(v.Int("data.eval_tokens") - kEvalContext);
}
double Steps(const ResolvedVariant& v) { return static_cast<double>(v.Int("train.steps")); }
double StepTargets(const ResolvedVariant& v) {
  return Steps(v) > 0 ? Steps(v) * static_cast<double>(v.Int("train.batch")) : 0;
}

// FLOPs and seconds of forward and backward passes of a model with `outputs` logits per target, to
// each of which `terms` products are added.
CostEstimate Passes(const ResolvedVariant& v, double parameters, double terms, double outputs,
                    double evaluated) {
  constexpr double kFlopsPerSecond = 25e9, kExpSeconds = 0.5e-9, kAdamSeconds = 1.2e-9;
  const double forward = 2 * terms * outputs;
  CostEstimate cost;
  cost.parameters = parameters;
  cost.flops = 3 * forward * StepTargets(v) + forward * evaluated;
  cost.seconds = cost.flops / kFlopsPerSecond +
                 kExpSeconds * outputs * (3 * StepTargets(v) + 2 * evaluated) +
                 kAdamSeconds * parameters * Steps(v);
  return cost;
}

CostEstimate SaffuCost(const ResolvedVariant& v) {
  const double vocab = Vocabulary(v), bits = static_cast<double>(v.Int("model.bits"));
  const double sparse_keys = static_cast<double>(v.Int("model.context")) + v.Has("model.radius");
  const double dense_keys =
      v.Has("model.context_lags") ? static_cast<double>(v.Int("model.context_lags")) : 0;
  const double keys = sparse_keys + dense_keys;
  const bool is_sum = v.String("model.head") == "sum";
  const double attention = v.String("model.attention") == "solved" ? bits * bits * keys : 0;
  double parameters = (is_sum ? 1 : keys) * bits * vocab + keys + attention;
  double lower_terms = 0;
  if (v.Has("model.width")) {
    const double below = static_cast<double>(v.Int("model.layers") - 1);
    const double width = static_cast<double>(v.Int("model.width"));
    parameters += below * ((is_sum ? 1 : keys) * bits * width + keys + attention);
    lower_terms = below * keys * bits * width / vocab + keys * width;
  }
  // A cipher row has about three non-zeros, and a batch repeats about 60 % of its context vectors.
  CostEstimate cost = Passes(v, parameters, 3 * sparse_keys + 0.4 * bits * dense_keys + lower_terms,
                             vocab, 1.3 * EvaluatedTokens(v));
  if (v.String("train.init") == "explicit") {
    const double tokens = static_cast<double>(v.Int("data.tokens"));
    const double held_out = std::min(10'000.0, 0.1 * tokens);
    const double searched = v.Double("solve.alpha") > 0 ? 1 : 4;
    cost.flops += 10 * searched * held_out * 2 * keys * vocab + 4 * tokens * attention;
    cost.seconds += 0.2e-6 * tokens * keys + searched * held_out * keys * vocab * 0.6e-9 +
                    4 * tokens * attention / 20e9;
  }
  return cost;
}

CostEstimate SoftmaxCost(const ResolvedVariant& v) {
  if (!v.Has("model.context")) {
    CostEstimate cost = Passes(v, kImagePixels * kImageClasses + kImageClasses, kImagePixels,
                               kImageClasses, kImagesEvaluated);
    cost.seconds += 0.1;
    return cost;
  }
  const double vocab = Vocabulary(v), lags = static_cast<double>(v.Int("model.context"));
  CostEstimate cost = Passes(v, lags * vocab * vocab, lags, vocab, EvaluatedTokens(v));
  if (v.String("train.init") == "explicit") {
    cost.seconds +=
        1e-9 * lags * vocab * vocab + 0.5e-6 * lags * static_cast<double>(v.Int("data.tokens"));
  }
  return cost;
}

CostEstimate KneserNeyCost(const ResolvedVariant& v) {
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  const double order = static_cast<double>(v.Int("model.order"));
  CostEstimate cost;
  // Distinct n-grams grow more slowly than the text: about tokens^0.9 for the longer ones.
  cost.parameters = Vocabulary(v) + (order - 1) * std::pow(tokens, 0.9);
  cost.flops = order * 4 * (tokens + EvaluatedTokens(v));
  cost.seconds = 0.4e-6 * order * (tokens + EvaluatedTokens(v));
  return cost;
}

CostEstimate UnigramCost(const ResolvedVariant& v) {
  const double tokens = static_cast<double>(v.Int("data.tokens")) + EvaluatedTokens(v);
  return {.parameters = Vocabulary(v), .flops = tokens, .seconds = 0.05 + 5e-9 * tokens};
}

CostEstimate NoopCost(const ResolvedVariant& v) {
  return {.seconds = 1e-3 * static_cast<double>(v.Int("model.sleep_ms"))};
}

}  // namespace

CostEstimate EstimateCost(const ResolvedVariant& variant) {
  static const auto* const by_type =
      new std::map<std::string, CostEstimate (*)(const ResolvedVariant&)>{
          {"saffu", SaffuCost},
          {"softmax_regression", SoftmaxCost},
          {"kneser_ney", KneserNeyCost},
          {"unigram", UnigramCost},
          {"noop", NoopCost}};
  return by_type->at(variant.String("model.type"))(variant);
}

}  // namespace saffron
