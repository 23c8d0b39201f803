// Whole trials on the State of the Union corpus against numbers measured with an independent dense
// implementation (NumPy, float64) of the same protocol on the same split, and against themselves:
// again, from a cold and a warm cache, in another process.
//
// Needs the corpus `sotu` in $SAFFRON_DATA (`saffron data fetch sotu`).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/data/data_store.h"
#include "core/model/registry.h"
#include "core/train/trainer.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
using Metrics = std::map<std::string, double>;

class Discard : public MeasurementSink {
 public:
  void Record(const Measurement&) override {}
};

class CurveText : public MeasurementSink {
 public:
  void Record(const Measurement& m) override {
    char line[128];
    std::snprintf(line, sizeof line, "%s@%ld=%a\n", m.key.c_str(), static_cast<long>(m.step),
                  m.value);
    text += line;
  }
  std::string text;
};

// All deterministic metrics, bit for bit.
std::string TextOf(const Metrics& metrics) {
  std::ostringstream text;
  for (const auto& [key, value] : metrics) {
    const MetricSpec* spec = FindMetric(key);
    EXPECT_NE(spec, nullptr) << key;
    if (spec != nullptr && spec->deterministic)
      text << key << "=" << std::hexfloat << value << "\n";
  }
  return text.str();
}

class SotuTest : public ::testing::Test {
 protected:
  SotuTest() : data_(DataStore::DefaultRoot()), cache_({.dir = ""}) {}

  void SetUp() override {
    const auto corpus = data_.Find("sotu");
    ASSERT_TRUE(corpus.ok()) << "this test needs the State of the Union corpus in "
                             << DataStore::DefaultRoot() << " ($SAFFRON_DATA): " << corpus.status();
    fingerprint_ = corpus->fingerprint;
  }

  TrialResult Run(const Params& params, StatisticsCache& cache, MeasurementSink& sink) {
    const auto variant = ResolvedVariant::Resolve(params);
    EXPECT_TRUE(variant.ok()) << variant.status();
    auto result = RunTrial(*variant, 17, fingerprint_,
                           {.data = &data_, .statistics = &cache, .stop = nullptr}, sink);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : TrialResult();
  }
  TrialResult Run(const Params& params) {
    Discard sink;
    return Run(params, cache_, sink);
  }
  double TestPerplexity(const Params& params) { return Run(params).metrics["test/perplexity"]; }

  DataStore data_;
  StatisticsCache cache_;
  std::string fingerprint_;
};

constexpr int64_t k10k = 10'000, k100k = 100'000;
constexpr double kWithin = 0.03;

TEST_F(SotuTest, UnigramsAreExact) {
  EXPECT_NEAR(TestPerplexity({{"model.type", "unigram"}}), 331.476, 0.001);
  EXPECT_NEAR(TestPerplexity({{"model.type", "unigram"}, {"data.vocab", int64_t{8192}}}), 453.870,
              0.001);
}

TEST_F(SotuTest, KneserNeyIsWithinThreePercent) {
  const auto perplexity = [&](int64_t order) {
    return TestPerplexity({{"model.type", "kneser_ney"}, {"model.order", order}});
  };
  EXPECT_NEAR(perplexity(2), 97.8, kWithin * 97.8);
  EXPECT_NEAR(perplexity(3), 77.3, kWithin * 77.3);
}

TEST_F(SotuTest, ExplicitSaffuIsAsGoodAsTheDenseReference) {
  EXPECT_LT(TestPerplexity({{"data.tokens", k100k}}), 143.3 * (1 + kWithin));
  EXPECT_LT(TestPerplexity({{"data.tokens", k10k}}), 225.4 * (1 + kWithin));
}

TEST_F(SotuTest, AWarmStartBeatsARandomOneAtEqualSteps) {
  const auto tuned = [&](const char* init, double lr) {
    return TestPerplexity({{"data.tokens", k10k},
                           {"train.init", init},
                           {"train.steps", int64_t{30}},
                           {"train.lr", lr}});
  };
  const double warm = tuned("explicit", 1e-3);
  EXPECT_LT(warm, 224.6 * (1 + kWithin));
  // The best rates of a grid for a random start.
  EXPECT_GT(tuned("random", 3e-2), warm);
  EXPECT_GT(tuned("random", 1e-2), warm);
}

const Params& SmallTunedVariant() {
  static const auto* const params = new Params{{"data.tokens", k10k},
                                               {"data.eval_tokens", int64_t{5000}},
                                               {"model.bits", int64_t{32}},
                                               {"train.steps", int64_t{10}},
                                               {"train.batch", int64_t{256}}};
  return *params;
}

