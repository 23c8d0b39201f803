// Grown models compute what their parents do, and every zero and factor is needed for it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

using testing::HasSubstr;

constexpr double kExact = 1e-12;
constexpr double kVisible = 1e-3;  // a violated condition changes logits by more than this

const char* const kOps[] = {"mlp:+3",    "heads:+2",    "value:+2",   "key:+4",
                            "hidden:+5", "layers:+2@1", "layers:3@0", "mlp:9@1"};

TEST(Expansion, EveryOperatorPreservesEveryKindOfModel) {
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 1);
    const std::vector<double> logits = LogitsOf(parent);
    for (const char* op : kOps) {
      const GrowableModel child = Grow(parent, op);
      EXPECT_GT(child.parameters.size(), parent.parameters.size());
      EXPECT_LE(MaxDifference(LogitsOf(child), logits), kExact) << named.name << " " << op;
    }
  }
}

TEST(Expansion, AllButHiddenPreserveLayerNormModels) {
  const GrowableModel parent = MakeModel(LayerNormShape(), 2);
  const std::vector<double> logits = LogitsOf(parent);
  for (const std::string op : kOps) {
    if (op == "hidden:+5") {
      EXPECT_THAT(Refusal(parent, op), HasSubstr("not exact under LayerNorm"));
      continue;
    }
    EXPECT_LE(MaxDifference(LogitsOf(Grow(parent, op)), logits), kExact) << op;
  }
}

TEST(Upcycling, IsExactForEveryDenseModel) {
  for (const NamedShape& named : RmsShapes()) {
    if (named.shape.layers[0].moe.sparse()) continue;
    const GrowableModel parent = MakeModel(named.shape, 1);
    for (const char* ops : {"experts:4", "experts:2@1", "experts:3@0,mlp:+2,hidden:+3,layers:+1"}) {
      EXPECT_LE(MaxDifference(LogitsOf(Grow(parent, ops)), LogitsOf(parent)), kExact)
          << named.name << " " << ops;
    }
  }
}

TEST(Upcycling, NeedsEveryOneOfItsConditions) {
  const GrowableModel parent = MakeModel(RmsShapes()[1].shape, 2);
  const auto change = [&](const char* op, auto spoil) {
    GrowableModel child = Grow(parent, op);
    for (TransformerLayerShape& layer : child.shape.layers) spoil(layer.moe);
    return MaxDifference(LogitsOf(child), LogitsOf(parent));
  };
  EXPECT_GT(change("experts:4", [](MoeShape& moe) { moe.gates = MoeGates::kAll; }), kVisible);
  EXPECT_GT(change("experts:4", [](MoeShape& moe) { moe.second = SecondPolicy::kNone; }), kVisible);
  EXPECT_GT(change("experts:2", [](MoeShape& moe) { moe.eval_capacity_factor = 0.7; }), kVisible);
}

// "experts:N" with the routing of a variant, as trials grow.
std::vector<DeriveOp> Experts(const std::string& text, const MoeShape& moe) {
  std::vector<DeriveOp> ops = ParseDeriveOps(text).value();
  for (DeriveOp& op : ops) op.moe = moe;
  return ops;
}

TEST(Upcycling, IsExactHoweverManyAreChosenAndBesideADenseMlp) {
  for (const NamedShape& named : RmsShapes()) {
    if (named.shape.layers[0].moe.sparse()) continue;
    const GrowableModel parent = MakeModel(named.shape, 1);
    for (const int top : {1, 2, 3, 4}) {
      for (const DensePlace dense : {DensePlace::kNone, DensePlace::kBefore, DensePlace::kAfter}) {
        const MoeShape moe = {.top = top,
                              .capacity_factor = 1.25,  // of training
                              .eval_capacity_factor = 4,
                              .second = SecondPolicy::kAll,
                              .dense = dense};
        const auto child = Derive(parent, Experts("experts:4,mlp:+2", moe), DrawModel, 5);
        ASSERT_TRUE(child.ok()) << child.status();
        for (const TransformerLayerShape& layer : child->shape.layers) {
          EXPECT_EQ(layer.moe.top, top);
          EXPECT_EQ(layer.moe.dense, dense);
          EXPECT_EQ(layer.moe.capacity_factor, 1.25);
        }
        EXPECT_LE(MaxDifference(LogitsOf(*child), LogitsOf(parent)), kExact) << named.name << top;
      }
    }
  }
}

