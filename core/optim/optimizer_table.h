#pragma once
// What optimizer.cc lists: one maker from each optimiser's file. Settings are already checked.

#include <memory>

#include "core/optim/optimizer.h"

namespace saffron {

template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdafactor(const OptimizerConfig& config);
template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdam(const OptimizerConfig& config);
template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdamW(const OptimizerConfig& config);
template <typename T>
std::unique_ptr<Optimizer<T>> MakeMuon(const OptimizerConfig& config);
template <typename T>
std::unique_ptr<Optimizer<T>> MakeSgd(const OptimizerConfig& config);

}  // namespace saffron
