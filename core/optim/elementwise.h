#pragma once
// What sgd, adam and adamw share: one fused pass over every segment, with arrays of state of the
// size of all parameters beside it.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/math/aligned_array.h"
#include "core/optim/optimizer.h"

namespace saffron {

struct StateSlot {
  const char* name;
  StateKind kind;
};

template <typename T>
class ElementwiseOptimizer : public Optimizer<T> {
 public:
  std::vector<StateArray<T>> State() override {
    std::vector<StateArray<T>> state;
    for (const ParameterTensor& tensor : tensors_) {
      for (size_t i = 0; i < slots_.size(); ++i) {
        ParameterTensor view = tensor;
        view.begin = 0;
        state.push_back({view, slots_[i].name, slots_[i].kind,
                         absl::MakeSpan(Slot(i) + tensor.begin, tensor.stored())});
      }
    }
    return state;
  }

 protected:
  static constexpr int kSlotsMax = 2;
  explicit ElementwiseOptimizer(std::vector<StateSlot> slots) : slots_(std::move(slots)) {}

  // What UpdateStretch needs of the step.
  virtual void Begin(int64_t step, double lr) = 0;
  // p[n] and the same stretch of every slot; g[n] may be null: zeros.
  virtual void UpdateStretch(T* p, const T* g, T* const* state, int64_t n, bool decay) = 0;

 private:
  T* Slot(size_t i) { return state_.data() + static_cast<int64_t>(i) * stride_; }

  absl::Status Allocate(const ParameterArena<T>& arena) override {
    const int64_t parameters = static_cast<int64_t>(arena.parameters().size());
    tensors_ = arena.tensors();
    if (tensors_.empty()) tensors_.push_back({.name = "", .cols = parameters});
    stride_ = (parameters + 63) / 64 * 64;  // slots start on cache lines
    const int64_t total = stride_ * static_cast<int64_t>(slots_.size());
    state_ = AlignedArray<T>(total);
    if (state_.ok()) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", total * sizeof(T), " bytes of optimiser state"));
  }

  void Update(ParameterArena<T>& arena, int64_t step, double lr) override {
    Begin(step, lr);
    for (const ParameterSegment<T>& segment : arena.segments()) {
      if (segment.idle && !(segment.decay && this->decays())) continue;
      T* state[kSlotsMax] = {};
      for (size_t i = 0; i < slots_.size(); ++i) state[i] = Slot(i) + segment.begin;
      UpdateStretch(arena.parameters().data() + segment.begin, segment.gradient, state,
                    segment.size, segment.decay);
    }
  }

  const std::vector<StateSlot> slots_;
  std::vector<ParameterTensor> tensors_;
  int64_t stride_ = 0;
  AlignedArray<T> state_;
};

}  // namespace saffron