// The error names what to change, and what it refuses does change the model.
TEST(Upcycling, WithSettingsThatAreNotExactIsRefusedByTheirKeys) {
  const GrowableModel parent = MakeModel(RmsShapes()[1].shape, 2);
  const MoeShape exact = {.eval_capacity_factor = 4, .second = SecondPolicy::kAll};
  const auto refusal = [&](auto spoil) {
    MoeShape moe = exact;
    spoil(moe);
    GrowableModel child = Derive(parent, Experts("experts:4", exact), DrawModel, 5).value();
    for (TransformerLayerShape& layer : child.shape.layers) spoil(layer.moe);
    EXPECT_GT(MaxDifference(LogitsOf(child), LogitsOf(parent)), kVisible);
    const auto refused = Derive(parent, Experts("experts:4", moe), DrawModel, 5);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(refused.status().message());
  };
  EXPECT_THAT(refusal([](MoeShape& moe) { moe.second = SecondPolicy::kRandom; }),
              HasSubstr("experts:4 is not exact: model.second_policy is random: want all"));
  EXPECT_THAT(refusal([](MoeShape& moe) { moe.second = SecondPolicy::kThreshold; }),
              HasSubstr("model.second_policy is threshold: want all"));
  EXPECT_THAT(refusal([](MoeShape& moe) { moe.second = SecondPolicy::kNone; }),
              HasSubstr("model.second_policy is none: want all"));
  EXPECT_THAT(refusal([](MoeShape& moe) { moe.top = 1, moe.gates = MoeGates::kAll; }),
              HasSubstr("model.expert_top is 1: want 2 or more"));
  // Of 6 tokens, 4 find room: the least capacity.
  EXPECT_THAT(refusal([](MoeShape& moe) { moe.eval_capacity_factor = 1; }),
              HasSubstr("model.eval_capacity is 1: want at least 4"));
}

TEST(Upcycling, OfSparseLayersIsRefused) {
  const GrowableModel sparse = MakeModel(RmsShapes().back().shape, 2);
  EXPECT_THAT(Refusal(sparse, "experts:8"), HasSubstr("want a dense layer"));
  const GrowableModel dense = MakeModel(RmsShapes()[1].shape, 2);
  EXPECT_THAT(Refusal(dense, "experts:1"), HasSubstr("want 2 to 256"));
  EXPECT_THAT(Refusal(dense, "experts:x2"), HasSubstr("want 2 to 256"));
}

TEST(Expansion, ComposesInAnyOrderWithRepeats) {
  const CounterRandom random(9, RandomPurpose::kTest);
  const std::vector<NamedShape> shapes = RmsShapes();
  const char* const pool[] = {"mlp:+2",     "mlp:x2@0",    "heads:x2",   "heads:+2@0", "value:+1",
                              "value:+3@1", "key:+2",      "key:x2@0",   "hidden:+3",  "hidden:+1",
                              "layers:+1",  "layers:+1@0", "layers:+1@1"};
  const auto is_dense = [](const TransformerLayerShape& layer) { return !layer.moe.sparse(); };
  uint64_t draws = 0;
  int upcycled = 0;
  for (int round = 0; round < 50; ++round) {
    const NamedShape& named = shapes[static_cast<size_t>(round) % shapes.size()];
    const GrowableModel parent = MakeModel(named.shape, 100 + static_cast<uint64_t>(round));
    std::string ops;
    const uint64_t count = 2 + random.Below(draws++, 6);
    for (uint64_t i = 0; i < count; ++i) {
      absl::StrAppend(&ops, i > 0 ? "," : "", pool[random.Below(draws++, std::size(pool))]);
      // Once, where all layers are dense: sparse ones have no other experts.
      if (random.Below(draws++, 6) > 0 || ops.find("experts") != std::string::npos ||
          !std::ranges::all_of(parent.shape.layers, is_dense)) {
        continue;
      }
      ops += random.Below(draws++, 2) == 0 ? ",experts:3" : ",experts:4@0,experts:2@1";
      ++upcycled;
    }
    EXPECT_LE(MaxDifference(LogitsOf(Grow(parent, ops)), LogitsOf(parent)), kExact)
        << named.name << " " << ops;
  }
  EXPECT_GE(upcycled, 10);
}

