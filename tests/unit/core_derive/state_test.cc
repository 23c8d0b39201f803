// What an optimiser remembers moves with the tensors it is about.

#include <gtest/gtest.h>

#include <map>

#include "core/derive/carry_state.h"
#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

const char* const kOps[] = {"mlp:+3",    "heads:+2",  "value:+2",
                            "key:+4",    "hidden:+5", "layers:+2@1",
                            "layers:+1", "key:x2@0",  "hidden:x2,key:+2,layers:+1@0,mlp:+1"};

// The gradient of a batch. Routers' own losses are left out: a new layer's router adds its own.
struct Gradients {
  explicit Gradients(const GrowableModel& model) {
    TransformerNetwork<double>::Options options;
    options.moe.z_loss = options.moe.balance_loss = 0;
    network = TransformerNetwork<double>::Create(model.shape, options).value();
    std::copy(model.parameters.begin(), model.parameters.end(),
              network->arena().parameters().begin());
    const std::vector<int32_t> tokens = ProbeTokens();
    std::vector<int32_t> targets(tokens.begin() + 1, tokens.end());
    targets.push_back(3);
    loss = network->LossAndGradient(tokens, targets, kContext, {});
  }
  std::unique_ptr<TransformerNetwork<double>> network;
  double loss;
};

TEST(Gradient, OfWhatIsKeptIsDividedByItsFactor) {
  for (const NamedShape& named : RmsShapes()) {
    const GrowableModel parent = MakeModel(named.shape, 1);
    const Gradients before(parent);
    for (const char* op :
         {"mlp:+3", "heads:+2", "value:+2", "key:+4", "hidden:+5", "layers:+2@1"}) {
      const Gradients after(Grow(parent, op));
      EXPECT_NEAR(after.loss, before.loss, 1e-12);
      for (const TensorMap& map : MapsOf(named.shape, op)) {
        double largest = 0, worst = 0;
        for (int64_t i = 0; i < map.tensor.rows; ++i) {
          for (int64_t j = 0; j < map.tensor.cols; ++j) {
            if (!map.Keeps(i, j)) continue;
            const double g =
                before.network->arena()
                    .gradients()[map.from_begin + map.rows[i] * map.from_cols + map.cols[j]];
            const double grown = after.network->arena().gradients()[map.tensor.at(i, j)];
            largest = std::max(largest, std::abs(g));
            worst = std::max(worst, std::abs(grown * map.scale - g));
          }
        }
        EXPECT_LE(worst, 1e-11 * largest + 1e-15)
            << named.name << " " << op << " " << map.tensor.name;
      }
    }
  }
}

// The state of `optimizer`, as it would be stored.
std::vector<StoredState> Stored(Optimizer<double>& optimizer) {
  std::vector<StoredState> stored;
  for (const StateArray<double>& array : optimizer.State()) {
    stored.push_back(
        {array.tensor.name,
         array.slot,
         array.kind,
         {array.tensor.rows, array.tensor.cols, {array.values.begin(), array.values.end()}}});
  }
  return stored;
}

std::map<std::string, StateMatrix> ByName(const std::vector<StoredState>& states) {
  std::map<std::string, StateMatrix> by_name;
  for (const StoredState& state : states) by_name[state.tensor + "/" + state.slot] = state.matrix;
  return by_name;
}

// A first step with rate 0 leaves in the state nothing but the gradient: what the grown model's own
// optimiser then remembers of kept entries is what is carried over.
TEST(State, IsWhatTheGrownModelWouldHaveGathered) {
  for (const std::string name : {"adam", "muon", "sgd"}) {
    for (const NamedShape& named : RmsShapes()) {
      GrowableModel parent = MakeModel(named.shape, 2);
      const auto step = [&](const GrowableModel& model) {
        Gradients gradients(model);
        auto optimizer = MakeOptimizer<double>(name, {}).value();
        EXPECT_TRUE(optimizer->Prepare(gradients.network->arena()).ok());
        optimizer->Step(gradients.network->arena(), 0);
        return Stored(*optimizer);
      };
      parent.state = step(parent);
      for (const std::string op : kOps) {
        if (op.find(',') != std::string::npos) continue;
        const GrowableModel child = Grow(parent, op);
        const auto carried = ByName(child.state), own = ByName(step(child));
        const std::vector<TensorMap> maps = MapsOf(named.shape, op);
        ASSERT_EQ(carried.size(), own.size()) << name << " " << named.name << " " << op;
        for (const auto& [key, state] : own) {
          ASSERT_EQ(carried.count(key), 1u) << key;
          const StateMatrix& mine = carried.at(key);
          ASSERT_EQ(mine.values.size(), state.values.size()) << key;
          const std::string tensor = key.substr(0, key.find('/'));
          const TensorMap& map = *std::ranges::find_if(
              maps, [&](const TensorMap& m) { return m.tensor.name == tensor; });
          for (int64_t i = 0; i < map.tensor.rows; ++i) {
            for (int64_t j = 0; j < map.tensor.cols; ++j) {
              const size_t at = static_cast<size_t>(i * map.tensor.cols + j);
              const double want = map.Keeps(i, j) ? state.values[at] : 0;
              ASSERT_NEAR(mine.values[at], want, 1e-11 * std::abs(want) + 1e-13)
                  << name << " " << named.name << " " << op << " " << key;
            }
          }
        }
      }
    }
  }
}

