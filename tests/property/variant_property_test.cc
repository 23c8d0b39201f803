// Properties of resolution that must hold for every configuration, on thousands of random ones.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/model/registry.h"
#include "core/model/variant.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;

constexpr int kConfigurations = 3000;

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed, RandomPurpose::kTest) {}
  uint64_t Below(uint64_t n) { return random_.Below(next_++, n); }
  double Uniform() { return random_.Uniform(next_++); }

  // A legal value of the key; the default and both ends of the range come often.
  ParamValue Value(const ParamSpec& spec) {
    const ParamValue value = OfItsType(spec);
    return spec.validate && !spec.validate(value).empty() ? spec.default_value : value;
  }

  Params Configuration() {
    Params given;
    for (const ParamSpec& spec : AllParams()) {
      if (Below(2) == 0) given[spec.key] = Value(spec);
    }
    return given;
  }

 private:
  ParamValue OfItsType(const ParamSpec& spec) {
    if (Below(4) == 0) return spec.default_value;
    switch (spec.type) {
      case ParamType::kBool:
        return Below(2) == 0;
      case ParamType::kInt:
        return static_cast<int64_t>(std::floor(InRange(spec)));
      case ParamType::kDouble:
        return InRange(spec);
      case ParamType::kString:
        return spec.choices.empty() ? "other" : spec.choices[Below(spec.choices.size())];
    }
    return spec.default_value;
  }

  double InRange(const ParamSpec& spec) {
    const uint64_t end = Below(8);
    if (end == 0 && !spec.min_exclusive) return *spec.min;
    if (end == 1 && !spec.max_exclusive) return *spec.max;
    // Small values come as often as large ones.
    const double span = *spec.max - *spec.min, u = Uniform();
    return *spec.min + span * std::pow(u == 0 ? 0.5 : u, 4);
  }

  CounterRandom random_;
  uint64_t next_ = 0;
};

// Configurations that resolve, and what they resolve to. What fails has keys that must fit others:
// a transformer drawn blindly seldom has heads that divide its width.
std::vector<std::pair<Params, ResolvedVariant>> Resolved() {
  std::vector<std::pair<Params, ResolvedVariant>> resolved;
  Draw draw(2024);
  for (int i = 0; i < kConfigurations; ++i) {
    Params given = draw.Configuration();
    auto variant = ResolvedVariant::Resolve(given);
    if (variant.ok()) resolved.emplace_back(std::move(given), std::move(*variant));
  }
  return resolved;
}

TEST(VariantProperty, ManyRandomConfigurationsResolve) {
  EXPECT_GT(Resolved().size(), kConfigurations / 4);
}

TEST(VariantProperty, ResolutionIsAFixedPoint) {
  for (const auto& [given, variant] : Resolved()) {
    const auto again = ResolvedVariant::Resolve(variant.params());
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(*again, variant);
  }
}

TEST(VariantProperty, EqualTextsAndEqualVariantsAreTheSameThing) {
  std::map<std::string, ResolvedVariant> by_text;
  std::map<Params, std::string> text_of;
  for (const auto& [given, variant] : Resolved()) {
    const std::string text = variant.CanonicalText();
    ASSERT_EQ(by_text.emplace(text, variant).first->second, variant) << text;
    ASSERT_EQ(text_of.emplace(variant.params(), text).first->second, text);
  }
}

TEST(VariantProperty, KeysThatDoNotMatterChangeNothing) {
  Draw draw(7);
  for (const auto& [given, variant] : Resolved()) {
    Params changed = variant.params();
    for (const ParamSpec& spec : AllParams()) {
      if (!variant.Has(spec.key)) changed[spec.key] = draw.Value(spec);
    }
    const auto again = ResolvedVariant::Resolve(changed);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(*again, variant) << variant.CanonicalText();
  }
}

TEST(VariantProperty, KeysThatMatterChangeTheDigest) {
  Draw draw(9);
  for (const auto& [given, variant] : Resolved()) {
    const auto& params = variant.params();
    const std::string key = std::next(params.begin(), draw.Below(params.size()))->first;
    const ParamValue value = draw.Value(*FindParam(key));
    Params changed = params;
    changed[key] = value;
    const auto other = ResolvedVariant::Resolve(changed);
    if (!other.ok()) continue;
    ASSERT_EQ(other->Digest() == variant.Digest(), value == params.at(key)) << key;
  }
}

TEST(VariantProperty, OrderAndSpellingOfNumbersDoNotMatter) {
  for (const auto& [given, variant] : Resolved()) {
    Params respelled;
    for (const auto& [key, value] : given) {
      const auto* whole = std::get_if<int64_t>(&value);
      respelled[key] = whole == nullptr ? value : ParamValue(static_cast<double>(*whole));
    }
    const auto again = ResolvedVariant::Resolve(respelled);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(*again, variant);
  }
}

TEST(VariantProperty, CostsAreFiniteAndNotNegative) {
  for (const auto& [given, variant] : Resolved()) {
    const CostEstimate cost = EstimateCost(variant);
    for (const double x : {cost.parameters, cost.flops, cost.solve_flops, cost.seconds}) {
      ASSERT_TRUE(std::isfinite(x) && x >= 0) << variant.CanonicalText();
    }
    for (const std::string& key : ReportedMetrics(variant)) ASSERT_NE(FindMetric(key), nullptr);
  }
}

}  // namespace
}  // namespace saffron