TEST(Expansion, IsExactToSinglePrecisionInFloat) {
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 3);
    const GrowableModel child = Grow(parent, "hidden:+5,key:+2,mlp:+3,heads:x2,value:+1,layers:+1");
    const std::vector<float> logits = LogitsOf<float>(parent);
    const float largest =
        std::abs(*std::ranges::max_element(logits, {}, [](float z) { return std::abs(z); }));
    EXPECT_LE(MaxDifference(LogitsOf<float>(child), logits), 1e-4 * largest) << named.name;
  }
}

// The child of one operator with the map of every tensor changed by `spoil`.
template <typename Spoil>
GrowableModel GrowSpoilt(const GrowableModel& parent, const std::string& op, Spoil spoil) {
  ModelExpansion expansion = ExpandModel(parent.shape, ParseDeriveOps(op)->front()).value();
  const std::vector<double> fresh = DrawModel(expansion.shape, 5);
  GrowableModel child;
  child.shape = expansion.shape;
  for (TensorMap& map : expansion.maps) {
    spoil(map);
    const auto tensor =
        MapParameters(map, parent.parameters,
                      absl::MakeConstSpan(fresh).subspan(map.tensor.begin, map.tensor.size()));
    child.parameters.insert(child.parameters.end(), tensor.begin(), tensor.end());
  }
  return child;
}

// The name with the same for all experts of a layer: one that no token chose shows nothing alone.
std::string FamilyOf(const std::string& name) {
  const size_t at = name.find(".experts.");
  if (at == std::string::npos) return name;
  return name.substr(0, at) + ".experts" + name.substr(name.find('.', at + 9));
}

bool HasNewEntries(const TensorMap& map) {
  const auto is_new = [](int64_t from) { return from < 0; };
  return map.from.empty() || std::ranges::any_of(map.rows, is_new) ||
         std::ranges::any_of(map.cols, is_new);
}

// Negative controls. A tied readout is the embedding, so that its zeros matter too.
TEST(Expansion, EachRequiredZeroAndFactorIsNeeded) {
  std::set<std::string> zeros, factors;
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 4);
    const std::vector<double> logits = LogitsOf(parent);
    for (const std::string op : kOps) {
      const std::vector<TensorMap> maps = MapsOf(named.shape, op);
      for (const TensorMap& map : maps) {
        const std::string& name = map.tensor.name;
        // Without rotation a bias of the keys adds the same to all scores of a query.
        const bool cancels = name.find("attn.bk") != std::string::npos &&
                             named.shape.positions != PositionKind::kRope;
        if (map.fill == NewEntries::kZero && HasNewEntries(map) && !cancels) {
          const GrowableModel child = GrowSpoilt(parent, op, [&](TensorMap& m) {
            if (FamilyOf(m.tensor.name) == FamilyOf(name)) m.fill = NewEntries::kFree;
          });
          EXPECT_GT(MaxDifference(LogitsOf(child), logits), kVisible)
              << named.name << " " << op << " " << name;
          zeros.insert(name);
        }
        if (map.scale != 1 && !cancels) {
          const GrowableModel child = GrowSpoilt(parent, op, [&](TensorMap& m) {
            if (m.tensor.name == name) m.scale = 1;
          });
          EXPECT_GT(MaxDifference(LogitsOf(child), logits), kVisible)
              << named.name << " " << op << " " << name;
          factors.insert(name);
        }
      }
    }
  }
  for (const char* name :
       {"tok_embed", "pos_embed", "layers.0.attn.wo", "layers.0.attn.bo", "layers.0.mlp.w2",
        "layers.0.mlp.b2", "layers.0.attn.wk", "layers.0.attn.bk"}) {
    EXPECT_EQ(zeros.count(name), 1u) << name;
  }
  for (const char* name : {"layers.0.attn.wk", "layers.0.attn.bk", "layers.0.norm1.gain",
                           "layers.1.norm2.gain", "final_norm.gain"}) {
    EXPECT_EQ(factors.count(name), 1u) << name;
  }
}

