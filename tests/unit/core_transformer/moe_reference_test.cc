// Routing, experts, losses and every gradient against a public implementation of ST-MoE.

#include "fixture.h"
#include "gtest/gtest.h"
#include "moe_rig.h"

namespace saffron {
namespace {

constexpr int64_t kTokens = 24, kRows = 48, kWidth = 6, kUnits = 8, kExperts = 4;

// Their [out, in] to our [in, out]; rows `from` to `from + out` of it.
std::vector<double> Transposed(const std::vector<double>& theirs, int64_t from, int64_t out,
                               int64_t in) {
  std::vector<double> ours(out * in);
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) ours[i * out + o] = theirs[(from + o) * in + i];
  }
  return ours;
}

std::vector<double> Part(const std::vector<double>& all, int64_t from, int64_t size) {
  return {all.begin() + from, all.begin() + from + size};
}

struct Named {
  std::string name;
  int64_t begin;
  std::vector<double> values;
};

// Every tensor of the layer as theirs; `prefix` "w." or "g.".
std::vector<Named> TheirTensors(const Fixture& f, const std::string& prefix,
                                const MoePlaces& places) {
  std::vector<Named> all = {
      {"router", places.router,
       Transposed(f.Data(prefix + "gate.to_gates.weight"), 0, kExperts, kWidth)}};
  for (int e = 0; e < kExperts; ++e) {
    const std::string expert = prefix + "experts.experts." + std::to_string(e) + ".net.";
    const MlpPlaces& at = places.experts[e];
    const std::vector<double> w1 = f.Data(expert + "0.weight"), b1 = f.Data(expert + "0.bias");
    all.push_back({expert + "w1_linear", at.w1_linear, Transposed(w1, 0, kUnits, kWidth)});
    all.push_back({expert + "w1", at.w1, Transposed(w1, kUnits, kUnits, kWidth)});
    all.push_back({expert + "b1_linear", at.b1_linear, Part(b1, 0, kUnits)});
    all.push_back({expert + "b1", at.b1, Part(b1, kUnits, kUnits)});
    all.push_back({expert + "unit_bias", at.unit_bias, f.Data(expert + "1.mult_bias")});
    all.push_back(
        {expert + "w2", at.w2, Transposed(f.Data(expert + "2.weight"), 0, kWidth, kUnits)});
    all.push_back({expert + "b2", at.b2, f.Data(expert + "2.bias")});
  }
  return all;
}

// Their balance loss counts first choices after drops, the paper's and ours before: what that
// changes in the gradient of the router and of x. Returns the balance loss as they count it.
template <typename T>
double CountAfterDrops(MoeRig<T>& rig, const Chunk& chunk, double coefficient,
                       std::vector<double>& dw, std::vector<double>& dx) {
  const MoeRoutingView view = rig.layer().routing(chunk);
  double balance = 0;
  for (int64_t row = 0; row < kRows; row += kTokens) {
    std::vector<double> kept(kExperts), dropped(kExperts);
    for (int64_t r = row; r < row + kTokens; ++r) {
      const MoeChoice& first = view.choices[2 * r];
      (first.kept() ? kept : dropped)[first.expert] += 1.0 / kTokens;
    }
    for (int64_t r = row; r < row + kTokens; ++r) {
      const double* p = view.probabilities.row(r);
      double mean = 0;
      for (int e = 0; e < kExperts; ++e) {
        mean -= dropped[e] * p[e];
        balance += kExperts * kept[e] * p[e] / kRows;
      }
      for (int e = 0; e < kExperts; ++e) {
        const double ds = coefficient * kExperts / kRows * p[e] * (-dropped[e] - mean);
        for (int64_t i = 0; i < kWidth; ++i) {
          dw[i * kExperts + e] += ds * rig.x.view().row(r)[i];
          dx[r * kWidth + i] += ds * rig.params()[rig.places().router + i * kExperts + e];
        }
      }
    }
  }
  return balance;
}

