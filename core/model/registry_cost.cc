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

// Seconds of a target's passes: `dense` and `sparse` products for each of `outputs` logits, and an
// exponential for each; and of the optimiser's pass over the parameters.
CostEstimate Passes(const ResolvedVariant& v, double sparse, double dense, double outputs,
                    double evaluated) {
  constexpr double kSparseSeconds = 0.35e-9, kDenseSeconds = 0.03e-9, kSoftmaxSeconds = 0.8e-9;
  constexpr double kBackwardFactor = 2.5, kParameterSeconds = 1.2e-9;
  CostEstimate cost;
  cost.target_flops = 2 * (sparse + dense) * outputs;
  const double forward_seconds =
      outputs * (kSparseSeconds * sparse + kDenseSeconds * dense + kSoftmaxSeconds);
  cost.flops = cost.target_flops * (3 * StepTargets(v) + evaluated);
  cost.seconds = forward_seconds * (kBackwardFactor * StepTargets(v) + evaluated) +
                 kParameterSeconds * (sparse + dense) * outputs * Steps(v);
  return cost;
}

// Keys of a saffu layer by what their vectors are like.
struct SaffuKeys {
  double codes;  // x and r: few non-zeros
  double rows;   // c: dense, the same for equal tokens
  double bits;
};

SaffuKeys KeysOf(const ResolvedVariant& v) {
  return {
      .codes = static_cast<double>(v.Int("model.context")) + (v.Has("model.radius") ? 1 : 0),
      .rows = v.Has("model.context_lags") ? static_cast<double>(v.Int("model.context_lags")) : 0,
      .bits = static_cast<double>(v.Int("model.bits"))};
}

struct LayerCount {
  double parameters, products;
};

// A layer with `lower` further keys of `width` dimensions (outputs of the layer below).
LayerCount CountLayer(const ResolvedVariant& v, double lower, double width, double outputs) {
  const SaffuKeys keys = KeysOf(v);
  const double dims = (keys.codes + keys.rows) * keys.bits + lower * width;
  const double u_rows = v.String("model.head") == "sum" ? keys.bits : dims;
  const double w = v.String("model.attention") == "solved" ? keys.bits * dims : 0;
  // Zero-one codes differ in norm, so that the solved prior is a bias.
  const bool has_bias =
      v.String("model.features") == "binary" && v.String("train.init") == "explicit";
  const double scores_and_gain = keys.codes + keys.rows + lower + 1;
  return {.parameters = u_rows * outputs + w + scores_and_gain + (has_bias ? outputs : 0),
          .products = w};
}

CostEstimate SaffuCost(const ResolvedVariant& v) {
  constexpr double kCodeNonZeros = 3;
  const double vocab = Vocabulary(v);
  const double layers = static_cast<double>(v.Int("model.layers"));
  const double width = v.Has("model.width") ? static_cast<double>(v.Int("model.width")) : 0;
  const SaffuKeys keys = KeysOf(v);
  // Every layer above the bottom has one key a lag of the layer below.
  const double lower = layers > 1 ? static_cast<double>(v.Int("model.context")) : 0;
  const LayerCount top = CountLayer(v, lower, width, vocab);
  double parameters = top.parameters + (keys.rows > 0 ? vocab * keys.bits : 0);
  for (int layer = 1; layer < static_cast<int>(layers); ++layer) {
    parameters += CountLayer(v, layer > 1 ? lower : 0, width, width).parameters;
  }
  const double lag_sum = keys.codes + keys.rows;
  CostEstimate cost = Passes(v, kCodeNonZeros * keys.codes,
                             0.4 * keys.bits * keys.rows + lower * width + top.products / vocab,
                             vocab, EvaluatedTokens(v));
  cost.parameters = parameters;
  if (v.String("train.init") == "explicit") {
    const double tokens = static_cast<double>(v.Int("data.tokens"));
    const double held_out = std::min(10'000.0, 0.1 * tokens);
    const double searched = v.Double("solve.alpha") > 0 ? 1 : 4;
    cost.solve_flops = 10 * searched * held_out * 2 * lag_sum * vocab + 4 * tokens * top.products;
    cost.flops += cost.solve_flops;
    cost.seconds +=
        layers * (0.2e-6 * tokens * lag_sum + searched * held_out * lag_sum * vocab * 0.6e-9 +
                  4 * tokens * top.products / 20e9);
  }
  return cost;
}

CostEstimate SoftmaxCost(const ResolvedVariant& v) {
  const bool is_explicit = v.String("train.init") == "explicit";
  if (!v.Has("model.context")) {
    const double images = static_cast<double>(v.Int("data.examples"));
    CostEstimate cost = Passes(v, 0, kImagePixels, kImageClasses, kImagesEvaluated + images);
    cost.parameters = (kImagePixels + 1) * kImageClasses;
    cost.solve_flops = is_explicit ? 2 * images * kImagePixels : 0;
    cost.flops += cost.solve_flops;
    cost.seconds += 0.1;
    return cost;
  }
  const double vocab = Vocabulary(v), lags = static_cast<double>(v.Int("model.context"));
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  CostEstimate cost = Passes(v, lags, 0, vocab, EvaluatedTokens(v));
  const bool stays_sparse = is_explicit && Steps(v) == 0;
  // Distinct pairs of tokens grow like the root of the text.
  cost.parameters = stays_sparse ? lags * std::min(vocab * vocab, 300 * std::sqrt(tokens)) + vocab
                                 : lags * vocab * vocab + vocab;
  if (is_explicit) {
    cost.solve_flops = lags * tokens;
    cost.flops += cost.solve_flops;
    cost.seconds += 0.5e-6 * lags * tokens;
  }
  return cost;
}

CostEstimate KneserNeyCost(const ResolvedVariant& v) {
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  const double order = static_cast<double>(v.Int("model.order"));
  CostEstimate cost;
  // Distinct n-grams grow more slowly than the text: about tokens^0.9 for the longer ones.
  cost.parameters = Vocabulary(v) + (order - 1) * std::pow(tokens, 0.9);
  cost.solve_flops = order * 4 * tokens;
  cost.target_flops = order * 4;
  cost.flops = cost.solve_flops + cost.target_flops * EvaluatedTokens(v);
  cost.seconds = 0.4e-6 * order * (tokens + EvaluatedTokens(v));
  return cost;
}

CostEstimate UnigramCost(const ResolvedVariant& v) {
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  const double all = tokens + EvaluatedTokens(v);
  return {.parameters = Vocabulary(v),
          .solve_flops = tokens,
          .target_flops = 1,
          .flops = all,
          .seconds = 0.05 + 5e-9 * all};
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
