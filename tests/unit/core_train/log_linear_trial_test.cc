// Trials of model.type log_linear, and of Kneser-Ney with histories.

#include <gmock/gmock.h>

#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/log_linear/gain_objective.h"
#include "core/model/registry.h"
#include "core/train/evidence_network.h"
#include "core/train/trained_solution.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

class LogLinearTrialTest : public TinyCorpusTest {
 protected:
  TrialResult Run(Params params, uint64_t seed = 1) {
    params.emplace("model.type", "log_linear");
    params.emplace("data.corpus", "tiny");
    params.emplace("data.vocab", int64_t{28});
    Recorder recorder;
    const ResolvedVariant variant = MustResolve(params);
    const auto result =
        RunTrial(variant, seed, fingerprint_, {.data = &data_, .statistics = &cache_}, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    EXPECT_EQ(result->outcome, TrainOutcome::kSucceeded) << result->message;
    std::vector<std::string> reported;
    for (const auto& [key, value] : result->metrics) {
      reported.push_back(key);
      EXPECT_TRUE(std::isfinite(value)) << key;
    }
    EXPECT_THAT(reported, testing::UnorderedElementsAreArray(ReportedMetrics(variant)));
    return *result;
  }
  double Test(Params params) { return Run(std::move(params)).metrics["test/perplexity"]; }

  static Params Everything() {
    return {{"model.templates", "skip+pair"},
            {"model.history", "all+recent+followers"},
            {"model.unigram_gain", true},
            {"model.seen_gains", true}};
  }
  static Params WithNetwork(Params params) {
    params.emplace("model.network", "transformer");
    params.emplace("model.network_width", int64_t{32});
    params.emplace("model.network_context", int64_t{16});
    params.emplace("train.steps", int64_t{20});
    params.emplace("train.batch", int64_t{128});
    params.emplace("train.lr", 0.003);
    return params;
  }
};

TEST_F(LogLinearTrialTest, SolvesWhatItIsAskedFor) {
  const double unigram = Test({{"model.type", "unigram"}});
  EXPECT_LT(Test({}), 0.5 * unigram);
  EXPECT_LT(Test(Everything()), 0.5 * unigram);
  Run({{"solve.gains", "knorm"}, {"model.order", int64_t{5}}});
  Run({{"solve.refold", false}, {"model.gain_classes", "one"}, {"model.templates", "2.4"}});
  Run({{"model.order", int64_t{1}}});
}

TEST_F(LogLinearTrialTest, WeighsDenseEvidenceLikeAnyOther) {
  // What stands far from its target says nothing of it in this corpus.
  for (const char* dense : {"x", "c", "x+c", "x+r", "c+r", "x+c+r"}) {
    Params params = {{"model.order", int64_t{1}}, {"model.dense", dense}};
    params.emplace("model.dense_bits", int64_t{24});
    EXPECT_LT(Test(params), 0.9 * Test({{"model.type", "unigram"}})) << dense;
  }
  Params params = Everything();
  params.insert({{"model.dense", "x+c+r"},
                 {"model.dense_bits", int64_t{12}},
                 {"model.dense_lags", int64_t{2}},
                 {"model.dense_context_lags", int64_t{2}},
                 {"model.dense_radius", int64_t{8}},
                 {"solve.dense_alpha", 100.0}});
  const auto all = Run(params).metrics;
  EXPECT_NE(all.at("solve/gain/c2"), 0);
  // Counted text is scored as if it had not been counted, by dense evidence too.
  EXPECT_NEAR(all.at("train/nats_per_token"), all.at("test/nats_per_token"), 0.3);
  params.emplace("solve.gains", "knorm");
  const double unfitted = Test(params);
  EXPECT_LT(all.at("test/perplexity"), unfitted);
  params.insert({{"train.steps", int64_t{30}}, {"train.lr", 0.02}, {"train.batch", int64_t{256}}});
  EXPECT_LT(Test(params), unfitted);
}

TEST_F(LogLinearTrialTest, GainsOfOneCostWhatKneserNeyCosts) {
  for (const char* discounts : {"single", "modified"}) {
    const double softmax = Test({{"solve.gains", "knorm"}, {"model.discounts", discounts}});
    const double chain = Test({{"model.type", "kneser_ney"}, {"model.discounts", discounts}});
    EXPECT_NEAR(softmax, chain, 1e-4 * chain) << discounts;
  }
}

TEST_F(LogLinearTrialTest, CompareThemselvesWithTheControlThatReadsTheSame) {
  auto everything = Run(Everything()).metrics;
  Params control = {{"model.type", "kneser_ney"}, {"model.history", "all+recent+followers"}};
  EXPECT_NEAR(everything["test/lead"],
              Run(control).metrics["test/nats_per_token"] - everything["test/nats_per_token"],
              1e-6);
  EXPECT_LE(everything["test/lead_low"], everything["test/lead"]);
  EXPECT_GE(everything["test/lead_high"], everything["test/lead"]);
}

TEST_F(LogLinearTrialTest, ScoresCountedTextAsIfItHadNotBeenCounted) {
  auto metrics = Run(Everything()).metrics;
  EXPECT_NEAR(metrics["train/nats_per_token"], metrics["test/nats_per_token"], 0.3);
}

TEST_F(LogLinearTrialTest, TrainsItsGains) {
  Params params = Everything();
  params.emplace("solve.gains", "knorm");
  const double before = Test(params);
  params.emplace("train.steps", int64_t{30});
  params.emplace("train.lr", 0.02);
  params.emplace("train.batch", int64_t{256});
  EXPECT_LT(Test(params), before);
}

TEST_F(LogLinearTrialTest, TrainsItsRows) {
  Params params = Everything();
  params.insert(
      {{"solve.gains", "knorm"}, {"model.dense", "x"}, {"model.dense_bits", int64_t{12}}});
  auto before = Run(params).metrics;
  params.emplace("train.steps", int64_t{30});
  params.emplace("train.lr", 20.0);
  params.emplace("train.optimizer", "sgd");
  params.emplace("train.batch", int64_t{256});
  params.emplace("model.trained", "rows");
  auto after = Run(params).metrics;
  EXPECT_LT(after["test/nats_per_token"], before["test/nats_per_token"]);
  EXPECT_EQ(after["solve/gain/1.2"], before["solve/gain/1.2"]);
  EXPECT_EQ(after["model/parameters"], before["model/parameters"]);
  EXPECT_LT(after["model/parameters_trained"], after["model/parameters"]);
}

TEST_F(LogLinearTrialTest, TrainsItsDenseTables) {
  Params params = {{"model.order", int64_t{2}},
                   {"model.dense", "x+c+r"},
                   {"model.dense_bits", int64_t{12}},
                   {"model.dense_context_lags", int64_t{1}},
                   {"solve.gains", "knorm"}};
  auto before = Run(params).metrics;
  params.insert({{"train.steps", int64_t{40}},
                 {"train.lr", 0.02},
                 {"train.batch", int64_t{256}},
                 {"model.trained", "dense"}});
  auto after = Run(params).metrics, again = Run(params).metrics;
  for (const char* split : {"train", "valid", "test"}) {
    const std::string key = absl::StrCat(split, "/nats_per_token");
    EXPECT_LT(after[key], before[key]);
    EXPECT_EQ(again[key], after[key]);
  }
  EXPECT_EQ(after["solve/gain/c1"], before["solve/gain/c1"]);
  EXPECT_EQ(after["model/parameters"], before["model/parameters"]);
  EXPECT_EQ(after["model/parameters_trained"], (4 + 1 + 1) * 12 * 28);
}

TEST_F(LogLinearTrialTest, DenseTablesMayBeFrozenOneByOne) {
  Params params = {{"model.dense", "x+r"},       {"model.dense_bits", int64_t{8}},
                   {"model.trained", "dense"},   {"train.steps", int64_t{10}},
                   {"train.batch", int64_t{64}}, {"train.lr", 0.02},
                   {"train.keep", "last"}};
  const double all = Test(params);
  params.emplace("train.freeze", "dense.x1");
  EXPECT_NE(Test(params), all);
}

TEST_F(LogLinearTrialTest, TrainsANetworkOnTopOrBesideItTheSameEveryTime) {
  for (const char* join : {"product", "mixture"}) {
    Params params = WithNetwork(Everything());
    params.emplace("model.join", join);
    auto once = Run(params).metrics, again = Run(params).metrics, other = Run(params, 2).metrics;
    EXPECT_EQ(once["test/nats_per_token"], again["test/nats_per_token"]);
    EXPECT_NE(once["test/nats_per_token"], other["test/nats_per_token"]);
  }
}

TEST_F(LogLinearTrialTest, TheNetworkMayBeAnother) {
  for (const char* network : {"feed_forward", "saffu"}) {
    SCOPED_TRACE(network);
    Params params = WithNetwork(Everything());
    params["model.network"] = network;
    params["model.network_context"] = int64_t{4};
    params.emplace("model.network_alone", 0.5);
    params.emplace("model.evidence", "trained");
    auto once = Run(params).metrics, again = Run(params).metrics, other = Run(params, 2).metrics;
    EXPECT_EQ(once["test/nats_per_token"], again["test/nats_per_token"]);
    EXPECT_NE(once["test/nats_per_token"], other["test/nats_per_token"]);
    params["model.join"] = "mixture";
    Run(params);
  }
}

TEST_F(LogLinearTrialTest, ANetworksReadoutMayBeItsEmbeddingOrItsOwn) {
  for (const char* network : {"feed_forward", "transformer"}) {
    Params params = WithNetwork({});
    params["model.network"] = network;
    auto tied = Run(params).metrics;
    params.emplace("model.network_tied", false);
    EXPECT_EQ(Run(params).metrics["model/parameters"] - tied["model/parameters"], 32 * 28);
  }
}

TEST_F(LogLinearTrialTest, TrainsANetworkAloneBeforeItIsJoined) {
  Params params = WithNetwork(Everything());
  params["train.steps"] = int64_t{60};
  params["train.lr"] = 0.01;
  const double joined = Test(params);
  params.emplace("model.network_alone", 0.7);
  const double staged = Test(params);
  EXPECT_NE(staged, joined);
  params.emplace("model.evidence_scale", 0.75);
  params.emplace("model.network_scale", 0.4);
  EXPECT_NE(Test(params), staged);
}

TEST_F(LogLinearTrialTest, TrainsGainsAlongWithTheNetworkOnceTheyAreJoined) {
  Params params = WithNetwork(Everything());
  params.emplace("model.network_alone", 0.5);
  params.emplace("train.keep", "last");
  auto frozen = Run(params).metrics;
  params.emplace("model.evidence", "trained");
  auto trained = Run(params).metrics;
  EXPECT_EQ(Run(params).metrics["test/nats_per_token"], trained["test/nats_per_token"]);
  EXPECT_NE(trained["test/nats_per_token"], frozen["test/nats_per_token"]);
  EXPECT_NE(trained["solve/gain/recent"], frozen["solve/gain/recent"]);
  EXPECT_EQ(trained["model/parameters"], frozen["model/parameters"]);
  // Nine for each of nine templates, and each being seen; 8 + 8 + 9 of the histories, the unigram.
  EXPECT_EQ(trained["model/parameters_trained"] - frozen["model/parameters_trained"],
            2 * 9 * 7 + 25 + 1);
}

class EvidenceNetworkTest : public TinyCorpusTest {
 protected:
  void SetUp() override {
    TinyCorpusTest::SetUp();
    auto data = data_.Text({.corpus = "tiny", .vocab = 28});
    ASSERT_TRUE(data.ok());
    text_ = *data;
    LogLinearSpec spec;
    spec.templates = {LagTemplate::Parse("2").value()};
    spec.histories = {HistoryKind::kRecent};
    spec.unigram = spec.seen_gains = true;
    spec.dense = {.bits = 12,
                  .context = 1,
                  .streams = {Stream::kCipher, Stream::kContext, Stream::kBag},
                  .context_lags = 1,
                  .radius = 4,
                  .alpha = 30};
    auto evidence = LogLinearModel::Solve(spec, *text_, cache_);
    ASSERT_TRUE(evidence.ok());
    evidence_ = std::make_unique<LogLinearModel>(*std::move(evidence));
  }
  std::unique_ptr<EvidenceNetwork> Make(EvidenceNetwork::Options options) {
    options.width = 32;
    options.context = 16;
    options.dropout = 0;
    options.seed = 3;
    options.data = text_.get();
    options.statistics = &cache_;
    auto network = EvidenceNetwork::Create(*evidence_, text_->train, options);
    EXPECT_TRUE(network.ok());
    return *std::move(network);
  }

