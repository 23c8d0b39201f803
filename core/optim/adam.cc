// Adam: the shared step without decay. Kingma & Ba, ICLR 2015.

#include "core/optim/adam_update.h"
#include "core/optim/optimizer_table.h"

namespace saffron {
namespace {

template <typename T>
class Adam final : public Optimizer<T> {
 public:
  explicit Adam(const OptimizerConfig& config) : config_(config), step_(config, 1, 0) {}
  int moments() const override { return 2; }

 private:
  void Begin(int64_t step, double lr) override { step_ = AdamStep<T>(config_, step, lr); }
  void Update(T* p, const T* g, T* const* moment, int64_t n, bool decay) override {
    AdamUpdate<T>(step_, 1, p, g, moment[0], moment[1], n);
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
