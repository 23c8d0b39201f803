// What a variant will cost, from its shape alone. Seconds are a fit to measured trials
// (tests/bench/trial_bench.cc), good enough to start long work first and to estimate a plan.

#include <algorithm>
#include <cmath>

#include "core/data/data_store.h"
#include "core/model/lag_template.h"
#include "core/model/registry.h"
#include "core/model/transformer_sizes.h"

namespace saffron {
namespace {

constexpr double kImagePixels = 784, kImageClasses = 10, kImagesEvaluated = 2000;
constexpr double kBytesVocabulary = 257;
constexpr double kTrainSample = 10'000, kCurveTargets = 5'000;

double Vocabulary(const ResolvedVariant& v) {
  return v.Has("data.vocab") ? static_cast<double>(v.Int("data.vocab")) : kBytesVocabulary;
}
double EvaluatedTokens(const ResolvedVariant& v) {
  return 2.0 * static_cast<double>(v.Int("data.eval_tokens") - kEvalContext) + kTrainSample;
}
double Polishes(const ResolvedVariant& v) { return static_cast<double>(v.Int("train.polish")); }
double Steps(const ResolvedVariant& v) { return static_cast<double>(v.Int("train.steps")); }
// Targets with gradients: of steps, and of polishing, whose line search mostly takes its first
// step.
double StepTargets(const ResolvedVariant& v) {
  constexpr double kEvaluationsAnIteration = 1.2;
  double targets = Steps(v) > 0 ? Steps(v) * static_cast<double>(v.Int("train.batch")) : 0;
  if (v.Has("train.polish_examples")) {
    targets += kEvaluationsAnIteration * static_cast<double>(v.Int("train.polish")) *
               static_cast<double>(v.Int("train.polish_examples"));
  }
  return targets;
}

// What the logits of one target are made of, in products for each logit. `sparse`: with the few
// non-zeros of codes. `by_token`: dense, but computed once for equal tokens of a batch.
// `by_position`: dense and different everywhere.
struct Terms {
  double sparse = 0, by_token = 0, by_position = 0;
};

// Measured on one core with batches of 1,024 over 4,096 types; forward and backward together.
constexpr double kLogitSeconds = 6.4e-10, kSparseSeconds = 1.35e-10, kByTokenSeconds = 2.4e-11,
                 kByPositionSeconds = 7.8e-11, kParameterSeconds = 2e-9;
constexpr double kForwardShare = 0.25;

// Steps of training and passes of evaluation.
CostEstimate Passes(const ResolvedVariant& v, double trained, const Terms& terms, double outputs,
                    double evaluated) {
  CostEstimate cost;
  cost.target_flops = 2 * (terms.sparse + terms.by_token + terms.by_position) * outputs;
  const double target_seconds =
      outputs * (kLogitSeconds + kSparseSeconds * terms.sparse + kByTokenSeconds * terms.by_token +
                 kByPositionSeconds * terms.by_position);
  const double curves = ((Steps(v) > 0 ? 11 : 0) + Polishes(v)) * kCurveTargets;
  const double forward_only = evaluated + std::min(curves, StepTargets(v));
  cost.flops = cost.target_flops * (3 * StepTargets(v) + forward_only);
  cost.seconds = target_seconds * (StepTargets(v) + kForwardShare * forward_only) +
                 kParameterSeconds * trained * Steps(v);
  return cost;
}

// Keys of a saffu layer by what their vectors are like.
struct SaffuKeys {
  double bits = 0, nonzeros = 0;
  double x = 0, c = 0, r = 0;  // how many of each stream
  double o = 0, width = 0;     // keys of the layer below, in all layers but the bottom one