  std::shared_ptr<const TextDataset> text_;
  std::unique_ptr<LogLinearModel> evidence_;
  const std::vector<int64_t> examples_ = std::vector<int64_t>(64, 700);
};

TEST_F(EvidenceNetworkTest, TakesGradientsOfTheLossItReports) {
  for (const auto& [kind, alone] :
       {std::pair("transformer", false), std::pair("transformer", true),
        std::pair("feed_forward", false), std::pair("feed_forward", true),
        std::pair("saffu", false), std::pair("saffu", true)}) {
    const auto network = Make({.network = kind, .evidence_scale = 0.75, .network_scale = 0.4});
    network->set_alone(alone);
    const auto parameters = network->arena().parameters();
    const std::vector<float> start(parameters.begin(), parameters.end());
    network->LossAndGradient(examples_);
    const auto at_start = network->arena().gradients();
    const std::vector<float> gradient(at_start.begin(), at_start.end());
    double norm = 0;
    for (const float g : gradient) norm += double{g} * g;
    norm = std::sqrt(norm);
    // Along the gradient the loss rises by its length.
    const auto loss_at = [&](double step) {
      for (size_t i = 0; i < start.size(); ++i) {
        parameters[i] = static_cast<float>(start[i] + step * gradient[i] / norm);
      }
      const double loss = network->LossAndGradient(examples_);
      std::copy(start.begin(), start.end(), parameters.begin());
      return loss;
    };
    EXPECT_NEAR((loss_at(1e-3) - loss_at(-1e-3)) / 2e-3, norm, 0.02 * norm) << kind << alone;
  }
}

TEST_F(EvidenceNetworkTest, TheGainsGradientIsThatOfTheirFitWhereTheNetworkIsSilent) {
  const auto network = Make({.network_scale = 0.4, .train_gains = true});
  std::fill_n(network->arena().parameters().begin(),
              network->parameters() - network->trained_gains(), 0.0f);
  const std::vector<double> gains = network->TrainedGains();
  ASSERT_EQ(gains.size(), evidence_->gains().size());
  std::vector<int64_t> examples(64, 0);
  std::vector<int32_t> targets;
  for (int s = 0; s < 4; ++s) {
    examples[s] = 700 + 900 * s;
    for (int i = 0; i < 16; ++i) targets.push_back(static_cast<int32_t>(examples[s]) + 1 + i);
  }
  GainObjective<float> fit(evidence_->shape(), evidence_->tables(), text_->train, targets,
                           Counted::kLeftOut);
  const GainLoss wanted =
      fit.At(Eigen::Map<const Vector<double>>(gains.data(), gains.size()), /*curvature_every=*/0);
  EXPECT_NEAR(network->LossAndGradient(examples), wanted.nats / 64, 1e-5);
  const auto gradient = network->arena().gradients().last(gains.size());
  int moved = 0;
  for (size_t g = 0; g < gains.size(); ++g) {
    EXPECT_NEAR(gradient[g], wanted.gradient[g] / 64, 1e-6) << evidence_->shape().names[g];
    moved += gradient[g] != 0;
  }
  EXPECT_GT(moved, 15);
}

TEST_F(EvidenceNetworkTest, TakesTheGradientOfItsGains) {
  const auto network = Make({.evidence_scale = 0.75, .network_scale = 0.4, .train_gains = true});
  network->LossAndGradient(examples_);
  const size_t size = network->TrainedGains().size();
  const auto in_arena = network->arena().parameters().last(size);
  const std::vector<float> start(in_arena.begin(), in_arena.end());
  const auto at_start = network->arena().gradients().last(size);
  const std::vector<float> gradient(at_start.begin(), at_start.end());
  for (size_t g = 0; g < size; ++g) {
    const auto loss_at = [&](float step) {
      in_arena[g] = start[g] + step;
      const double loss = network->LossAndGradient(examples_);
      in_arena[g] = start[g];
      return loss;
    };
    const double slope = (loss_at(0.02f) - loss_at(-0.02f)) / 0.04;
    EXPECT_NEAR(gradient[g], slope, 0.01 * std::abs(slope) + 1e-5) << evidence_->shape().names[g];
  }
}

TEST_F(EvidenceNetworkTest, GainsDoNotDecayAndAreNoMatrix) {
  const auto network = Make({.train_gains = true});
  const ParameterTensor& last = network->arena().tensors().back();
  EXPECT_EQ(last.name, "evidence.gains");
  EXPECT_EQ(last.role, TensorRole::kVector);
  const ParameterSegment<float>& segment = network->arena().segments().back();
  EXPECT_EQ(segment.begin, last.begin);
  EXPECT_FALSE(segment.decay);
  EXPECT_EQ(Make({})->arena().tensors().back().name, "final_norm.gain");
}

TEST_F(EvidenceNetworkTest, AloneItIsTrainedAsIfThereWereNoEvidenceAndScoredWithIt) {
  const auto product = Make({.evidence_scale = 0.75, .network_scale = 0.4, .train_gains = true});
  const auto mixture = Make({.join = Join::kMixture});
  const std::vector<int64_t> targets = {50, 51, 52, 90};
  const auto scored = product->Nats(text_->test, targets, Counted::kAsIs);
  const double joined = product->LossAndGradient(examples_);
  product->set_alone(true);
  EXPECT_EQ(product->LossAndGradient(examples_), mixture->LossAndGradient(examples_));
  EXPECT_THAT(product->arena().gradients().last(product->trained_gains()), testing::Each(0.0f));
  EXPECT_EQ(product->Nats(text_->test, targets, Counted::kAsIs), scored);
  product->set_alone(false);
  EXPECT_EQ(product->LossAndGradient(examples_), joined);
}

TEST_F(EvidenceNetworkTest, ScalesWeighTheLogits) {
  const std::vector<int64_t> targets = {50, 51, 52, 90};
  // Hardly any network: the evidence as it is.
  const auto evidence = Make({.network_scale = 1e-9})->Nats(text_->test, targets, Counted::kAsIs);
  EXPECT_THAT(evidence,
              testing::Pointwise(testing::DoubleNear(1e-4), evidence_->Nats(text_->test, targets)));
  const auto half = Make({.evidence_scale = 0.5, .network_scale = 1e-9});
  EXPECT_NE(half->Nats(text_->test, targets, Counted::kAsIs), evidence);
}

TEST_F(EvidenceNetworkTest, FittedScalesAreTheBest) {
  std::vector<int64_t> targets(text_->valid.size() - 1);
  std::iota(targets.begin(), targets.end(), 1);
  const auto loss = [&](EvidenceNetwork& network) {
    double sum = 0;
    for (double nats : network.Nats(text_->valid, targets, Counted::kAsIs)) sum += nats;
    return sum / static_cast<double>(targets.size());
  };
  const auto fitted = Make({.evidence_scale = 0.3, .network_scale = 5});
  fitted->FitScales(text_->valid, targets);
  const double a = fitted->evidence_scale(), b = fitted->network_scale(), best = loss(*fitted);
  EXPECT_GT(b, 0) << "or its neighbours cannot be looked at";
  for (const auto& [da, db] :
       std::vector<std::pair<double, double>>{{0.03, 0}, {-0.03, 0}, {0, 0.05}, {0, -0.05}}) {
    const auto other = Make({.evidence_scale = a + da, .network_scale = b + db});
    EXPECT_GT(loss(*other), best) << a << " " << b << " moved by " << da << " " << db;
  }
  // Steps go on with their own.
  const auto given = Make({.evidence_scale = 0.3, .network_scale = 5});
  EXPECT_EQ(fitted->LossAndGradient(examples_), given->LossAndGradient(examples_));
}

TEST_F(LogLinearTrialTest, FitsTheScalesOfAProductToTheValidationSplit) {
  Params params = WithNetwork(Everything());
  params.emplace("model.evidence_scale", 0.3);
  auto given = Run(params).metrics;
  params.emplace("model.scales", "fitted");
  auto fitted = Run(params).metrics;
  EXPECT_LT(fitted["valid/nats_per_token"], given["valid/nats_per_token"]);
  EXPECT_EQ(Run(params).metrics["test/nats_per_token"], fitted["test/nats_per_token"]);
}

TEST_F(EvidenceNetworkTest, RowsAreTrainedOnTargetsThatAreLeftOut) {
  auto rows = TrainedRows(*evidence_, text_->train);
  ASSERT_TRUE(rows.ok());
  std::vector<int64_t> targets;
  for (int64_t t = 600; t < 728; t += 2) targets.push_back(t);
  // Where nothing is trained yet, what a fit of the gains would see.
  GainObjective<float> fit(evidence_->shape(), evidence_->tables(), text_->train,
                           {targets.begin(), targets.end()}, Counted::kLeftOut);
  const std::vector<double>& gains = evidence_->gains();
  const double nats =
      fit.At(Eigen::Map<const Vector<double>>(gains.data(), gains.size()), 0).nats / 64;
  EXPECT_NEAR((*rows)->LossAndGradient(targets), nats, 1e-5);
  EXPECT_EQ((*rows)->Nats(text_->test, {{7, 8}}, Counted::kAsIs),
            evidence_->Nats(text_->test, {{7, 8}}));

  const absl::Span<float> p = (*rows)->arena().parameters();
  for (size_t i = 0; i < p.size(); ++i) p[i] = 0.3f * std::sin(static_cast<float>(i));
  (*rows)->LossAndGradient(targets);
  const std::vector<float> gradient((*rows)->arena().gradients().begin(),
                                    (*rows)->arena().gradients().end());
  int touched = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (gradient[i] == 0 ? i % 50 != 0 : ++touched % 5 != 0) continue;
    const float kept = p[i];
    p[i] = kept + 0.05f;
    const double above = (*rows)->LossAndGradient(targets);
    p[i] = kept - 0.05f;
    const double below = (*rows)->LossAndGradient(targets);
    p[i] = kept;
    EXPECT_NEAR(gradient[i], (above - below) / 0.1, 2e-5) << "entry " << i;
  }
  EXPECT_GT(touched, 500);
  double mean = 0;
  for (const double n : (*rows)->Nats(text_->train, targets, Counted::kLeftOut)) mean += n / 64;
  EXPECT_NEAR((*rows)->LossAndGradient(targets), mean, 1e-6);
}

