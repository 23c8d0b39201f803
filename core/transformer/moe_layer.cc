#include "core/transformer/moe_layer.h"

#include <algorithm>
#include <cmath>

#include "core/math/lanes.h"
#include "core/transformer/dropout.h"

namespace saffron {
namespace {

// Sites of a training step's draws, apart from those of the layers' own dropout.
constexpr uint32_t kSite = 0x40000000, kSitesPerLayer = 4;
enum Site : uint32_t { kJitter, kPolicy, kExpertDropout };

uint64_t DrawIndex(int64_t step, int64_t index) {
  return (static_cast<uint64_t>(step) << 36) + static_cast<uint64_t>(index);
}

template <typename T>
void Scale(int64_t n, double by, const T* x, T* y) {
  const T factor = static_cast<T>(by);
  ForLanes<T>(n, [=]<typename S>(int64_t i) {
    S::Store(y + i, S::Mul(S::Broadcast(factor), S::Load(x + i)));
  });
}

template <typename T>
void AddScaled(int64_t n, double by, const T* x, T* y) {
  const T factor = static_cast<T>(by);
  ForLanes<T>(n, [=]<typename S>(int64_t i) {
    S::Store(y + i, S::MulAdd(S::Broadcast(factor), S::Load(x + i), S::Load(y + i)));
  });
}

template <typename T>
double Dot(int64_t n, const T* x, const T* y) {
  return static_cast<double>(SumLanes<T>(
      n, [=]<typename S>(int64_t i) { return S::Mul(S::Load(x + i), S::Load(y + i)); }));
}

}  // namespace

template <typename T>
MoeScratch<T> TakeMoeScratch(const TransformerShape& shape, int64_t rows, Workspace<T>& workspace) {
  int64_t choices = 0, units = 0, experts = 0;
  for (const TransformerLayerShape& layer : shape.layers) {
    if (!layer.moe.sparse()) continue;
    choices = std::max(choices, rows * layer.moe.top);
    units = std::max<int64_t>(units, layer.mlp_width);
    experts = std::max<int64_t>(experts, layer.moe.experts);
  }
  MoeScratch<T> scratch;
  if (experts == 0) return scratch;
  scratch.dy = workspace.TakeRows(choices, shape.width);
  scratch.mlp.units = workspace.TakeRows(choices, units);
  if (IsGated(shape.mlp)) scratch.mlp.linear = workspace.TakeRows(choices, units);
  scratch.ds = workspace.template TakeRowsAs<double>(rows, experts);
  scratch.dx = workspace.template TakeRowsAs<double>(rows, shape.width);
  scratch.dw = workspace.template TakeAs<double>(shape.width * experts);
  return scratch;
}

template <typename T>
MoeLayer<T>::MoeLayer(const TransformerShape& shape, const TransformerLayout& layout, int index,
                      const T* params, const MoeTraining& training, uint64_t seed, int64_t rows,
                      bool train, Workspace<T>& workspace)
    : moe_(&shape.layers[index].moe),
      width_(shape.width),
      mlp_width_(shape.layers[index].mlp_width),
      index_(index),
      places_(layout.layers[index].moe),
      training_(training),
      seed_(seed) {
  const int64_t experts = moe_->experts, choices = rows * moe_->top;
  for (const MlpPlaces& places : places_.experts) {
    experts_.push_back(TakeMlpWeights(shape, places, mlp_width_, params, train, workspace));
  }
  const auto doubles = [&](int64_t n) { return workspace.template TakeAs<double>(n); };
  router_ = {width_, experts, doubles(PackedSize<double>(width_, experts)),
             train ? doubles(PackedSize<double>(experts, width_)) : nullptr};
  router_copy_ = doubles(width_ * experts);
  x_ = workspace.template TakeRowsAs<double>(rows, width_);
  s_ = workspace.template TakeRowsAs<double>(rows, experts);
  p_ = workspace.template TakeRowsAs<double>(rows, experts);
  if (training_.jitter > 0) jitter_ = workspace.template TakeRowsAs<double>(rows, experts);
  logsumexp_ = doubles(rows);
  uniforms_ = doubles(choices);
  shares_ = doubles(experts);
  choices_ = workspace.template TakeAs<MoeChoice>(choices);
  counts_ = workspace.template TakeAs<int32_t>(experts);
  if (moe_->slots == SlotOrder::kPriority) {
    order_ = workspace.template TakeAs<int32_t>(rows);
    first_probability_ = doubles(rows);
  }
  place_ = workspace.template TakeAs<int32_t>(choices);
  begin_ = workspace.template TakeAs<int32_t>(experts + 1);
  at_ = TakeMlpActivations(shape, choices, mlp_width_, train && training_.expert_dropout > 0,
                           workspace);
  at_.x = workspace.TakeRows(choices, width_);
  outputs_ = workspace.TakeRows(choices, width_);
}

template <typename T>
void MoeLayer<T>::Pack(const T* params, bool backward) {
  const int64_t experts = moe_->experts;
  std::copy_n(params + places_.router, width_ * experts, router_copy_);
  PackRight(width_, experts, router_copy_, experts, router_.forward);
  if (backward) {
    PackRightTransposed(experts, width_, router_copy_, experts, router_.backward);
  }
  for (int64_t e = 0; e < experts; ++e) PackMlp(params, places_.experts[e], backward, experts_[e]);
}

template <typename T>
CounterRandom MoeLayer<T>::Random(uint32_t which) const {
  return CounterRandom(seed_, RandomPurpose::kDropout,
                       kSite + kSitesPerLayer * static_cast<uint32_t>(index_) + which);
}

template <typename T>
void MoeLayer<T>::Draw(const Chunk& chunk) {
  const int64_t rows = chunk.rows(), experts = moe_->experts, top = moe_->top;
  if (moe_->second == SecondPolicy::kRandom) {
    const CounterRandom random = Random(kPolicy);
    for (int64_t i = 0; i < rows * top; ++i) {
      if (i % top > 0)
        uniforms_[i] = random.Uniform(DrawIndex(chunk.step, chunk.first_drawn * top + i));
    }
  }
  if (!chunk.train || training_.jitter == 0) return;
  const CounterRandom random = Random(kJitter);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t e = 0; e < experts; ++e) {
      const double u = random.Uniform(DrawIndex(chunk.step, (chunk.first_drawn + r) * experts + e));
      jitter_.row(r)[e] = 1 + training_.jitter * (2 * u - 1);
    }
  }
}