TEST_F(SotuTest, ReportsWhatTheRegistrySaysItReports) {
  for (Params params :
       {SmallTunedVariant(), Params{{"train.init", "random"}, {"data.tokens", k10k}},
        Params{{"model.layers", int64_t{2}}, {"model.streams", "x+r"}, {"data.tokens", k10k}},
        Params{{"model.attention", "static"}, {"model.head", "sum"}, {"data.tokens", k10k}},
        Params{{"model.type", "softmax_regression"}, {"data.tokens", k10k}},
        Params{{"model.type", "kneser_ney"}, {"data.tokens", k10k}},
        Params{{"model.type", "unigram"}}}) {
    params["data.eval_tokens"] = int64_t{2000};
    const auto variant = ResolvedVariant::Resolve(params);
    ASSERT_TRUE(variant.ok());
    std::vector<std::string> reported;
    for (const auto& [key, value] : Run(params).metrics) reported.push_back(key);
    EXPECT_THAT(reported, ::testing::UnorderedElementsAreArray(ReportedMetrics(*variant)))
        << variant->CanonicalText();
  }
}

TEST_F(SotuTest, ParametersAreEstimatedExactly) {
  for (Params params :
       {SmallTunedVariant(), Params{{"model.layers", int64_t{3}}, {"model.streams", "x+c+r"}},
        Params{{"model.features", "binary"}}, Params{{"model.head", "sum"}},
        Params{{"model.attention", "static"},
               {"train.init", "random"},
               {"model.context", int64_t{2}}}}) {
    params["data.tokens"] = k10k;
    params["data.eval_tokens"] = int64_t{1000};
    const auto variant = ResolvedVariant::Resolve(params);
    ASSERT_TRUE(variant.ok());
    const TrialResult result = Run(params);
    EXPECT_EQ(result.metrics.at("model/parameters"), EstimateCost(*variant).parameters)
        << variant->CanonicalText();
  }
}

TEST_F(SotuTest, TheSameTrialGivesTheSameBits) {
  CurveText first, second;
  StatisticsCache cold({.dir = ""});
  const TrialResult a = Run(SmallTunedVariant(), cold, first);
  EXPECT_GT(a.metrics.at("cache/misses"), 0);
  const TrialResult b = Run(SmallTunedVariant(), cold, second);  // warm now
  EXPECT_EQ(b.metrics.at("cache/misses"), 0);
  EXPECT_EQ(TextOf(a.metrics), TextOf(b.metrics));
  EXPECT_EQ(first.text, second.text);
  EXPECT_NE(first.text, "");
}

// Writes the metrics of a trial to the file named by the environment; run by the next test.
TEST_F(SotuTest, DISABLED_WritesMetricsForAnotherProcess) {
  const char* path = std::getenv("SAFFRON_TEST_METRICS");
  ASSERT_NE(path, nullptr);
  CurveText curve;
  const TrialResult result = Run(SmallTunedVariant(), cache_, curve);
  std::ofstream(path) << TextOf(result.metrics) << curve.text;
}

TEST_F(SotuTest, AnotherProcessGivesTheSameBits) {
  const std::string path = ::testing::TempDir() + "/saffron_metrics_" + std::to_string(getpid());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("SAFFRON_TEST_METRICS", path.c_str(), 1);
    unsetenv("GTEST_OUTPUT");
    execl("/proc/self/exe", "golden_tests", "--gtest_also_run_disabled_tests", "--gtest_brief=1",
          "--gtest_filter=SotuTest.DISABLED_WritesMetricsForAnotherProcess", nullptr);
    _exit(127);
  }
  CurveText curve;
  const TrialResult here = Run(SmallTunedVariant(), cache_, curve);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  std::ostringstream there;
  there << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_EQ(TextOf(here.metrics) + curve.text, there.str());
}

TEST_F(SotuTest, SeedsChangeWhatIsRandomAlone) {
  const auto variant = ResolvedVariant::Resolve(
      {{"data.tokens", k10k}, {"data.eval_tokens", int64_t{2000}}, {"model.bits", int64_t{16}}});
  ASSERT_TRUE(variant.ok());
  Discard sink;
  const TrainerEnv env{.data = &data_, .statistics = &cache_, .stop = nullptr};
  const auto a = RunTrial(*variant, 1, fingerprint_, env, sink);
  const auto b = RunTrial(*variant, 2, fingerprint_, env, sink);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(TextOf(a->metrics), TextOf(b->metrics));
  Params tuned = SmallTunedVariant();
  const auto c = RunTrial(*ResolvedVariant::Resolve(tuned), 1, fingerprint_, env, sink);
  const auto d = RunTrial(*ResolvedVariant::Resolve(tuned), 2, fingerprint_, env, sink);
  ASSERT_TRUE(c.ok() && d.ok());
  EXPECT_NE(c->metrics.at("train/loss"), d->metrics.at("train/loss"));
}

TEST_F(SotuTest, AChangedCorpusIsRefused) {
  const auto variant = ResolvedVariant::Resolve({{"model.type", "unigram"}});
  Discard sink;
  const auto result = RunTrial(*variant, 1, "0123", {.data = &data_, .statistics = &cache_}, sink);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr(fingerprint_));
}

}  // namespace
}  // namespace saffron