TEST_F(LogLinearTrialTest, ANetworkAloneLearns) {
  for (const char* network : {"transformer", "feed_forward", "saffu"}) {
    Params params = WithNetwork({{"model.order", int64_t{1}}});
    params["model.network"] = network;
    if (params["model.network"] != ParamValue("transformer")) {
      params["model.network_context"] = int64_t{4};
    }
    params["train.steps"] = int64_t{60};
    params["train.lr"] = 0.01;
    EXPECT_LT(Test(params), 0.8 * Test({{"model.type", "unigram"}})) << network;
  }
}

TEST_F(LogLinearTrialTest, ANetworkSeesNothingOfWhatFollows) {
  const auto data = data_.Text({.corpus = "tiny", .vocab = 28});
  ASSERT_TRUE(data.ok());
  LogLinearSpec spec;
  spec.histories = {HistoryKind::kAll};
  const auto evidence = LogLinearModel::Solve(spec, **data, cache_);
  ASSERT_TRUE(evidence.ok());
  for (const auto& [join, kind] :
       {std::pair(Join::kProduct, "transformer"), std::pair(Join::kMixture, "transformer"),
        std::pair(Join::kProduct, "feed_forward")}) {
    auto network = EvidenceNetwork::Create(*evidence, (*data)->train,
                                           {.join = join,
                                            .network = kind,
                                            .width = 32,
                                            .layers = 1,
                                            .context = 16,
                                            .seed = 3,
                                            .data = data->get(),
                                            .statistics = &cache_});
    ASSERT_TRUE(network.ok());
    std::vector<int32_t> stream((*data)->test.begin(), (*data)->test.begin() + 200);
    std::vector<int64_t> targets;
    for (int64_t t = 50; t < 120; ++t) targets.push_back(t);
    const auto before = (*network)->Nats(stream, targets, Counted::kAsIs);
    ASSERT_EQ(before.size(), targets.size());
    for (size_t t = 120; t < stream.size(); ++t) stream[t] = (stream[t] + 1) % 28;
    EXPECT_EQ((*network)->Nats(stream, targets, Counted::kAsIs), before);
  }
}

