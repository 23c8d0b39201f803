// Documents of a window that do not see each other.

#include <memory>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/transformer/transformer_network.h"
#include "gtest/gtest.h"
#include "tests/unit/core_transformer/compare.h"

namespace saffron {
namespace {

constexpr int kVocab = 13, kLength = 40, kSequences = 6;
constexpr int32_t kBegin = 5;  // of a document

TransformerShape ShapeWith(PositionKind positions) {
  TransformerShape shape;
  shape.vocab = kVocab;
  shape.width = 12;
  shape.context = kLength;
  shape.positions = positions;
  shape.layers.assign(2,
                      {.heads = 4, .kv_heads = 2, .key_dim = 4, .value_dim = 6, .mlp_width = 10});
  for (TransformerLayerShape& layer : shape.layers) {
    if (positions == PositionKind::kRope) layer.rope_frequencies = RopeFrequencies(layer.key_dim);
    if (positions == PositionKind::kAlibi) layer.alibi_slopes = AlibiSlopes(layer.heads);
  }
  return shape;
}

TransformerShape SparseShape() {
  TransformerShape shape = ShapeWith(PositionKind::kLearned);
  for (TransformerLayerShape& layer : shape.layers) {
    layer.moe = {.experts = 3, .eval_capacity_factor = 1, .second = SecondPolicy::kAll};
  }
  return shape;
}

std::vector<TransformerShape> Shapes() {
  std::vector<TransformerShape> shapes = {SparseShape()};
  for (const PositionKind positions :
       {PositionKind::kNone, PositionKind::kLearned, PositionKind::kRope, PositionKind::kAlibi}) {
    shapes.push_back(ShapeWith(positions));
  }
  return shapes;
}

template <typename T>
std::unique_ptr<TransformerNetwork<T>> Network(const TransformerShape& shape, int32_t begin) {
  auto network = *TransformerNetwork<T>::Create(shape, {.train = false, .document_begin = begin});
  const CounterRandom random(2, RandomPurpose::kTest);
  const absl::Span<T> p = network->arena().parameters();
  for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<T>(0.5 * random.Normal(i));
  return network;
}

std::vector<int32_t> Tokens(uint64_t seed) {
  const CounterRandom random(seed, RandomPurpose::kTest, 1);
  std::vector<int32_t> tokens;
  for (int i = 0; i < kLength * kSequences; ++i) {
    tokens.push_back(static_cast<int32_t>(random.Below(i, kVocab)));
  }
  return tokens;
}

template <typename T>
std::vector<T> LogitsOf(TransformerNetwork<T>& network, const std::vector<int32_t>& tokens,
                        int64_t length) {
  std::vector<T> logits(tokens.size() * kVocab);
  network.Logits(tokens, length, absl::MakeSpan(logits));
  return logits;
}

// Where documents begin, and the end: a sequence begins one, wherever it begins.
std::vector<int> Bounds(const std::vector<int32_t>& tokens) {
  std::vector<int> bounds;
  for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
    if (i % kLength == 0 || tokens[i] == kBegin) bounds.push_back(i);
  }
  bounds.push_back(static_cast<int>(tokens.size()));
  return bounds;
}

// Another token that begins no document either.
int32_t Other(int32_t token) {
  const int32_t next = (token + 1) % kVocab;
  return token == kBegin ? kBegin : next == kBegin ? kBegin + 1 : next;
}

// Documents whose logits change when all tokens of all others do.
int Leaks(const TransformerShape& shape, int32_t begin) {
  const auto network = Network<float>(shape, begin);
  int leaks = 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const std::vector<int32_t> tokens = Tokens(seed);
    const std::vector<float> before = LogitsOf(*network, tokens, kLength);
    const std::vector<int> bounds = Bounds(tokens);
    for (size_t d = 0; d + 1 < bounds.size(); ++d) {
      std::vector<int32_t> others;
      for (const int32_t token : tokens) others.push_back(Other(token));
      std::copy(tokens.begin() + bounds[d], tokens.begin() + bounds[d + 1],
                others.begin() + bounds[d]);
      const std::vector<float> after = LogitsOf(*network, others, kLength);
      const int first = bounds[d] * kVocab, last = bounds[d + 1] * kVocab;
      leaks += !std::equal(before.begin() + first, before.begin() + last, after.begin() + first);
    }
  }
  return leaks;
}

TEST(Documents, NoTokenOfAnotherChangesALogit) {
  for (const TransformerShape& shape : Shapes()) EXPECT_EQ(Leaks(shape, kBegin), 0);
}

TEST(Documents, TheyDoWhereAWindowIsOneDocument) {
  for (const TransformerShape& shape : Shapes()) EXPECT_GT(Leaks(shape, -1), 20);
}

TEST(Documents, EachHasTheLogitsThatItHasAlone) {
  for (const TransformerShape& shape : Shapes()) {
    const auto together = Network<double>(shape, kBegin), alone = Network<double>(shape, -1);
    const std::vector<int32_t> tokens = Tokens(7);
    const std::vector<double> logits = LogitsOf(*together, tokens, kLength);
    const std::vector<int> bounds = Bounds(tokens);
    ASSERT_GT(bounds.size(), 15u);
    for (size_t d = 0; d + 1 < bounds.size(); ++d) {
      const std::vector<int32_t> document(tokens.begin() + bounds[d],
                                          tokens.begin() + bounds[d + 1]);
      const std::vector<double> want =
          LogitsOf(*alone, document, static_cast<int64_t>(document.size()));
      const std::vector<double> got(logits.begin() + bounds[d] * kVocab,
                                    logits.begin() + bounds[d + 1] * kVocab);
      EXPECT_LE(RelativeError(got, want), 1e-12) << "from " << bounds[d];
    }
  }
}

TEST(Documents, AWindowOfOneHasTheSameBitsEitherWay) {
  std::vector<int32_t> tokens = Tokens(1);
  for (int32_t& token : tokens) token = token == kBegin ? 0 : token;
  for (const TransformerShape& shape : Shapes()) {
    EXPECT_EQ(LogitsOf(*Network<float>(shape, kBegin), tokens, kLength),
              LogitsOf(*Network<float>(shape, -1), tokens, kLength));
  }
}

TEST(DocumentsDeathTest, WithoutACausalMaskTheyAreNotApart) {
  TransformerShape shape = ShapeWith(PositionKind::kNone);
  shape.causal = false;
  EXPECT_DEATH(Network<float>(shape, kBegin), "causal");
}

}  // namespace
}  // namespace saffron
