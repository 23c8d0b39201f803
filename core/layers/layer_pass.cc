#include "core/layers/layer_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/check.h"
#include "core/math/exp.h"
#include "core/math/gemm.h"

namespace saffron {
namespace {

// kBlock numbers of one position, in registers.
template <typename T>
struct Strip {
  using S = Simd<T>;
  using Reg = typename S::Reg;
  static constexpr int kRegs = 8;
  Reg reg[kRegs];

  static const T* At(const T* p, int i) { return p + i * S::kLanes; }
  static T* At(T* p, int i) { return p + i * S::kLanes; }

  void Load(const T* p) {
    for (int i = 0; i < kRegs; ++i) reg[i] = S::Load(At(p, i));
  }
  void Store(T* p) const {
    for (int i = 0; i < kRegs; ++i) S::Store(At(p, i), reg[i]);
  }
  void Scale(T c) {
    const Reg scale = S::Broadcast(c);
    for (int i = 0; i < kRegs; ++i) reg[i] = S::Mul(reg[i], scale);
  }
  // this += c row
  void Add(T c, const T* row) {
    const Reg scale = S::Broadcast(c);
    for (int i = 0; i < kRegs; ++i) reg[i] = S::MulAdd(scale, S::Load(At(row, i)), reg[i]);
  }
  // row += c this
  void AddTo(T c, T* row) const {
    const Reg scale = S::Broadcast(c);
    for (int i = 0; i < kRegs; ++i) {
      S::Store(At(row, i), S::MulAdd(scale, reg[i], S::Load(At(row, i))));
    }
  }
  // Lane-wise parts of <this, row>; their sum is the product.
  Reg Dot(const T* row) const {
    Reg even = S::Mul(reg[0], S::Load(row)), odd = S::Mul(reg[1], S::Load(At(row, 1)));
    for (int i = 2; i < kRegs; i += 2) {
      even = S::MulAdd(reg[i], S::Load(At(row, i)), even);
      odd = S::MulAdd(reg[i + 1], S::Load(At(row, i + 1)), odd);
    }
    return S::Add(even, odd);
  }
  T Max() const {
    Reg max = reg[0];
    for (int i = 1; i < kRegs; ++i) max = S::Max(max, reg[i]);
    return S::MaxLane(max);
  }
  // this = exp(this - shift), where no element exceeds shift; returns the sum.
  T ExpRelativeTo(T shift) {
    const Reg shifts = S::Broadcast(shift);
    Reg sum = S::Zero();
    for (int i = 0; i < kRegs; ++i) {
      reg[i] = ExpOfNonPositive(S::Sub(reg[i], shifts));
      sum = S::Add(sum, reg[i]);
    }
    return S::Sum(sum);
  }
};

}  // namespace

template <typename T>
LayerPass<T>::LayerPass(const LayerPlaces<T>& places, T gain, const FeatureTables& features,
                        const LayerPassOptions& options)
    : places_(places),
      gain_(gain),
      options_(options),
      num_keys_(places.shape->num_keys()),
      attention_(places, options.positions_max),
      dx_(num_keys_, nullptr) {
  const int64_t n = options.positions_max;
  const int64_t blocks = places.blocks();
  int64_t terms_max = 0;
  for (int k = 0; k < num_keys_; ++k) {
    keys_.emplace_back(places.shape->keys[k], features, options.positions_max, options.train);
    const KeyRows<T>& key = keys_.back();
    if (key.sparse()) {
      sparse_keys_.push_back(k);
      terms_max += key.nonzeros_max();
      continue;
    }
    DenseKey dense;
    dense.key = k;
    dense.products = AlignedArray<T>((options.train ? blocks : 1) * n * kBlock<T>);
    if (options.train) dense.d_products = AlignedArray<T>(n * kBlock<T>);
    if (options.train && key.lower()) {
      dense.d_rows = AlignedArray<T>(n * key.stride());
      dense.u_transposed = AlignedArray<T>(int64_t{kBlock<T>} * key.stride());
      dx_[k] = dense.d_rows.data();
    }
    dense_keys_.push_back(std::move(dense));
  }
  terms_ = AlignedArray<Term>(n * terms_max);
  terms_end_ = AlignedArray<int32_t>(n * static_cast<int64_t>(sparse_keys_.size()));
  dense_row_ = AlignedArray<int32_t>(n * static_cast<int64_t>(dense_keys_.size()));
  dense_coefficient_ = AlignedArray<T>(n * static_cast<int64_t>(dense_keys_.size()));
  initial_ = AlignedArray<T>(blocks * kBlock<T>);
  max_ = AlignedArray<T>(n);
  sum_ = AlignedArray<double>(n);
  target_logit_ = AlignedArray<T>(n);
  target_leads_ = AlignedArray<uint8_t>(n);
  if (options.train || options.lower) {
    stored_ = AlignedArray<T>(blocks * n * kBlock<T>);
    reference_ = AlignedArray<T>(blocks * n);
  }
  if (options.lower) outputs_ = AlignedArray<T>(n * outputs_stride());
  if (!options.train) return;
  if (options.lower) d_outputs_ = AlignedArray<T>(n * outputs_stride());
  weighted_ = AlignedArray<T>(n * num_keys_ * Simd<T>::kLanes);
  weighted_sums_ = AlignedArray<T>(n * num_keys_);
}

template <typename T>
void LayerPass<T>::Load(absl::Span<const int32_t> stream, absl::Span<const int64_t> positions) {
  positions_ = static_cast<int>(positions.size());
  for (KeyRows<T>& key : keys_) {
    if (!key.lower()) key.Load(stream, positions);
  }
}

template <typename T>
void LayerPass<T>::LoadLower(int k, const LayerPass& lower, absl::Span<const int32_t> slots) {
  keys_[k].LoadLower(lower.outputs(), lower.outputs_stride(), slots);
}

template <typename T>
void LayerPass<T>::Forward(const T* arena, absl::Span<const int32_t> targets) {
  BeginForward(arena);
  std::fill_n(max_.data(), positions_, -std::numeric_limits<T>::infinity());
  std::fill_n(sum_.data(), positions_, 0.0);
  for (int block = 0; block < places_.blocks(); ++block) {
    MultiplyDenseKeys(arena, block);
    ForwardBlock</*kLogitsAlone=*/false>(arena, block, targets);
  }
}

template <typename T>
void LayerPass<T>::BeginForward(const T* arena) {
  attention_.Forward(arena, keys_, positions_);
  MakeTerms();
  PrepareInitialLogits(arena);
}

template <typename T>
void LayerPass<T>::ForwardLogits(const T* arena) {
  CHECK(stored_.ok()) << "logits of a pass that keeps none";
  BeginForward(arena);
  for (int block = 0; block < places_.blocks(); ++block) {
    MultiplyDenseKeys(arena, block);
    ForwardBlock</*kLogitsAlone=*/true>(arena, block, {});
  }
}

template <typename T>
void LayerPass<T>::CopyLogits(int64_t m, T* z) const {
  const int outputs = places_.shape->outputs;
  for (int block = 0; block < places_.blocks(); ++block) {
    const int begin = block * kBlock<T>;
    std::copy_n(stored(block) + m * kBlock<T>, std::min(kBlock<T>, outputs - begin), z + begin);
  }
}

template <typename T>
void LayerPass<T>::SetLogitGradient(int64_t m, const T* dz) {
  const int outputs = places_.shape->outputs;
  for (int block = 0; block < places_.blocks(); ++block) {
    const int begin = block * kBlock<T>, count = std::min(kBlock<T>, outputs - begin);
    T* const to = stored(block) + m * kBlock<T>;
    std::fill(std::copy_n(dz + begin, count, to), to + kBlock<T>, T{0});
  }
}

template <typename T>
void LayerPass<T>::BackwardFromLogits(const T* arena, bool first, T* gradient) {
  std::ranges::fill(reference_.span(), T{1});
  Backward(arena, {}, 0, first, gradient);
}

template <typename T>
void LayerPass<T>::MakeTerms() {
  Term* next = terms_.data();
  int32_t* end = terms_end_.data();
  int64_t dense_at = 0;
  for (int64_t m = 0; m < positions_; ++m) {
    for (const int k : sparse_keys_) {
      const T weight = gain_ * attention_.weight(m, k);
      const int32_t first_row = places_.shape->KeyOffset(k);
      keys_[k].ForEachNonZero(keys_[k].row_of(m), [&](int32_t j, T x) {
        *next++ = {.offset = (first_row + j) * kBlock<T>, .coefficient = weight * x};
      });
      *end++ = static_cast<int32_t>(next - terms_.data());
    }
    for (const DenseKey& dense : dense_keys_) {
      dense_row_[dense_at] = keys_[dense.key].row_of(m);
      dense_coefficient_[dense_at++] = gain_ * attention_.weight(m, dense.key);
    }
  }
}

// Columns past N get -inf: their exponentials, and so their gradients, are exactly zero.
template <typename T>
void LayerPass<T>::PrepareInitialLogits(const T* arena) {
  const int64_t outputs = places_.shape->outputs;
  if (places_.has_bias) std::copy_n(arena + places_.bias, outputs, initial_.data());
  std::fill(initial_.data() + outputs, initial_.data() + initial_.size(),
            -std::numeric_limits<T>::infinity());
}

template <typename T>
T* LayerPass<T>::ProductsOf(DenseKey& dense, int block) {
  const int64_t rows = keys_[dense.key].rows();
  return dense.products.data() + (options_.train ? block * rows * kBlock<T> : 0);
}

template <typename T>
void LayerPass<T>::MultiplyDenseKeys(const T* arena, int block) {
  for (DenseKey& dense : dense_keys_) {
    const KeyRows<T>& key = keys_[dense.key];
    const T* u = places_.u_block(arena, block) + places_.shape->KeyOffset(dense.key) * kBlock<T>;
    Gemm<false, T>(key.rows(), kBlock<T>, key.dim(), {key.dense(), key.stride(), 1}, u, kBlock<T>,
                   ProductsOf(dense, block), kBlock<T>);
  }
}

template <typename T>
template <bool kLogitsAlone>
void LayerPass<T>::ForwardBlock(const T* arena, int block, absl::Span<const int32_t> targets) {
  const T* u = places_.u_block(arena, block);
  const T* initial = initial_.data() + int64_t{block} * kBlock<T>;
  const int num_sparse = static_cast<int>(sparse_keys_.size());
  const Term* term = terms_.data();
  const bool store = stored_.ok();
  for (int64_t m = 0; m < positions_; ++m) {
    Strip<T> z;
    z.Load(initial);
    const Term* end = num_sparse > 0 ? terms_.data() + terms_end_[(m + 1) * num_sparse - 1] : term;
    for (; term != end; ++term) z.Add(term->coefficient, u + term->offset);
    for (size_t d = 0; d < dense_keys_.size(); ++d) {
      const int64_t at = m * static_cast<int64_t>(dense_keys_.size()) + static_cast<int64_t>(d);
      z.Add(dense_coefficient_[at],
            ProductsOf(dense_keys_[d], block) + int64_t{dense_row_[at]} * kBlock<T>);
    }
    if constexpr (kLogitsAlone) {
      z.Store(stored(block) + m * kBlock<T>);
      continue;
    }
    const T block_max = z.Max();
    if (!targets.empty() && targets[static_cast<size_t>(m)] / kBlock<T> == block) {
      T logits[kBlock<T>];
      z.Store(logits);
      const int at = targets[static_cast<size_t>(m)] % kBlock<T>;
      target_logit_[m] = logits[at];
      target_leads_[m] = max_[m] < logits[at] && std::all_of(logits, logits + at, [&](T other) {
                           return other < logits[at];
                         });
    }
    if (block_max > max_[m]) {
      sum_[m] *= std::exp(static_cast<double>(max_[m]) - static_cast<double>(block_max));
      max_[m] = block_max;
    }
    sum_[m] += z.ExpRelativeTo(max_[m]);
    if (store) {
      z.Store(stored(block) + m * kBlock<T>);
      reference_[int64_t{block} * positions_ + m] = max_[m];
    }
  }
}

template <typename T>
Evaluation LayerPass<T>::Result() const {
  Evaluation result{.targets = positions_};
  for (int64_t m = 0; m < positions_; ++m) {
    result.nats +=
        static_cast<double>(max_[m]) + std::log(sum_[m]) - static_cast<double>(target_logit_[m]);
    result.correct += target_leads_[m] != 0 && target_logit_[m] == max_[m];
  }
  return result;
}

// Turns each block's reference into the factor that makes its exponentials `scale` times
// probabilities.
template <typename T>
void LayerPass<T>::MakeFactors(T scale) {
  const int64_t n = int64_t{places_.blocks()} * positions_;
  for (int64_t i = 0; i < n; ++i) reference_[i] -= max_[i % positions_];
  ExpInPlace(reference_.data(), n);
  for (int64_t i = 0; i < n; ++i) {
    reference_[i] = static_cast<T>(reference_[i] * (scale / sum_[i % positions_]));
  }
}

template <typename T>
void LayerPass<T>::MakeOutputs() {
  CHECK(options_.lower) << "the top layer's outputs are not kept";
  MakeFactors(1);
  for (int block = 0; block < places_.blocks(); ++block) {
    for (int64_t m = 0; m < positions_; ++m) {
      Strip<T> o;
      o.Load(stored(block) + m * kBlock<T>);
      o.Scale(reference_[int64_t{block} * positions_ + m]);
      o.Store(outputs_.data() + m * outputs_stride() + int64_t{block} * kBlock<T>);
    }
  }
}

template <typename T>
void LayerPass<T>::BackwardFromTargets(const T* arena, absl::Span<const int32_t> targets, T scale,
                                       bool first, T* gradient) {
  MakeFactors(scale);
  Backward(arena, targets, scale, first, gradient);
}

// dz = o o (do - <o, do>).
template <typename T>
void LayerPass<T>::BackwardFromOutputs(const T* arena, bool first, T* gradient) {
  const int stride = outputs_stride();
  for (int64_t m = 0; m < positions_; ++m) {
    const T* o = outputs_.data() + m * stride;
    const T* d = d_outputs_.data() + m * stride;
    T mean = 0;
    for (int i = 0; i < stride; ++i) mean += o[i] * d[i];
    for (int i = 0; i < stride; ++i) {
      stored(i / kBlock<T>)[m * kBlock<T> + i % kBlock<T>] = o[i] * (d[i] - mean);
    }
  }
  BackwardFromLogits(arena, first, gradient);
}

template <typename T>
void LayerPass<T>::Backward(const T* arena, absl::Span<const int32_t> targets, T scale, bool first,
                            T* gradient) {
  CHECK(options_.train) << "backward through a pass that was made for evaluation";
  constexpr int kLanes = Simd<T>::kLanes;
  const int64_t sums = int64_t{positions_} * num_keys_;
  std::fill_n(weighted_.data(), sums * kLanes, T{0});
  for (DenseKey& dense : dense_keys_) std::ranges::fill(dense.d_rows.span(), T{0});
  const int64_t block_size = int64_t{places_.shape->InputDim()} * kBlock<T>;
  // Downwards, because what the forward pass touched last is still in the caches.
  for (int block = places_.blocks() - 1; block >= 0; --block) {
    if (first) std::fill_n(places_.u_block(gradient, block), block_size, T{0});
    for (DenseKey& dense : dense_keys_) {
      std::fill_n(dense.d_products.data(), int64_t{keys_[dense.key].rows()} * kBlock<T>, T{0});
    }
    BackwardBlock(arena, block, targets, scale, gradient);
    BackwardDenseKeys(arena, block, gradient);
  }
  for (int64_t i = 0; i < sums; ++i) {
    weighted_sums_[i] = Simd<T>::Sum(Simd<T>::Load(weighted_.data() + i * kLanes));
  }
  attention_.Backward(arena, keys_, positions_, weighted_sums_.data(), gradient, dx_);
}

template <typename T>
void LayerPass<T>::BackwardBlock(const T* arena, int block, absl::Span<const int32_t> targets,
                                 T scale, T* gradient) {
  using S = Simd<T>;
  const T* u = places_.u_block(arena, block);
  T* du = places_.u_block(gradient, block);
  T* dbias = places_.has_bias ? gradient + places_.bias + int64_t{block} * kBlock<T> : nullptr;
  const int32_t* end = terms_end_.data();
  const Term* term = terms_.data();
  for (int64_t m = 0; m < positions_; ++m) {
    Strip<T> g;
    T* stored_row = stored(block) + m * kBlock<T>;
    g.Load(stored_row);
    g.Scale(reference_[int64_t{block} * positions_ + m]);
    if (!targets.empty() && targets[static_cast<size_t>(m)] / kBlock<T> == block) {
      g.Store(stored_row);
      stored_row[targets[static_cast<size_t>(m)] % kBlock<T>] -= scale;
      g.Load(stored_row);
    }
    if (dbias != nullptr) g.AddTo(1, dbias);
    T* weighted = weighted_.data() + m * num_keys_ * S::kLanes;
    for (const int k : sparse_keys_) {
      typename S::Reg sum = S::Load(weighted + k * S::kLanes);
      for (const Term* last = terms_.data() + *end++; term != last; ++term) {
        sum = S::MulAdd(S::Broadcast(term->coefficient), g.Dot(u + term->offset), sum);
        g.AddTo(term->coefficient, du + term->offset);
      }
      S::Store(weighted + k * S::kLanes, sum);
    }
    for (size_t d = 0; d < dense_keys_.size(); ++d) {
      DenseKey& dense = dense_keys_[d];
      const int64_t at = m * static_cast<int64_t>(dense_keys_.size()) + static_cast<int64_t>(d);
      const int64_t row = int64_t{dense_row_[at]} * kBlock<T>;
      T* sum = weighted + dense.key * S::kLanes;
      const typename S::Reg dot = g.Dot(ProductsOf(dense, block) + row);
      S::Store(sum, S::MulAdd(S::Broadcast(dense_coefficient_[at]), dot, S::Load(sum)));
      g.AddTo(dense_coefficient_[at], dense.d_products.data() + row);
    }
  }
}

// dU_k += X_k' d_products, and for o keys dX_k += d_products U_k'.
template <typename T>
void LayerPass<T>::BackwardDenseKeys(const T* arena, int block, T* gradient) {
  for (DenseKey& dense : dense_keys_) {
    const KeyRows<T>& key = keys_[dense.key];
    const int64_t first_row = int64_t{places_.shape->KeyOffset(dense.key)} * kBlock<T>;
    Gemm<true, T>(key.dim(), kBlock<T>, key.rows(), {key.dense_transposed(), key.rows(), 1},
                  dense.d_products.data(), kBlock<T>, places_.u_block(gradient, block) + first_row,
                  kBlock<T>);
    if (!key.lower()) continue;
    const T* u = places_.u_block(arena, block) + first_row;
    for (int j = 0; j < key.dim(); ++j) {
      for (int i = 0; i < kBlock<T>; ++i) {
        dense.u_transposed[int64_t{i} * key.stride() + j] = u[j * kBlock<T> + i];
      }
    }
    Gemm<true, T>(key.rows(), key.stride(), kBlock<T>, {dense.d_products.data(), kBlock<T>, 1},
                  dense.u_transposed.data(), key.stride(), dense.d_rows.data(), key.stride());
  }
}

template <typename T>
bool LayerPass<T>::ok() const {
  return terms_.ok() && stored_.ok() == (options_.train || options_.lower) && max_.ok() &&
         weighted_.ok() == options_.train &&
         std::ranges::all_of(dense_keys_, [](const DenseKey& d) { return d.products.ok(); });
}

template class LayerPass<float>;
template class LayerPass<double>;

}  // namespace saffron