// Experts share the dense MLP's work: their gradients add up to its gradient, and so do the first
// moments that go along. Each gets the share that a router which knows nothing gives it, squares
// that share's square.
TEST(State, OfADenseMlpIsSharedOutAmongItsExperts) {
  constexpr double kExperts = 3;
  for (const NamedShape& named : RmsShapes()) {
    if (named.shape.layers[0].moe.sparse()) continue;
    GrowableModel parent = MakeModel(named.shape, 2);
    Gradients before(parent);
    auto optimizer = MakeOptimizer<double>("adam", {}).value();
    ASSERT_TRUE(optimizer->Prepare(before.network->arena()).ok());
    optimizer->Step(before.network->arena(), 0);
    parent.state = Stored(*optimizer);
    const GrowableModel child = Grow(parent, "experts:3");
    const Gradients after(child);
    EXPECT_NEAR(after.loss, before.loss, 1e-12);
    const auto had = ByName(parent.state), has = ByName(child.state);
    std::map<std::string, std::vector<double>> sums;
    for (const ParameterTensor& tensor : after.network->arena().tensors()) {
      const size_t at = tensor.name.find("moe.experts.");
      if (at == std::string::npos) {
        const auto m = had.find(tensor.name + "/m");
        // The router is new: it has nothing to remember.
        ASSERT_EQ(m == had.end(), tensor.name.find("moe.router") != std::string::npos);
        ASSERT_EQ(has.count(tensor.name + "/m"), had.count(tensor.name + "/m"));
        if (m != had.end()) {
          EXPECT_EQ(has.at(tensor.name + "/m").values, m->second.values);
        }
        continue;
      }
      const std::string from =
          tensor.name.substr(0, at) + "mlp" + tensor.name.substr(tensor.name.rfind('.'));
      std::vector<double>& sum = sums[from];
      sum.resize(static_cast<size_t>(tensor.size()));
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += after.network->arena().gradients()[static_cast<size_t>(tensor.begin) + i];
        EXPECT_DOUBLE_EQ(has.at(tensor.name + "/m").values[i],
                         had.at(from + "/m").values[i] / kExperts);
        EXPECT_NEAR(has.at(tensor.name + "/v").values[i],
                    had.at(from + "/v").values[i] / (kExperts * kExperts),
                    1e-15 * had.at(from + "/v").values[i]);
      }
    }
    EXPECT_FALSE(sums.empty());
    for (const ParameterTensor& tensor : before.network->arena().tensors()) {
      const auto sum = sums.find(tensor.name);
      if (sum == sums.end()) continue;
      for (size_t i = 0; i < sum->second.size(); ++i) {
        EXPECT_NEAR(sum->second[i],
                    before.network->arena().gradients()[static_cast<size_t>(tensor.begin) + i],
                    1e-12)
            << named.name << " " << tensor.name;
      }
    }
  }
}

// V = r c' / mean(r) of every kept entry is the parent's over the square of its factor.
TEST(State, OfAdafactorGivesTheSameEstimates) {
  const OptimizerConfig config = {.factored_min = 2};
  for (const NamedShape& named : RmsShapes()) {
    GrowableModel parent = MakeModel(named.shape, 3);
    Gradients gradients(parent);
    auto optimizer = MakeOptimizer<double>("adafactor", config).value();
    ASSERT_TRUE(optimizer->Prepare(gradients.network->arena()).ok());
    optimizer->Step(gradients.network->arena(), 0);
    parent.state = Stored(*optimizer);
    const auto before = ByName(parent.state);
    const auto estimate = [](const std::map<std::string, StateMatrix>& states,
                             const std::string& tensor, int64_t i, int64_t j, int64_t cols) {
      if (const auto whole = states.find(tensor + "/v"); whole != states.end()) {
        return whole->second.values[static_cast<size_t>(i * cols + j)];
      }
      const std::vector<double>& r = states.at(tensor + "/row").values;
      double mean = 0;
      for (const double x : r) mean += x / static_cast<double>(r.size());
      return r[static_cast<size_t>(i)] *
             states.at(tensor + "/column").values[static_cast<size_t>(j)] / mean;
    };
    for (const char* op : {"mlp:+3", "heads:+2", "value:+2", "key:+4", "hidden:+5"}) {
      const auto after = ByName(Grow(parent, op).state);
      for (const TensorMap& map : MapsOf(named.shape, op)) {
        for (int64_t i = 0; i < map.tensor.rows; ++i) {
          for (int64_t j = 0; j < map.tensor.cols; ++j) {
            if (!map.Keeps(i, j)) continue;
            const double v = estimate(before, map.from, map.rows[i], map.cols[j], map.from_cols);
            const double grown = estimate(after, map.tensor.name, i, j, map.tensor.cols);
            ASSERT_NEAR(grown * map.scale * map.scale, v, 1e-12 * v)
                << named.name << " " << op << " " << map.tensor.name;
          }
        }
      }
    }
  }
}

