#include "core/model/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/model/edit_distance.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
using ::testing::Contains;
using ::testing::Not;

ResolvedVariant Must(const Params& given) {
  auto resolved = ResolvedVariant::Resolve(given);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *resolved : ResolvedVariant();
}

TEST(EditDistance, CountsSwapsOfNeighboursAsOneEdit) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("ab", "ba"), 1);
  EXPECT_EQ(EditDistance("ca", "abc"), 3);  // no substring is edited twice
}

TEST(Nearest, FindsTyposAndRefusesOtherWords) {
  EXPECT_EQ(NearestParam("model.bist"), "model.bits");
  EXPECT_EQ(NearestParam("modle.context"), "model.context");
  EXPECT_EQ(NearestParam("lr"), "train.lr");
  EXPECT_EQ(NearestParam("optimizer.lr"), "train.lr");
  EXPECT_EQ(NearestParam("paitence"), "train.patience");
  EXPECT_EQ(NearestParam("colour"), "");
  EXPECT_EQ(NearestParam(""), "");
  EXPECT_EQ(NearestName("adma", {"adam", "sgd"}), "adam");
  EXPECT_EQ(NearestName("x", {"adam", "sgd"}), "");
  EXPECT_EQ(NearestName("x", {}), "");
}

TEST(Registry, EverySpecIsComplete) {
  std::set<std::string> keys;
  for (const ParamSpec& spec : AllParams()) {
    SCOPED_TRACE(spec.key);
    EXPECT_TRUE(keys.insert(spec.key).second);
    EXPECT_FALSE(spec.doc.empty());
    EXPECT_EQ(spec.default_value.index(), static_cast<size_t>(spec.type));
    EXPECT_EQ(spec.relevant_when.empty(), spec.RelevanceText().empty());
    const bool is_number = spec.type == ParamType::kInt || spec.type == ParamType::kDouble;
    EXPECT_EQ(is_number, spec.min.has_value());
    EXPECT_EQ(is_number, spec.max.has_value());
    const bool is_text = spec.type == ParamType::kString;
    EXPECT_TRUE(!is_text || !spec.choices.empty() || spec.validate != nullptr);
    EXPECT_EQ(FindParam(spec.key), &spec);
    // The default is a legal value.
    EXPECT_TRUE(ResolvedVariant::Resolve({{spec.key, spec.default_value}}).ok());
  }
  EXPECT_EQ(FindParam("model.nothing"), nullptr);
}

TEST(Registry, RelevanceIsSaidInWords) {
  EXPECT_EQ(FindParam("model.type")->RelevanceText(), "");
  EXPECT_EQ(FindParam("train.momentum")->RelevanceText(),
            "train.steps is at least 1 and train.optimizer is sgd");
  EXPECT_EQ(FindParam("train.beta1")->RelevanceText(),
            "train.steps is at least 1 and train.optimizer is adam, adamw or muon");
  EXPECT_EQ(FindParam("data.vocab")->RelevanceText(),
            "model.type is saffu, softmax_regression, transformer, kneser_ney, log_linear or "
            "unigram and model.input "
            "is "
            "onehot and "
            "data.tokenizer is word, bpe or unigram");
}

TEST(Metrics, ReportedKeysAreDescribed) {
  for (const Params& given :
       {Params{}, Params{{"train.steps", int64_t{3}}}, Params{{"model.streams", "x+c+r"}},
        Params{{"model.type", "noop"}}, Params{{"model.type", "kneser_ney"}},
        Params{{"model.type", "softmax_regression"}},
        Params{{"model.type", "softmax_regression"}, {"model.input", "pixels"}}}) {
    const auto keys = ReportedMetrics(Must(given));
    EXPECT_THAT(keys, Contains("test/perplexity"));
    for (const std::string& key : keys) EXPECT_NE(FindMetric(key), nullptr) << key;
    EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), keys.size());
  }
}

TEST(Metrics, DependOnTheVariant) {
  const auto saffu =
      ReportedMetrics(Must({{"model.streams", "x+r"}, {"model.context", int64_t{2}}}));
  EXPECT_THAT(saffu, Contains("solve/gain/x2"));
  EXPECT_THAT(saffu, Contains("solve/gain/r"));
  EXPECT_THAT(saffu, Not(Contains("solve/gain/c1")));
  EXPECT_THAT(saffu, Not(Contains("train/best_step")));
  EXPECT_THAT(ReportedMetrics(Must({{"train.init", "random"}})), Not(Contains("solve/alpha")));
  EXPECT_THAT(ReportedMetrics(Must({{"model.attention", "static"}})), Not(Contains("solve/gamma")));
  EXPECT_THAT(ReportedMetrics(Must({{"train.steps", int64_t{1}}})), Contains("train/best_step"));
  const auto pixels =
      ReportedMetrics(Must({{"model.type", "softmax_regression"}, {"model.input", "pixels"}}));
  EXPECT_THAT(pixels, Not(Contains("test/bits_per_byte")));
  EXPECT_THAT(pixels, Contains("test/accuracy"));
}

TEST(Metrics, TimesVaryAndLossesDoNot) {
  EXPECT_FALSE(FindMetric("time/solve_s")->deterministic);
  EXPECT_FALSE(FindMetric("memory/peak_bytes")->deterministic);
  EXPECT_FALSE(FindMetric("cache/misses")->deterministic);
  EXPECT_TRUE(FindMetric("test/perplexity")->deterministic);
  EXPECT_TRUE(FindMetric("solve/gain/x1")->deterministic);
  EXPECT_EQ(FindMetric("test/beauty"), nullptr);
}

TEST(Cost, GrowsWithStepsAndSize) {
  const auto seconds = [](const Params& given) { return EstimateCost(Must(given)).seconds; };
  EXPECT_GT(seconds({{"train.steps", int64_t{100}}}), seconds({}));
  EXPECT_GT(seconds({{"train.steps", int64_t{300}}}), seconds({{"train.steps", int64_t{100}}}));
  EXPECT_GT(seconds({{"model.bits", int64_t{128}}, {"train.steps", int64_t{300}}}),
            seconds({{"train.steps", int64_t{300}}}));
  EXPECT_GT(seconds({}), seconds({{"model.type", "unigram"}}));
  EXPECT_EQ(seconds({{"model.type", "noop"}, {"model.sleep_ms", int64_t{1500}}}), 1.5);
}

}  // namespace
}  // namespace saffron