template <typename T>
void MoeLayer<T>::CountFirstChoices(int64_t row, int64_t length) {
  std::fill_n(shares_, moe_->experts, 0.0);
  for (int64_t t = 0; t < length; ++t) shares_[choices_[(row + t) * moe_->top].expert] += 1;
  for (int e = 0; e < moe_->experts; ++e) shares_[e] /= static_cast<double>(length);
}

template <typename T>
void MoeLayer<T>::Route(const Chunk& chunk, Rows<T> x, MoeLosses& losses) {
  const int64_t rows = chunk.rows(), experts = moe_->experts, top = moe_->top;
  for (int64_t r = 0; r < rows; ++r) std::copy_n(x.row(r), width_, x_.row(r));
  LinearForward<double>(rows, x_, router_, nullptr, s_);
  const bool jitter = chunk.train && training_.jitter > 0;
  const double share = 1 / static_cast<double>(chunk.batch);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t e = 0; jitter && e < experts; ++e) s_.row(r)[e] *= jitter_.row(r)[e];
    MoeChoice* const choices = choices_ + r * top;
    const double l = ChooseExperts(*moe_, s_.row(r), p_.row(r), choices);
    logsumexp_[r] = l;
    losses.z += share * l * l;
    if (first_probability_ != nullptr) {
      const double p = p_.row(r)[choices[0].expert];
      first_probability_[r] = p >= 0 ? p : 0;
    }
  }
  const double factor = chunk.train ? moe_->capacity_factor : moe_->eval_capacity_factor;
  for (int64_t row = 0, n; row < rows; row += n) {
    n = chunk.DocumentEnd(row) - row;
    TakeSlots(*moe_, n, ExpertCapacity(n, moe_->experts, factor), uniforms_ + row * top,
              {counts_, order_, first_probability_ == nullptr ? nullptr : first_probability_ + row},
              choices_ + row * top);
  }
  for (int64_t row = 0; row < rows; row += chunk.length) {
    CountFirstChoices(row, chunk.length);
    for (int64_t t = 0; t < chunk.length; ++t) {
      double sum = 0;
      for (int64_t e = 0; e < experts; ++e) sum += shares_[e] * p_.row(row + t)[e];
      losses.balance += share * static_cast<double>(experts) * sum;
    }
  }
}

template <typename T>
void MoeLayer<T>::Gather(const Chunk& chunk, Rows<T> x) {
  const int64_t rows = chunk.rows(), experts = moe_->experts, top = moe_->top;
  std::fill_n(counts_, experts, 0);
  for (int64_t i = 0; i < rows * top; ++i) {
    if (choices_[i].kept()) ++counts_[choices_[i].expert];
  }
  begin_[0] = 0;
  for (int64_t e = 0; e < experts; ++e) {
    begin_[e + 1] = begin_[e] + counts_[e];
    counts_[e] = begin_[e];
  }
  for (int64_t i = 0; i < rows * top; ++i) {
    if (!choices_[i].kept()) continue;
    const int32_t place = place_[i] = counts_[choices_[i].expert]++;
    std::copy_n(x.row(i / top), width_, at_.x.row(place));
    if (!chunk.train || at_.mask.data == nullptr) continue;
    const DropoutSite site{
        .rate = training_.expert_dropout,
        .seed = seed_,
        .step = chunk.step,
        .site = kSite + kSitesPerLayer * static_cast<uint32_t>(index_) + kExpertDropout};
    FillDropoutMask<T>(site, chunk.first_drawn * top + i, 1, mlp_width_,
                       {at_.mask.row(place), at_.mask.stride});
  }
}