template <typename T>
class MoeReferenceTest : public testing::Test {
 protected:
  static void Check(const std::string& name) {
    const Fixture f(name);
    const auto& meta = f.json().at("meta");
    const bool train = meta.at("train").get<bool>();
    TransformerShape shape = SparseShape(kTokens);
    MoeShape& moe = shape.layers[0].moe;
    moe.capacity_factor = meta.at("capacity_factor").get<double>();
    moe.slots = SlotOrder::kChoiceMajor;
    const MoeTraining training{.z_loss = train ? 1e-3 : 0, .balance_loss = train ? 1e-2 : 0};
    MoeRig<T> rig(shape, training, kRows);
    for (const Named& tensor : TheirTensors(f, "w.", rig.places())) {
      std::copy(tensor.values.begin(), tensor.values.end(), rig.params() + tensor.begin);
    }
    rig.x = OwnedRows<T>(kRows, kWidth, f.Data("x"));
    rig.dy = OwnedRows<T>(kRows, kWidth, f.Data("G"));
    const std::vector<double> uniforms = f.Data("uniforms");  // [choice, sequence, token]
    for (int64_t r = 0; r < kRows; ++r) rig.layer().uniforms()[2 * r + 1] = uniforms[kRows + r];
    const Chunk chunk = rig.ChunkOf(kTokens, /*train=*/true);
    rig.Forward(chunk, /*draw=*/false);
    rig.Backward(chunk);

    EXPECT_LE(RelativeError(rig.y.Values(), f.Data("out")), Tolerance<T>());
    std::vector<double> dw(kWidth * kExperts), dx(kRows * kWidth);
    const double balance = CountAfterDrops(rig, chunk, training.balance_loss, dw, dx);
    if (train) {
      EXPECT_NEAR(rig.losses.z, f.Data("zloss")[0], Tolerance<T>() * f.Data("zloss")[0]);
      EXPECT_NEAR(balance, f.Data("balance")[0], Tolerance<T>());
    }
    const std::vector<T> ours = rig.dx.Values();
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += ours[i];
    EXPECT_LE(RelativeError(dx, f.Data("gx")), Tolerance<T>());
    for (const Named& tensor : TheirTensors(f, "g.", rig.places())) {
      std::vector<double> got(rig.gradient() + tensor.begin,
                              rig.gradient() + tensor.begin + tensor.values.size());
      for (size_t i = 0; tensor.name == "router" && i < got.size(); ++i) got[i] += dw[i];
      EXPECT_LE(RelativeError(got, tensor.values), Tolerance<T>()) << tensor.name;
    }
  }
};
using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(MoeReferenceTest, Numbers);

TYPED_TEST(MoeReferenceTest, TrainingWithRoomForEverybodyIsThatOfAPublicLibrary) {
  TestFixture::Check("moe_top2_train_nodrop");
}
TYPED_TEST(MoeReferenceTest, TrainingWithDropsAndRandomSecondChoicesIsToo) {
  TestFixture::Check("moe_top2_train_random");
}
TYPED_TEST(MoeReferenceTest, EvaluationIsToo) { TestFixture::Check("moe_top2_eval"); }

TEST(MoeBalanceTest, WithoutDropsTheLossIsTheLibrarysAsItStands) {
  const Fixture f("moe_top2_train_nodrop");
  TransformerShape shape = SparseShape(kTokens);
  shape.layers[0].moe.capacity_factor = 4;
  MoeRig<double> rig(shape, {}, kRows);
  for (const Named& tensor : TheirTensors(f, "w.", rig.places())) {
    std::copy(tensor.values.begin(), tensor.values.end(), rig.params() + tensor.begin);
  }
  rig.x = OwnedRows<double>(kRows, kWidth, f.Data("x"));
  rig.Forward(rig.ChunkOf(kTokens, true));
  EXPECT_NEAR(rig.losses.balance, f.Data("balance")[0], 1e-12);
}

}  // namespace
}  // namespace saffron