// hidden:+5 by the rules for RMSNorm whatever the norm, with the gains' factor or without it.
GrowableModel PadHidden(const GrowableModel& parent, bool scale_gains) {
  TransformerShape twin = parent.shape;
  twin.norm = NormKind::kRms;
  const ModelExpansion expansion = ExpandModel(twin, ParseDeriveOps("hidden:+5")->front()).value();
  std::map<std::string, TensorMap> maps;
  for (const TensorMap& map : expansion.maps) maps[map.tensor.name] = map;
  std::map<std::string, int64_t> begins;
  for (const ParameterTensor& tensor : LayOut(parent.shape).tensors) {
    begins[tensor.name] = tensor.begin;
  }
  GrowableModel child;
  child.shape = expansion.shape;
  child.shape.norm = parent.shape.norm;
  const std::vector<double> fresh = DrawModel(child.shape, 5);
  for (const ParameterTensor& tensor : LayOut(child.shape).tensors) {
    std::vector<double> values(static_cast<size_t>(tensor.size()));
    const auto from = maps.find(tensor.name);
    if (from == maps.end()) {  // a norm's bias, on elements that were there
      std::copy_n(parent.parameters.begin() + begins.at(tensor.name), parent.shape.width,
                  values.begin());
    } else {
      TensorMap map = from->second;
      map.tensor = tensor;
      map.from_begin = begins.at(tensor.name);
      const bool is_gain = tensor.name.find(".gain") != std::string::npos;
      if (is_gain && !scale_gains) map.scale = 1;
      values = MapParameters(map, parent.parameters,
                             absl::MakeConstSpan(fresh).subspan(tensor.begin, tensor.size()));
    }
    child.parameters.insert(child.parameters.end(), values.begin(), values.end());
  }
  return child;
}

// Why hidden is refused under LayerNorm: the same construction that is exact under RMSNorm changes
// logits as much as they are large, gains scaled or not.
TEST(Expansion, HiddenUnderLayerNormWouldChangeTheModel) {
  GrowableModel parent = MakeModel(LayerNormShape(), 2);
  for (const bool scale_gains : {true, false}) {
    EXPECT_GT(MaxDifference(LogitsOf(PadHidden(parent, scale_gains)), LogitsOf(parent)), 0.1);
  }
  TransformerShape shape = LayerNormShape();
  shape.norm = NormKind::kRms;
  parent = MakeModel(shape, 2);
  EXPECT_LE(MaxDifference(LogitsOf(PadHidden(parent, true)), LogitsOf(parent)), kExact);
}

TEST(Expansion, FreeEntriesMayBeAnything) {
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 6);
    for (const char* op : kOps) {
      const auto child = Derive(
          parent, *ParseDeriveOps(op),
          [](const TransformerShape& shape, uint64_t) {
            return std::vector<double>(static_cast<size_t>(LayOut(shape).size), 7.0);
          },
          0);
      ASSERT_TRUE(child.ok());
      EXPECT_LE(MaxDifference(LogitsOf(*child), LogitsOf(parent)), kExact)
          << named.name << " " << op;
    }
  }
}

