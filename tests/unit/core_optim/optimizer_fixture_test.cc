// Every optimiser against the numbers of other programs.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/golden/fixtures/read_fixture.h"
#include "tests/unit/core_optim/arena.h"

namespace saffron {
namespace {

constexpr double kDouble = 1e-10, kFloat = 1e-4;
constexpr int kSteps = 6;

struct Path {
  std::string name;   // in the file
  std::string start;  // the key of its first parameters and gradients
  int64_t rows, cols;
  std::string optimizer;
  OptimizerConfig config;
  double lr;
};

const nlohmann::json& Fixture() {
  static const auto* const fixture = new nlohmann::json(ReadFixture("optimizers"));
  return *fixture;
}

// In the file matrices of muon are [out, in]; ours are [in, out].
template <typename T>
void Load(const nlohmann::json& values, int64_t from, const Path& path, absl::Span<T> to) {
  const bool turned = path.optimizer == "muon";
  for (int64_t i = 0; i < path.rows; ++i) {
    for (int64_t j = 0; j < path.cols; ++j) {
      const int64_t at = turned ? j * path.rows + i : i * path.cols + j;
      to[i * path.cols + j] = static_cast<T>(values[from + at].get<double>());
    }
  }
}

template <typename T>
void ExpectPath(const Path& path, double tolerance) {
  const TensorRole role = path.rows == 1 ? TensorRole::kVector : TensorRole::kHidden;
  ParameterArena<T> arena = MakeArena<T>(path.rows, path.cols, role);
  auto optimizer = MakePrepared<T>(path.optimizer, path.config, arena);
  const int64_t n = path.rows * path.cols;
  Load<T>(Fixture()["start"][path.start], 0, path, arena.parameters());
  int stored = 0;
  std::vector<double> want(n);
  for (int step = 1; step <= kSteps; ++step) {
    Load<T>(Fixture()["gradients"][path.start], (step - 1) * n, path, arena.gradients());
    optimizer->Step(arena, path.lr);
    if (step != 1 && step != 2 && step != kSteps) continue;
    Load<double>(Fixture()["paths"][path.name][stored++], 0, path, absl::MakeSpan(want));
    for (int64_t i = 0; i < n; ++i) {
      ExpectClose(arena.parameters()[i], want[i], tolerance,
                  path.name + " step " + std::to_string(step) + " element " + std::to_string(i));
    }
  }
}

void ExpectMatrixAndVector(const std::string& name, const std::string& optimizer,
                           const OptimizerConfig& config, double lr) {
  for (const Path& path : {Path{name + ".2d", "4x6", 4, 6, optimizer, config, lr},
                           Path{name + ".1d", "5", 1, 5, optimizer, config, lr}}) {
    ExpectPath<double>(path, kDouble);
    ExpectPath<float>(path, kFloat);
  }
}

TEST(OptimizerFixture, AdamIsPyTorchs) { ExpectMatrixAndVector("adam", "adam", {}, 0.01); }

TEST(OptimizerFixture, AdamWIsPyTorchs) {
  ExpectMatrixAndVector("adamw", "adamw", {.beta2 = 0.95, .weight_decay = 0.1}, 0.01);
}

TEST(OptimizerFixture, SgdIsPyTorchs) {
  ExpectMatrixAndVector("sgd_mom", "sgd", {}, 0.1);
  ExpectMatrixAndVector("sgd_nesterov_wd", "sgd", {.nesterov = true, .l2 = 0.01}, 0.1);
}

TEST(OptimizerFixture, AdafactorIsFairseqs) {
  OptimizerConfig config = {.weight_decay = 0, .relative_step = true, .factored_min = 2};
  ExpectMatrixAndVector("adafactor_default", "adafactor", config, 0);
  ExpectMatrixAndVector("adafactor_lr", "adafactor",
                        {.weight_decay = 0, .scale_parameter = false, .factored_min = 2}, 0.01);
  config.scale_parameter = false;
  config.update_clip = 0.1;
  ExpectMatrixAndVector("adafactor_clip01", "adafactor", config, 0);
  // With the learning rate kept local: fairseq itself writes the scaled one back.
  ExpectMatrixAndVector("adafactor_wd_beta1", "adafactor",
                        {.weight_decay = 0.1, .factored_min = 2, .update_momentum = 0.9}, 0.01);
}

TEST(OptimizerFixture, MuonIsItsAuthors) {
  for (const auto& [key, rows, cols] : {std::tuple{"4x6", 6, 4}, {"6x4", 4, 6}, {"5x5", 5, 5}}) {
    const Path path = {std::string("muon.") + key, key, rows, cols, "muon",
                       {.weight_decay = 0.1},      0.02};
    ExpectPath<double>(path, kDouble);
    ExpectPath<float>(path, kFloat);
  }
}

TEST(OptimizerFixture, ClippingIsPyTorchs) {
  const nlohmann::json& clip = Fixture()["clip"];
  ParameterArena<double> arena = MakeArena<double>(1, 10, TensorRole::kVector);
  for (int i = 0; i < 6; ++i) arena.gradients()[i] = clip["g0"][i];
  for (int i = 0; i < 4; ++i) arena.gradients()[6 + i] = clip["g1"][i];
  ExpectClose(ClipGlobalNorm(arena, 1), clip["norm"].get<double>(), kDouble, "norm");
  for (int i = 0; i < 6; ++i) ExpectClose(arena.gradients()[i], clip["o0"][i], kDouble, "o0");
  for (int i = 0; i < 4; ++i) ExpectClose(arena.gradients()[6 + i], clip["o1"][i], kDouble, "o1");
}

}  // namespace
}  // namespace saffron