  double count() const { return x + c + r; }
};

// Codes of k bits number C(b, k); a code's weight is the k at which all types have one. Frequent
// types come first and weigh about one less.
double MeanCodeWeight(double bits, double vocab) {
  double weight = 1, of_weight = bits, codes = bits;
  while (codes < vocab && weight < bits) {
    of_weight *= (bits - weight) / (weight + 1);
    ++weight;
    codes += of_weight;
  }
  return std::max(1.0, weight - 1);
}

SaffuKeys KeysOf(const ResolvedVariant& v) {
  const auto whole = [&](const char* key) {
    return v.Has(key) ? static_cast<double>(v.Int(key)) : 0;
  };
  SaffuKeys keys;
  keys.bits = whole("model.bits");
  keys.nonzeros =
      v.String("model.features") == "noisy" ? keys.bits : MeanCodeWeight(keys.bits, Vocabulary(v));
  keys.x = whole("model.context");
  keys.c = whole("model.context_lags");
  keys.r = v.Has("model.radius") ? 1 : 0;
  // Every layer above the bottom has one key a lag of the layer below.
  keys.o = v.Has("model.width") ? keys.x : 0;
  keys.width = whole("model.width");
  return keys;
}

// Parameters of a layer with `lower` keys of the layer below.
double LayerParameters(const ResolvedVariant& v, const SaffuKeys& keys, double lower,
                       double outputs) {
  const double dims = keys.count() * keys.bits + lower * keys.width;
  const double u_rows = v.String("model.head") == "sum" ? keys.bits : dims;
  const double w = v.String("model.attention") == "solved" ? keys.bits * dims : 0;
  // Zero-one codes differ in norm, so that the solved prior is a bias.
  const bool has_bias =
      v.String("model.features") == "binary" && v.String("train.init") == "explicit";
  const double scores_and_gain = keys.count() + lower + 1;
  return u_rows * outputs + w + scores_and_gain + (has_bias ? outputs : 0);
}

// Counting, evidence for every smoothing tried, gains on the hold-out, attention; with layers, the
// hold-out's losses go through the keys of the layer below.
void AddSolve(const ResolvedVariant& v, const SaffuKeys& keys, double layers, CostEstimate* cost) {
  constexpr double kCountSeconds = 7e-8, kBagSeconds = 1.6e-6, kEvidenceSeconds = 1e-8,
                   kHeldOutSeconds = 2e-9, kAttentionSeconds = 6e-10, kLowerSeconds = 5.5e-10;
  const double vocab = Vocabulary(v), tokens = static_cast<double>(v.Int("data.tokens"));
  const double held_out = std::min(10'000.0, 0.1 * tokens);
  const double tried = v.Double("solve.alpha") > 0 ? 1 : 4;
  const double rows = keys.count() * keys.bits, lower = keys.o * keys.width;
  const double pairs = v.String("model.attention") == "solved" ? tokens * keys.nonzeros * rows : 0;
  cost->solve_flops =
      layers * (tokens * keys.count() * keys.nonzeros + 20 * tried * (rows + lower) * vocab +
                20 * tried * held_out * (keys.count() + lower) * vocab + 4 * pairs);
  cost->flops += cost->solve_flops;
  cost->seconds += kCountSeconds * tokens * keys.count() + kBagSeconds * tokens * keys.r +
                   kEvidenceSeconds * tried * rows * vocab +
                   kHeldOutSeconds * held_out * keys.count() * vocab + kAttentionSeconds * pairs +
                   (layers - 1) * kLowerSeconds * held_out * lower * vocab;
}

CostEstimate SaffuCost(const ResolvedVariant& v) {
  constexpr double kFixedSeconds = 0.05;
  const double vocab = Vocabulary(v), layers = static_cast<double>(v.Int("model.layers"));
  const SaffuKeys keys = KeysOf(v);
  double trained = LayerParameters(v, keys, keys.o, vocab);
  for (double layer = 1; layer < layers; ++layer) {
    trained += LayerParameters(v, keys, layer > 1 ? keys.o : 0, keys.width);
  }
  const bool are_codes_dense = v.String("model.features") == "noisy";
  const Terms terms = {.sparse = are_codes_dense ? 0 : keys.nonzeros * keys.x,
                       .by_token = keys.bits * (keys.c + (are_codes_dense ? keys.x : 0)),
                       .by_position = keys.bits * keys.r + keys.width * keys.o};
  CostEstimate cost = Passes(v, trained, terms, vocab, EvaluatedTokens(v));
  cost.parameters = trained + (keys.c > 0 ? vocab * keys.bits : 0);
  cost.seconds += kFixedSeconds;
  if (v.String("train.init") == "explicit") AddSolve(v, keys, layers, &cost);
  return cost;
}

CostEstimate SoftmaxCost(const ResolvedVariant& v) {
  const bool is_explicit = v.String("train.init") == "explicit";
  if (!v.Has("model.context")) {
    const double images = static_cast<double>(v.Int("data.examples"));
    const double parameters = (kImagePixels + 1) * kImageClasses;
    CostEstimate cost = Passes(v, parameters, {.by_position = kImagePixels}, kImageClasses,
                               kImagesEvaluated + images);
    cost.parameters = parameters;
    cost.solve_flops = is_explicit ? 2 * images * kImagePixels : 0;
    cost.flops += cost.solve_flops;
    cost.seconds += 0.1;
    return cost;
  }
  const double vocab = Vocabulary(v), lags = static_cast<double>(v.Int("model.context"));
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  // A step moves the rows that were ever used: about a third of all.
  CostEstimate cost =
      Passes(v, 0.3 * lags * vocab * vocab, {.sparse = lags}, vocab, EvaluatedTokens(v));
  const bool stays_sparse = is_explicit && Steps(v) == 0 && v.Int("train.polish") == 0;
  // Distinct pairs of tokens grow like the root of the text.
  cost.parameters = stays_sparse ? lags * std::min(vocab * vocab, 300 * std::sqrt(tokens)) + vocab
                                 : lags * vocab * vocab + vocab;
  if (is_explicit) {
    cost.solve_flops = lags * tokens;
    cost.flops += cost.solve_flops;
    cost.seconds += 0.8e-6 * lags * tokens;
  }
  return cost;
}

// Arithmetic of a second of products, as in training and evaluation.
constexpr double kFlopsPerSecond = 7e10;

CostEstimate NetworkCost(const ResolvedVariant& v, double parameters, double target_flops,
                         double evaluated) {
  CostEstimate cost;
  const double curves = Steps(v) > 0 ? std::min(11 * 2 * kCurveTargets, StepTargets(v)) : 0;
  cost.parameters = parameters;
  cost.target_flops = target_flops;
  cost.flops = target_flops * (3 * StepTargets(v) + evaluated + curves);
  cost.seconds = 0.05 + cost.flops / kFlopsPerSecond + kParameterSeconds * parameters * Steps(v);
  return cost;
}

// Of a transformer's layer: numbers that define it; arithmetic of one token's products, over two.
struct LayerCost {
  double parameters = 0, products = 0;
};

// What experts add to a layer that has an MLP of this cost, of sparse layers alone.
LayerCost ExpertsOf(const ResolvedVariant& v, const LayerCost& mlp, double norm) {
  const double h = static_cast<double>(v.Int("model.hidden_width"));
  const double experts = static_cast<double>(v.Int("model.experts"));
  const double top = static_cast<double>(v.Int("model.expert_top"));
  const bool beside = v.String("model.sparse_dense") != "none";
  return {(experts - 1) * mlp.parameters + h * experts + (beside ? mlp.parameters + norm : 0),
          (top - 1 + beside) * mlp.products + h * experts};
}

LayerCost CostOfLayer(const ResolvedVariant& v, int64_t layer) {
  const LayerSizes sizes = SizesOfLayer(v, layer);
  const double h = static_cast<double>(v.Int("model.hidden_width"));
  const double window = static_cast<double>(v.Int("model.window"));
  const double p = static_cast<double>(sizes.mlp_width);
  const double queries = static_cast<double>(sizes.heads * sizes.key_dim),
               attended = static_cast<double>(sizes.heads * sizes.value_dim),
               keys_and_values =
                   static_cast<double>(sizes.kv_heads * (sizes.key_dim + sizes.value_dim));
  const double gates = IsGatedMlp(v.String("model.mlp")) ? 2 : 1;
  const bool biases = v.Bool("model.biases");
  const double norm = h * (v.String("model.norm") == "layer" ? 2 : 1);
  LayerCost mlp = {(gates + 1) * h * p, (gates + 1) * h * p};
  mlp.parameters += (biases ? gates * p + h : 0) + (v.String("model.unit_bias") == "none" ? 0 : p);
  const double attention = h * (queries + keys_and_values + attended);
  LayerCost cost = {attention + (biases ? queries + keys_and_values + h : 0) + 2 * norm,
                    attention + (queries + attended) * window};
  const bool sparse = v.Has("model.expert_top") && (layer + 1) % v.Int("model.expert_every") == 0;
  for (const LayerCost& part : {mlp, sparse ? ExpertsOf(v, mlp, norm) : LayerCost{}}) {
    cost.parameters += part.parameters;
    cost.products += part.products;
  }
  return cost;
}

CostEstimate TransformerCost(const ResolvedVariant& v) {
  const double h = static_cast<double>(v.Int("model.hidden_width")), vocab = Vocabulary(v);
  const double window = static_cast<double>(v.Int("model.window"));
  double parameters = vocab * h * (v.Bool("model.tie") ? 1 : 2) + vocab;
  parameters += h * (v.String("model.norm") == "layer" ? 2 : 1);
  if (v.String("model.positions") == "learned") parameters += window * h;
  double products = vocab * h;
  for (int64_t layer = 0; layer < v.Int("model.layers"); ++layer) {
    const LayerCost cost = CostOfLayer(v, layer);
    parameters += cost.parameters;
    products += cost.products;
  }
  // Windows overlap by half.
  return NetworkCost(v, parameters, 2 * products, 2 * EvaluatedTokens(v));
}

CostEstimate MlpCost(const ResolvedVariant& v) {
  const double width = static_cast<double>(v.Int("model.hidden_width"));
  const double gates = IsGatedMlp(v.String("model.mlp")) ? 2 : 1;
  const double layers = static_cast<double>(v.Int("model.layers"));
  const double parameters =
      gates * ((kImagePixels + 1) * width + (layers - 1) * (width + 1) * width) +
      (width + 1) * kImageClasses;
  return NetworkCost(v, parameters, 2 * parameters,
                     kImagesEvaluated + static_cast<double>(v.Int("data.examples")));
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
  cost.seconds = 0.12e-6 * order * (tokens + EvaluatedTokens(v));
  return cost;
}

// The network beside a log-linear model.
struct NetworkSize {
  double body = 0, readout = 0;  // parameters that every target meets
  double embedding = 0;          // others
  double evaluations = 1;        // of a target that is scored
};

NetworkSize SizeOfNetwork(const ResolvedVariant& v) {
  const std::string& network = v.String("model.network");
  const double width = static_cast<double>(v.Int("model.network_width"));
  const double layers = static_cast<double>(v.Int("model.network_layers"));
  const double context = static_cast<double>(v.Int("model.network_context"));
  const double matrix = width * width, table = width * Vocabulary(v);
  if (network == "saffu") {
    return {.body = (context + 1) * layers * matrix, .readout = (context + 1) * table};
  }
  const double embedding = v.Bool("model.network_tied") ? 0 : table;
  if (network == "feed_forward") {
    return {.body = (2 * context + 4 * (layers - 1) + 2) * matrix,
            .readout = table,
            .embedding = embedding};
  }
  // Sequences overlap by half.
  return {.body = 10 * layers * matrix, .readout = table, .embedding = embedding, .evaluations = 2};
}

void AddNetwork(const ResolvedVariant& v, CostEstimate* cost) {
  constexpr double kFlopsPerSecond = 6e10;
  const NetworkSize size = SizeOfNetwork(v);
  const double flops = 2 * (size.body + size.readout);
  const double all = flops * (3 * StepTargets(v) + size.evaluations * EvaluatedTokens(v));
  cost->parameters += size.body + size.readout + size.embedding;
  cost->target_flops += flops;
  cost->flops += all;
  cost->seconds += all / kFlopsPerSecond;
}

CostEstimate LogLinearCost(const ResolvedVariant& v) {
  const double tokens = static_cast<double>(v.Int("data.tokens"));
  const auto templates = ParseTemplates(v.String("model.templates"));
  const double chain = static_cast<double>(v.Int("model.order") - 1);
  const double others = templates.ok() ? static_cast<double>(templates->size()) : 0;
  const bool has_history = v.String("model.history") != "none";
  const auto lags = [&v](const char* key) {
    return v.Has(key) ? static_cast<double>(v.Int(key)) : 0.0;
  };
  // Codes have few non-zeros, so that they cost about three rows of as many; the others all.
  const double codes = lags("model.dense_lags");
  const double full = lags("model.dense_context_lags") + v.Has("model.dense_radius");
  const double bits =
      v.Has("model.dense_bits") ? static_cast<double>(v.Int("model.dense_bits")) : 0;
  // Rows of frequent contexts name a good part of the vocabulary.
  const double row = 0.1 * Vocabulary(v);
  const double entries = Vocabulary(v) + chain * row + 3 * others * row + (has_history ? row : 0);
  // Some ten passes over the hold-out, with gradients.
  const double fitted = v.String("solve.gains") == "calibrated" ? 25 * std::min(1e4, tokens) : 0;
  const double dense = Vocabulary(v) * (5 * codes + (2 * bits + 4) * full);
  CostEstimate cost;
  cost.parameters = Vocabulary(v) + (chain + 1.2 * others) * std::pow(tokens, 0.9) +
                    Vocabulary(v) * bits * (codes + full);
  cost.solve_flops = 20 * tokens * (chain + others) + 6 * fitted * entries + fitted * dense;
  cost.target_flops = 6 * entries + dense;
  cost.flops = cost.solve_flops + cost.target_flops * (EvaluatedTokens(v) + 3 * StepTargets(v));
  cost.seconds =
      1 + 2.5e-7 * tokens * (chain + others) +
      (1e-9 * entries + 1.5e-11 * dense) * (fitted + EvaluatedTokens(v) + 2 * StepTargets(v));
  if (v.Has("model.network_width")) AddNetwork(v, &cost);
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
          {"transformer", TransformerCost},
          {"mlp", MlpCost},
          {"kneser_ney", KneserNeyCost},
          {"log_linear", LogLinearCost},
          {"unigram", UnigramCost},
          {"noop", NoopCost}};
  return by_type->at(variant.String("model.type"))(variant);
}

}  // namespace saffron