// What follows from sizes in most code is kept: computing it anew would change the model.
TEST(Expansion, StoredNumbersAreKeptAndNeeded) {
  const std::vector<NamedShape> shapes = RmsShapes();
  const auto change = [](const GrowableModel& parent, GrowableModel child, auto spoil) {
    spoil(child.shape);
    return MaxDifference(LogitsOf(child), LogitsOf(parent));
  };
  GrowableModel parent = MakeModel(shapes[1].shape, 7);  // rotary
  EXPECT_GT(change(parent, Grow(parent, "key:+4"),
                   [](TransformerShape& s) { s.layers[0].rope_frequencies = RopeFrequencies(8); }),
            kVisible);
  // Of tiny activations, where epsilon shows.
  for (double& p : parent.parameters) p *= 0.1;
  for (const auto spoil : {+[](TransformerShape& s) { s.final_epsilon = 3e-5; },
                           +[](TransformerShape& s) { s.layers[0].norm1_epsilon = 1e-5; },
                           +[](TransformerShape& s) { s.layers[1].norm2_epsilon = 2e-5; }}) {
    EXPECT_GT(change(parent, Grow(parent, "hidden:+5"), spoil), 1e-7);
  }
  parent = MakeModel(shapes[2].shape, 8);  // ALiBi
  EXPECT_GT(change(parent, Grow(parent, "heads:x2"),
                   [](TransformerShape& s) { s.layers[0].alibi_slopes = AlibiSlopes(4); }),
            kVisible);
}

TEST(Expansion, NewFrequenciesAndSlopesAreNotCopiesOfOldOnes) {
  const GrowableModel rope = Grow(MakeModel(RmsShapes()[1].shape, 1), "key:x2,key:+2");
  const GrowableModel alibi = Grow(MakeModel(RmsShapes()[2].shape, 1), "heads:x2,heads:+1");
  for (const TransformerLayerShape& layer : rope.shape.layers) {
    ASSERT_EQ(layer.rope_frequencies.size(), 5u);
    EXPECT_EQ(std::set<double>(layer.rope_frequencies.begin(), layer.rope_frequencies.end()).size(),
              5u);
  }
  for (const TransformerLayerShape& layer : alibi.shape.layers) {
    ASSERT_EQ(layer.alibi_slopes.size(), 5u);
    EXPECT_EQ(std::set<double>(layer.alibi_slopes.begin(), layer.alibi_slopes.end()).size(), 5u);
  }
}

// In two steps of gradient descent every new number moves, as it must where only one side of each
// product of new numbers is zero.
TEST(Expansion, EverythingNewLearns) {
  const std::vector<int32_t> tokens = ProbeTokens();
  std::vector<int32_t> targets(tokens.begin() + 1, tokens.end());
  targets.push_back(3);
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 10);
    for (const std::string op : {"mlp:+2", "heads:+2", "value:+1", "key:+2", "hidden:+2"}) {
      const GrowableModel child = Grow(parent, op);
      auto network = MakeNetwork(child);
      for (int step = 0; step < 2; ++step) {
        network->LossAndGradient(tokens, targets, kContext, {});
        for (size_t i = 0; i < child.parameters.size(); ++i) {
          network->arena().parameters()[i] -= 0.1 * network->arena().gradients()[i];
        }
      }
      std::map<std::string, bool> moved;
      for (const TensorMap& map : MapsOf(named.shape, op)) {
        const std::string& name = map.tensor.name;
        // Key biases that cancel stand still in any model.
        if (!HasNewEntries(map) || name.find(".bk") != std::string::npos) continue;
        bool& family_moved = moved[FamilyOf(name)];
        for (int64_t i = 0; i < map.tensor.rows; ++i) {
          for (int64_t j = 0; j < map.tensor.cols; ++j) {
            const int64_t at = map.tensor.at(i, j);
            family_moved |=
                !map.Keeps(i, j) && network->arena().parameters()[at] != child.parameters[at];
          }
        }
      }
      for (const auto& [family, has_moved] : moved) {
        EXPECT_TRUE(has_moved) << named.name << " " << op << " " << family;
      }
    }
  }
}