// A grown model's optimiser can take the carried arrays as they are.
TEST(State, HasTheShapesOfTheGrownModelsOptimiser) {
  for (const std::string name : {"adam", "adafactor", "muon", "sgd"}) {
    const OptimizerConfig config = {.factored_min = 2, .update_momentum = 0.5};
    for (const NamedShape& named : RmsShapes()) {
      GrowableModel parent = MakeModel(named.shape, 4);
      auto optimizer = MakeOptimizer<double>(name, config).value();
      ASSERT_TRUE(optimizer->Prepare(MakeNetwork(parent)->arena()).ok());
      parent.state = Stored(*optimizer);
      for (const char* op : kOps) {
        const GrowableModel child = Grow(parent, op);
        auto own = MakeOptimizer<double>(name, config).value();
        ASSERT_TRUE(own->Prepare(MakeNetwork(child)->arena()).ok());
        const std::vector<StoredState> want = Stored(*own);
        ASSERT_EQ(child.state.size(), want.size()) << name << " " << named.name << " " << op;
        for (size_t i = 0; i < want.size(); ++i) {
          EXPECT_EQ(child.state[i].tensor, want[i].tensor);
          EXPECT_EQ(child.state[i].slot, want[i].slot);
          EXPECT_EQ(child.state[i].matrix.rows, want[i].matrix.rows) << op << want[i].tensor;
          EXPECT_EQ(child.state[i].matrix.cols, want[i].matrix.cols) << op << want[i].tensor;
        }
      }
    }
  }
}

// Two runs of one optimiser, one with its state taken through storage.
TEST(State, CarriedIntoAnotherOptimiserGoesOnAlike) {
  for (const std::string name : {"adam", "adafactor", "muon", "sgd"}) {
    const GrowableModel model = MakeModel(RmsShapes()[1].shape, 5);
    Gradients one(model), other(model);
    const OptimizerConfig config = {.factored_min = 4};
    auto optimizer = MakeOptimizer<double>(name, config).value();
    auto resumed = MakeOptimizer<double>(name, config).value();
    ASSERT_TRUE(optimizer->Prepare(one.network->arena()).ok());
    ASSERT_TRUE(resumed->Prepare(other.network->arena()).ok());
    for (int step = 0; step < 3; ++step) optimizer->Step(one.network->arena(), 0.01);
    std::ranges::copy(one.network->arena().parameters(),
                      other.network->arena().parameters().begin());
    const auto carried = CarryState(Stored(*optimizer), 3, *resumed);
    ASSERT_TRUE(carried.ok()) << carried.status();
    EXPECT_EQ(*carried, static_cast<int64_t>(optimizer->State().size()));
    optimizer->Step(one.network->arena(), 0.01);
    resumed->Step(other.network->arena(), 0.01);
    EXPECT_TRUE(
        std::ranges::equal(one.network->arena().parameters(), other.network->arena().parameters()))
        << name;
  }
}

TEST(State, OfSmallMatricesBecomesMeansInLargeOnes) {
  const GrowableModel model = MakeModel(RmsShapes()[1].shape, 6);
  Gradients gradients(model);
  auto whole = MakeOptimizer<double>("adafactor", {.factored_min = 100}).value();
  auto factored = MakeOptimizer<double>("adafactor", {.factored_min = 2}).value();
  auto carried = MakeOptimizer<double>("adafactor", {.factored_min = 2}).value();
  for (const auto& optimizer : {whole.get(), factored.get(), carried.get()}) {
    ASSERT_TRUE(optimizer->Prepare(gradients.network->arena()).ok());
  }
  whole->Step(gradients.network->arena(), 0);
  factored->Step(gradients.network->arena(), 0);
  ASSERT_TRUE(CarryState(Stored(*whole), 1, *carried).ok());
  const auto want = ByName(Stored(*factored)), got = ByName(Stored(*carried));
  for (const auto& [key, state] : want) {
    for (size_t i = 0; i < state.values.size(); ++i) {
      EXPECT_NEAR(got.at(key).values[i], state.values[i], 1e-12 * state.values[i]) << key;
    }
  }
}

TEST(State, OfAnotherKindOfOptimiserIsNotCarried) {
  const GrowableModel model = MakeModel(RmsShapes()[1].shape, 7);
  Gradients gradients(model);
  auto sgd = MakeOptimizer<double>("sgd", {}).value();
  auto adam = MakeOptimizer<double>("adam", {}).value();
  ASSERT_TRUE(sgd->Prepare(gradients.network->arena()).ok());
  ASSERT_TRUE(adam->Prepare(gradients.network->arena()).ok());
  EXPECT_EQ(*CarryState(Stored(*sgd), 9, *adam), 0);
  EXPECT_EQ(adam->steps_done(), 0);
  auto wrong = Stored(*adam);
  wrong[0].matrix.rows += 1;
  EXPECT_EQ(CarryState(wrong, 9, *adam).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace saffron
