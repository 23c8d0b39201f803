// AdamW: parameters of segments with `decay` shrink by lr weight_decay before Adam's step, apart
// from the gradient and its moments. Loshchilov & Hutter, ICLR 2019, algorithm 2.

#include "core/optim/adam_update.h"
#include "core/optim/elementwise.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
class AdamW final : public ElementwiseOptimizer<T> {
 public:
  explicit AdamW(const OptimizerConfig& config)
      : ElementwiseOptimizer<T>(AdamSlots()), config_(config), step_(config, 1, 0) {}
  bool decays() const override { return true; }

 private:
  void Begin(int64_t step, double lr) override {
    step_ = AdamStep<T>(config_, step, lr);
    keep_ = static_cast<T>(1 - lr * config_.weight_decay);
  }
  void UpdateStretch(T* p, const T* g, T* const* state, int64_t n, bool decay) override {
    AdamUpdate<T>(step_, decay ? keep_ : T{1}, p, g, state[0], state[1], n);
  }

  const OptimizerConfig config_;
  AdamStep<T> step_;
  T keep_ = 1;
};

}  // namespace

template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdamW(const OptimizerConfig& config) {
  return std::make_unique<AdamW<T>>(config);
}
template std::unique_ptr<Optimizer<float>> MakeAdamW<float>(const OptimizerConfig&);
template std::unique_ptr<Optimizer<double>> MakeAdamW<double>(const OptimizerConfig&);

}  // namespace saffron
