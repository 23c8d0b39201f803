// Stochastic gradient descent with momentum (heavy ball):  v <- mu v + g;  p <- p - lr v.
// Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; without
// dampening, as most training code has it.

#include "core/optim/lane_update.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
class Sgd final : public Optimizer<T> {
 public:
  explicit Sgd(const OptimizerConfig& config) : momentum_(static_cast<T>(config.momentum)) {}
  int moments() const override { return 1; }

 private:
  void Begin(int64_t step, double lr) override { rate_ = static_cast<T>(lr); }

  void Update(T* p, const T* g, T* const* moment, int64_t n, bool decay) override {
    using S = Simd<T>;
    const auto momentum = S::Broadcast(momentum_);
    const auto minus_rate = S::Broadcast(-rate_);
    ForEachLanes<T>(p, g, moment[0], nullptr, n, [=](T* p, const T* g, T* v, T*) {
      const auto velocity = S::MulAdd(momentum, S::Load(v), S::Load(g));
      S::Store(v, velocity);
      S::Store(p, S::MulAdd(minus_rate, velocity, S::Load(p)));
    });
  }

  const T momentum_;
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