TEST(Expansion, WhatCannotBeIsRefusedByName) {
  const GrowableModel rope = MakeModel(RmsShapes()[1].shape, 1);
  EXPECT_THAT(Refusal(rope, "mlp:3"),
              HasSubstr("mlp:3: layers.0.mlp_width is 5: want more, got 3"));
  EXPECT_THAT(Refusal(rope, "hidden:6"), HasSubstr("the hidden width is 6: want more, got 6"));
  EXPECT_THAT(Refusal(rope, "mlp:9@2"), HasSubstr("want layers below 2, got 2"));
  EXPECT_THAT(Refusal(rope, "key:5"), HasSubstr("want an even number, got 5"));
  EXPECT_THAT(Refusal(rope, "layers:+1@3"), HasSubstr("want a place from 0 to 2"));
  EXPECT_THAT(Refusal(rope, "layers:49"), HasSubstr("want at most 48, as of model.layers, got 49"));
  EXPECT_THAT(Refusal(rope, "layers:x900000"), HasSubstr("want at most 48"));
  EXPECT_THAT(Refusal(rope, "hidden:4097"),
              HasSubstr("want at most 4096, as of model.hidden_width"));
  EXPECT_THAT(Refusal(rope, "heads:257"), HasSubstr("want at most 256, as of model.heads"));
  EXPECT_THAT(Refusal(rope, "key:1026"), HasSubstr("want at most 1024, as of model.head_dim"));
  EXPECT_THAT(Refusal(rope, "value:1025"), HasSubstr("want at most 1024, as of model.value_dim"));
  EXPECT_THAT(Refusal(rope, "mlp:16385"), HasSubstr("want at most 16384, as of model.mlp_width"));
  TransformerShape large = rope.shape;
  large.width = 4096;
  for (TransformerLayerShape& layer : large.layers) layer.mlp_width = 16384;
  const auto deep = ExpandShape(large, ParseDeriveOps("layers:48")->front());
  EXPECT_THAT(std::string(deep.status().message()), HasSubstr("want at most 2e+09 parameters"));
  TransformerShape drawing = RmsShapes().back().shape;
  drawing.layers[1].moe.second = SecondPolicy::kRandom;
  EXPECT_THAT(Refusal(MakeModel(drawing, 1), "layers:+1@1"),
              HasSubstr("layers:+1@1 is not exact: layer 1 draws by its number"));
  const GrowableModel grouped = MakeModel(RmsShapes()[3].shape, 1);
  EXPECT_THAT(Refusal(grouped, "heads:3"), HasSubstr("want a multiple of that, got 3"));
  GrowableModel empty = rope;
  empty.shape.layers.clear();
  empty.parameters.resize(static_cast<size_t>(LayOut(empty.shape).size));
  EXPECT_THAT(Refusal(empty, "layers:+1"), HasSubstr("no layer"));
}

TEST(Expansion, AModelThatDoesNotFitItsShapeIsRefused) {
  GrowableModel model = MakeModel(RmsShapes()[1].shape, 1);
  model.parameters.pop_back();
  EXPECT_THAT(Refusal(model, "mlp:x2"), HasSubstr("parameters: want"));
  model = MakeModel(RmsShapes()[1].shape, 1);
  model.state = {{"no.such", "m", StateKind::kFirst, {1, 1, {0.0}}}};
  EXPECT_THAT(Refusal(model, "mlp:x2"), HasSubstr("no.such/m: the model has no such tensor"));
  model.state = {{"tok_embed", "m", StateKind::kFirst, {2, 3, std::vector<double>(6)}}};
  EXPECT_THAT(Refusal(model, "mlp:x2"), HasSubstr("tok_embed/m: want [11, 6]"));
}

}  // namespace
}  // namespace saffron
