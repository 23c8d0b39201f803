#pragma once
// Small arenas for tests of optimisers.

#include <string>

#include "core/math/parameter_arena.h"
#include "core/optim/optimizer.h"

namespace saffron {

// One tensor, dense: its gradient is all of gradients().
template <typename T>
ParameterArena<T> MakeArena(int64_t rows, int64_t cols, TensorRole role) {
  const int64_t n = rows * cols;
  ParameterArena<T> arena = ParameterArena<T>::Create({.parameters = n, .gradients = n}).value();
  arena.segments() = {{.begin = 0, .size = n, .gradient = arena.gradients().data(), .decay = true}};
  arena.tensors() = {{.name = "w", .rows = rows, .cols = cols, .role = role}};
  return arena;
}

template <typename T>
std::unique_ptr<Optimizer<T>> MakePrepared(const std::string& name, const OptimizerConfig& config,
                                           const ParameterArena<T>& arena) {
  auto optimizer = MakeOptimizer<T>(name, config).value();
  const absl::Status status = optimizer->Prepare(arena);
  EXPECT_TRUE(status.ok()) << status;
  return optimizer;
}

}  // namespace saffron
