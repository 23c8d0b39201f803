// Stochastic gradient descent with momentum (heavy ball):  v <- mu v + g;  p <- p - lr v, or with
// Nesterov's look-ahead p <- p - lr (g + mu v); an L2 penalty is part of g.
// Polyak, "Some methods of speeding up the convergence of iteration methods", 1964, without
// dampening, as most training code has it; Sutskever et al., ICML 2013, for the look-ahead.

#include "core/optim/elementwise.h"
#include "core/optim/lane_update.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
class Sgd final : public ElementwiseOptimizer<T> {
 public:
  explicit Sgd(const OptimizerConfig& config)
      : ElementwiseOptimizer<T>({{"momentum", StateKind::kFirst}}),
        momentum_(static_cast<T>(config.momentum)),
        l2_(static_cast<T>(config.l2)),
        nesterov_(config.nesterov) {}
  bool decays() const override { return l2_ > 0; }

 private:
  void Begin(int64_t step, double lr) override { rate_ = static_cast<T>(lr); }

  void UpdateStretch(T* p, const T* g, T* const* state, int64_t n, bool decay) override {
    using S = Simd<T>;
    const auto momentum = S::Broadcast(momentum_);
    const auto minus_rate = S::Broadcast(-rate_);
    const auto l2 = S::Broadcast(decay ? l2_ : T{0});
    const bool nesterov = nesterov_;
    ForEachLanes<T>(p, g, state[0], nullptr, n, [=](T* p, const T* g, T* v, T*) {
      const auto gradient = S::MulAdd(l2, S::Load(p), S::Load(g));
      const auto velocity = S::MulAdd(momentum, S::Load(v), gradient);
      S::Store(v, velocity);
      const auto update = nesterov ? S::MulAdd(momentum, velocity, gradient) : velocity;
      S::Store(p, S::MulAdd(minus_rate, update, S::Load(p)));
    });
  }

  const T momentum_, l2_;
  const bool nesterov_;
  T rate_ = 0;
};

}  // namespace

template <typename T>
std::unique_ptr<Optimizer<T>> MakeSgd(const OptimizerConfig& config) {
  return std::make_unique<Sgd<T>>(config);
}
template std::unique_ptr<Optimizer<float>> MakeSgd<float>(const OptimizerConfig&);
template std::unique_ptr<Optimizer<double>> MakeSgd<double>(const OptimizerConfig&);

}  // namespace saffron
