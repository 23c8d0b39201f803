#include "core/log_linear/tuple_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "tests/unit/core_log_linear/sample_text.h"

namespace saffron {
namespace {

constexpr int kVocab = 50;
constexpr int64_t kTokens = 3000;

std::vector<LagTemplate> SomeTemplates() {
  std::vector<LagTemplate> templates;
  for (int n = 0; n <= 4; ++n) templates.push_back(LagTemplate::Chain(n));
  for (const char* name : {"2", "4", "1.3", "2.3", "1.2.4", "1.3.4"}) {
    templates.push_back(*LagTemplate::Parse(name));
  }
  return templates;
}

TargetSet All(int64_t tokens) {
  return {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = true};
}

TEST(TupleCounts, SayHowOftenATokenFollowedAContext) {
  const std::vector<int32_t> stream = {5, 7, 5, 7, 5, 9};
  const TupleCounts counts =
      CountTuples(stream, LagTemplate::Chain(1), {.first = 0, .last = 6, .held = true});
  EXPECT_EQ(counts.CountOf(5, 7), 2);
  EXPECT_EQ(counts.CountOf(5, 9), 1);
  EXPECT_EQ(counts.CountOf(7, 5), 2);
  EXPECT_EQ(counts.CountOf(5, 8), 0);
  EXPECT_EQ(counts.CountOf(7, 9), 0);
  EXPECT_EQ(counts.CountOf(6, 5), 0);
  EXPECT_EQ(counts.CountOf(9, 5), 0);
}

TEST(TupleCounts, AreThoseOfCountingByHand) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 1);
  for (const LagTemplate& lags : SomeTemplates()) {
    std::map<std::pair<std::vector<int32_t>, int32_t>, int> want;
    for (int64_t t = lags.size() == 0 ? 0 : lags.last(); t < kTokens; ++t) {
      std::vector<int32_t> context;
      for (int k = 0; k < lags.size(); ++k) context.push_back(stream[t - lags[k]]);
      ++want[{context, stream[t]}];
    }
    const TupleCounts counts = CountTuples(stream, lags, All(kTokens));
    ASSERT_EQ(counts.entries(), static_cast<int64_t>(want.size())) << lags.Name();
    // Both in lexicographic order.
    auto it = want.begin();
    for (int64_t c = 0; c < counts.contexts(); ++c) {
      for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j, ++it) {
        uint64_t context = 0;
        for (int32_t token : it->first.first) context = context << 16 | token;
        ASSERT_EQ(counts.context[c], context);
        ASSERT_EQ(counts.next[j], it->first.second);
        ASSERT_EQ(counts.count[j], it->second);
      }
    }
  }
}

TEST(TupleCounts, OfTwoShardsAddUpToThoseOfTheWhole) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 2);
  for (const LagTemplate& lags : SomeTemplates()) {
    const TupleCounts whole = CountTuples(stream, lags, All(kTokens));
    for (int64_t cut : {1, 3, 1234, 2999}) {
      TargetSet front = All(kTokens), back = All(kTokens);
      front.last = back.first = cut;
      EXPECT_EQ(AddTuples(CountTuples(stream, lags, front), CountTuples(stream, lags, back)), whole)
          << lags.Name() << " cut at " << cut;
    }
  }
}

TEST(TupleCounts, OfCountedAndHeldOutTargetsAddUpToThoseOfAll) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 3);
  for (const LagTemplate& lags : SomeTemplates()) {
    TargetSet counted = All(kTokens), held = All(kTokens);
    counted.held = false;
    held.counted = false;
    const TupleCounts a = CountTuples(stream, lags, counted), b = CountTuples(stream, lags, held);
    ASSERT_GT(b.entries(), 0);
    EXPECT_EQ(AddTuples(a, b), CountTuples(stream, lags, All(kTokens)));
  }
}

TEST(TupleCounts, OfAPrefixAndWhatFollowsAreThoseOfTheLongerText) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 4);
  for (const LagTemplate& lags : SomeTemplates()) {
    // The prefix counted as a text of its own.
    const auto prefix = absl::MakeConstSpan(stream).first(1000);
    TargetSet rest = All(kTokens);
    rest.first = 1000;
    EXPECT_EQ(AddTuples(CountTuples(prefix, lags, All(1000)), CountTuples(stream, lags, rest)),
              CountTuples(stream, lags, All(kTokens)));
  }
}