template <typename T>
void MoeLayer<T>::Forward(const Chunk& chunk, Rows<T> x, Rows<T> y, MoeLosses& losses) {
  const int64_t rows = chunk.rows(), top = moe_->top;
  Route(chunk, x, losses);
  Gather(chunk, x);
  for (int e = 0; e < moe_->experts; ++e) {
    const int64_t count = begin_[e + 1] - begin_[e];
    if (count == 0) continue;
    MlpActivations<T> at = at_.From(begin_[e]);
    if (!chunk.train) at.mask = {};
    MlpForward(count, experts_[e], at, /*add=*/false, {outputs_.row(begin_[e]), outputs_.stride});
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::fill_n(y.row(r), width_, T{0});
    for (int64_t i = r * top; i < (r + 1) * top; ++i) {
      if (!choices_[i].kept()) continue;
      AddScaled(width_, choices_[i].gate, outputs_.row(place_[i]), y.row(r));
    }
  }
}

template <typename T>
void MoeLayer<T>::LossGradient(const Chunk& chunk, Rows<double> ds) {
  const int64_t rows = chunk.rows(), experts = moe_->experts;
  const double share = 1 / static_cast<double>(chunk.batch);
  for (int64_t row = 0; row < rows; row += chunk.length) {
    CountFirstChoices(row, chunk.length);
    for (int64_t r = row; r < row + chunk.length; ++r) {
      const double* const p = p_.row(r);
      double mean = 0;
      for (int64_t e = 0; e < experts; ++e) mean += shares_[e] * p[e];
      const double z = training_.z_loss * 2 * share * logsumexp_[r];
      const double balance = training_.balance_loss * share * static_cast<double>(experts);
      for (int64_t e = 0; e < experts; ++e) {
        ds.row(r)[e] = p[e] * (z + balance * (shares_[e] - mean));
      }
    }
  }
}

template <typename T>
void MoeLayer<T>::GateGradient(const Chunk& chunk, Rows<T> dy, const MoeScratch<T>& scratch) {
  const int64_t rows = chunk.rows(), experts = moe_->experts, top = moe_->top;
  for (int64_t r = 0; r < rows; ++r) {
    double* const ds = scratch.ds.row(r);
    const MoeChoice* const choices = choices_ + r * top;
    double mean = 0;
    for (int64_t j = 0; j < top; ++j) {
      if (!choices[j].kept()) continue;
      const int32_t place = place_[r * top + j];
      const double gain = choices[j].gate * Dot(width_, dy.row(r), outputs_.row(place));
      mean += gain;
      ds[choices[j].expert] += gain;
      Scale(width_, choices[j].gate, dy.row(r), scratch.dy.row(place));
    }
    if (moe_->gates == MoeGates::kSelected) {
      for (int64_t j = 0; j < top; ++j) ds[choices[j].expert] -= choices[j].gate * mean;
    } else {
      for (int64_t e = 0; e < experts; ++e) ds[e] -= p_.row(r)[e] * mean;
    }
  }
}

template <typename T>
void MoeLayer<T>::Backward(const Chunk& chunk, Rows<T> dy, Rows<T> dx, T* gradient,
                           const MoeScratch<T>& scratch) {
  const int64_t rows = chunk.rows(), experts = moe_->experts, top = moe_->top;
  LossGradient(chunk, scratch.ds);
  GateGradient(chunk, dy, scratch);
  if (training_.jitter > 0) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t e = 0; e < experts; ++e) scratch.ds.row(r)[e] *= jitter_.row(r)[e];
    }
  }
  GemmUnpacked<false>(width_, experts, rows, x_.transposed(), scratch.ds.data, scratch.ds.stride,
                      scratch.dw, experts);
  for (int64_t i = 0; i < width_ * experts; ++i) {
    gradient[places_.router + i] += static_cast<T>(scratch.dw[i]);
  }
  LinearBackwardInput<false>(rows, scratch.ds, router_, scratch.dx);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(scratch.dx.row(r), width_, dx.row(r));

  for (int64_t e = 0; e < experts; ++e) {
    const int64_t count = begin_[e + 1] - begin_[e];
    if (count == 0) continue;
    const Rows<T> d{scratch.dy.row(begin_[e]), scratch.dy.stride};
    MlpBackward(count, experts_[e], places_.experts[e], at_.From(begin_[e]), d, scratch.mlp, d,
                gradient);
  }
  for (int64_t i = 0; i < rows * top; ++i) {
    if (choices_[i].kept()) AddScaled(width_, 1, scratch.dy.row(place_[i]), dx.row(i / top));
  }
}

template <typename T>
MoeRoutingView MoeLayer<T>::routing(const Chunk& chunk) const {
  return {moe_->experts, moe_->top, chunk.rows(), chunk.length, choices_, p_, logsumexp_};
}

template class MoeLayer<float>;
template class MoeLayer<double>;
template MoeScratch<float> TakeMoeScratch<float>(const TransformerShape&, int64_t,
                                                 Workspace<float>&);
template MoeScratch<double> TakeMoeScratch<double>(const TransformerShape&, int64_t,
                                                   Workspace<double>&);

}  // namespace saffron