TEST_F(LogLinearTrialTest, RefusesWhatCannotBe) {
  const auto refused = [](Params params) {
    params.emplace("model.type", "log_linear");
    return std::string(ResolvedVariant::Resolve(params).status().message());
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused({{"model.templates", "1.2"}}), HasSubstr("model.templates: want none, or"));
  EXPECT_THAT(refused({{"solve.gains", "geometric"}}), HasSubstr("want calibrated or knorm"));
  EXPECT_THAT(refused({{"model.network", "transformer"}}), HasSubstr("train.steps of at least 1"));
  EXPECT_THAT(
      refused(
          {{"model.order", int64_t{1}}, {"model.trained", "rows"}, {"train.steps", int64_t{3}}}),
      HasSubstr("model.trained: want gains, or a model.order of at least 2"));
  EXPECT_THAT(refused({{"model.trained", "dense"}, {"train.steps", int64_t{3}}}),
              HasSubstr("model.trained: want gains or rows, or a model.dense to train"));
  EXPECT_THAT(refused({{"solve.refold", false}, {"train.steps", int64_t{3}}}),
              HasSubstr("want true when train.steps"));
  EXPECT_THAT(refused({{"model.dense", "c+x"}}), HasSubstr("want one of"));
  EXPECT_THAT(refused({{"model.dense", "x"}, {"model.dense_bits", int64_t{12}}}),
              HasSubstr("model.dense_bits: want at least 13"));
  EXPECT_THAT(refused({{"model.type", "kneser_ney"}, {"model.order", int64_t{1}}}),
              HasSubstr("want at least 2"));
}

}  // namespace
}  // namespace saffron