TEST(TupleCounts, MergedTypesAreThoseOfTheSmallerVocabulary) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 5);
  for (int vocab : {2, 17, 49}) {
    std::vector<int32_t> merged = stream;
    for (int32_t& id : merged) id = id < vocab ? id : 0;
    for (const LagTemplate& lags : SomeTemplates()) {
      EXPECT_EQ(MergeTypes(CountTuples(stream, lags, All(kTokens)), lags.size(), vocab),
                CountTuples(merged, lags, All(kTokens)))
          << lags.Name() << " to " << vocab;
    }
  }
}

TEST(TupleCounts, SummingOutTheOldestTokenGivesTheParentsCounts) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 6);
  for (const LagTemplate& lags : SomeTemplates()) {
    if (lags.size() == 0) continue;
    TargetSet same = All(kTokens);
    same.first = lags.last();
    EXPECT_EQ(SumOutOldest(CountTuples(stream, lags, All(kTokens))),
              CountTuples(stream, lags.Parent(), same));
  }
}

TEST(TupleCounts, ContinuationsCountDistinctOldestTokens) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 7);
  std::map<std::pair<int32_t, int32_t>, std::set<int32_t>> want;
  for (int64_t t = 2; t < kTokens; ++t) want[{stream[t - 1], stream[t]}].insert(stream[t - 2]);
  const TupleCounts counts =
      ContinuationCounts(CountTuples(stream, LagTemplate::Chain(2), All(kTokens)));
  auto it = want.begin();
  ASSERT_EQ(counts.entries(), static_cast<int64_t>(want.size()));
  for (int64_t c = 0; c < counts.contexts(); ++c) {
    for (int32_t j = counts.begin[c]; j < counts.begin[c + 1]; ++j, ++it) {
      EXPECT_EQ(std::tie(counts.context[c]), std::make_tuple(uint64_t(it->first.first)));
      EXPECT_EQ(counts.next[j], it->first.second);
      EXPECT_EQ(counts.count[j], static_cast<int>(it->second.size()));
    }
  }
}

TEST(TupleCounts, HoldFiveIdsOfSixteenBits) {
  std::vector<int32_t> stream;
  for (int t = 0; t < 40; ++t) stream.push_back(65535 - (t * t) % 7);
  const TupleCounts counts = CountTuples(stream, LagTemplate::Chain(4), All(40));
  int64_t total = 0;
  for (int32_t c : counts.count) total += c;
  EXPECT_EQ(total, 36);
  EXPECT_EQ(counts.context.back() >> 48, 65535u);
}

TEST(TupleCounts, ComeBackFromTheirBytes) {
  const std::vector<int32_t> stream = SampleStream(kVocab, kTokens, 8);
  std::vector<TupleCounts> some = {
      TupleCounts{.context = {}, .begin = {0}, .next = {}, .count = {}}};
  for (const LagTemplate& lags : SomeTemplates()) {
    some.push_back(CountTuples(stream, lags, All(kTokens)));
  }
  for (const TupleCounts& counts : some) {
    std::vector<char> bytes = BytesOf(counts);
    const auto parsed = ParseTupleCounts(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, counts);
    // Not one byte less or more, and no header that lies.
    bytes.pop_back();
    EXPECT_EQ(ParseTupleCounts(bytes).status().code(), absl::StatusCode::kDataLoss);
    bytes.resize(bytes.size() + 2);
    EXPECT_EQ(ParseTupleCounts(bytes).status().code(), absl::StatusCode::kDataLoss);
    bytes.pop_back();
    bytes[7] = 127;
    EXPECT_EQ(ParseTupleCounts(bytes).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(ParseTupleCounts({}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(LagTemplate, ParsesListsAndNames) {
  const auto templates = ParseTemplates("pair+skip+1.2.4");
  ASSERT_TRUE(templates.ok());
  std::vector<std::string> names;
  for (const LagTemplate& lags : *templates) names.push_back(lags.Name());
  EXPECT_EQ(names, (std::vector<std::string>{"1.2.4", "1.3", "2", "2.3", "3", "4"}));
  EXPECT_TRUE(ParseTemplates("none")->empty());
}

TEST(LagTemplate, RefusesWhatIsNotAListOfSkippingLags) {
  for (const char* text : {"", "1", "1.2", "0", "65", "3.2", "2+2", "skip+3", "2,3", "02", "2.",
                           "1.2.4.5.6", "skips"}) {
    EXPECT_EQ(ParseTemplates(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace saffron
