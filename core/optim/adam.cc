// Adam: the shared step without decay. Kingma & Ba, ICLR 2015.

#include "core/optim/adam_update.h"
#include "core/optim/elementwise.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
class Adam final : public ElementwiseOptimizer<T> {
 public:
  explicit Adam(const OptimizerConfig& config)
      : ElementwiseOptimizer<T>(AdamSlots()), config_(config), step_(config, 1, 0) {}

 private:
  void Begin(int64_t step, double lr) override { step_ = AdamStep<T>(config_, step, lr); }
  void UpdateStretch(T* p, const T* g, T* const* state, int64_t n, bool decay) override {
    AdamUpdate<T>(step_, 1, p, g, state[0], state[1], n);
  }

  const OptimizerConfig config_;
  AdamStep<T> step_;
};

}  // namespace

template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdam(const OptimizerConfig& config) {
  return std::make_unique<Adam<T>>(config);
}
template std::unique_ptr<Optimizer<float>> MakeAdam<float>(const OptimizerConfig&);
template std::unique_ptr<Optimizer<double>> MakeAdam<double>(const OptimizerConfig&);

}  // namespace saffron
