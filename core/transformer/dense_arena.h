#pragma once
// What networks whose tensors all have a gradient at every step begin with: their parameters, and
// the memory that they compute in.

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/math/parameter_arena.h"
#include "core/transformer/workspace.h"

namespace saffron {

// `tensors` take `size` numbers; behind them stands `beside`, a vector of another model that is
// trained along (without columns: none). A segment is a tensor; vectors do not decay. Without
// `train` there are no gradients. RESOURCE_EXHAUSTED when there is no memory.
template <typename T>
absl::StatusOr<ParameterArena<T>> MakeDenseArena(std::vector<ParameterTensor> tensors, int64_t size,
                                                 const ParameterTensor& beside, bool train) {
  const int64_t all = size + beside.size();
  ASSIGN_OR_RETURN(ParameterArena<T> arena,
                   ParameterArena<T>::Create({.parameters = all, .gradients = train ? all : 0}));
  if (beside.size() > 0) {
    tensors.push_back(beside);
    tensors.back().begin = size;
  }
  for (const ParameterTensor& tensor : tensors) {
    arena.segments().push_back(
        {.begin = tensor.begin,
         .size = tensor.size(),
         .gradient = train ? arena.gradients().data() + tensor.begin : nullptr,
         .decay = tensor.role != TensorRole::kVector});
  }
  arena.tensors() = std::move(tensors);
  return arena;
}

// The memory for what `take` takes from a Workspace<T>&, and `take` once more, for good. Of bf16,
// see Workspace. RESOURCE_EXHAUSTED when there is none.
template <typename T, typename TakeAll>
absl::StatusOr<AlignedArray<T>> MakeWorkspace(TakeAll take, const Bf16Scratch* bf16 = nullptr) {
  Workspace<T> counting(nullptr, bf16);
  take(counting);
  AlignedArray<T> memory(counting.used());
  if (!memory.ok()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", counting.used() * sizeof(T), " bytes of activations"));
  }
  Workspace<T> workspace(memory.data(), bf16);
  take(workspace);
  return memory;
}

}  // namespace saffron
