// Muon: hidden matrices move by their orthogonalised momentum, everything else by AdamW.
// Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. With mu =
// muon_momentum and R = muon_rate lr:
//
//   m <- mu m + (1 - mu) g;  u = mu m + (1 - mu) g
//   X = u / (|u|_F + 1e-7); five times: A = X X', X <- a X + (b A + c A^2) X
//   W <- (1 - R weight_decay) W - R sqrt(max(1, out / in)) X
//
// (a, b, c) = (3.4445, -4.7750, 2.0315), which sends the singular values of X to about 1. The
// formula is symmetric under transposition, so X stands on its longer side; `out` and `in` are the
// columns and rows of our W[in, out].

#include <algorithm>
#include <cmath>

#include "core/math/aligned_array.h"
#include "core/math/gemm.h"
#include "core/optim/adam_update.h"
#include "core/optim/optimizer_table.h"
#include "core/optim/tensor_rows.h"

namespace saffron {
namespace {

constexpr int kIterations = 5;
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kNormFloor = 1e-7;

// Columns of what Gemm writes.
template <typename T>
int64_t Padded(int64_t n) {
  constexpr int64_t kColumns = 2 * Simd<T>::kLanes;
  return (n + kColumns - 1) / kColumns * kColumns;
}

// Scratch for matrices of up to `elements` (padded) elements with a shorter side of at most
// `short_max`.
template <typename T>
class NewtonSchulz {
 public:
  NewtonSchulz() = default;
  // Room for every shape that is then asked for.
  void Grow(int64_t rows, int64_t cols) {
    const int64_t r = std::min(rows, cols), c = std::max(rows, cols);
    wide_ = std::max(wide_, r * Padded<T>(c));
    tall_ = std::max(tall_, c * Padded<T>(r));
    square_ = std::max(square_, r * Padded<T>(r));
  }
  bool Allocate() {
    x_ = AlignedArray<T>(wide_);
    y_ = AlignedArray<T>(wide_);
    xt_ = AlignedArray<T>(tall_);
    a_ = AlignedArray<T>(square_);
    b_ = AlignedArray<T>(square_);
    return wide_ == 0 || (x_.ok() && y_.ok() && xt_.ok() && a_.ok() && b_.ok());
  }

  // u[rows, cols] <- the five iterations of it.
  void Orthogonalize(int64_t rows, int64_t cols, T* u) {
    const bool turned = rows > cols;
    const int64_t r = std::min(rows, cols), c = std::max(rows, cols);
    const int64_t ld = Padded<T>(c);
    const T scale = static_cast<T>(1 / (std::sqrt(SumOfSquares(u, rows * cols)) + kNormFloor));
    for (int64_t i = 0; i < r; ++i) {
      T* x = x_.data() + i * ld;
      for (int64_t j = 0; j < c; ++j) x[j] = scale * (turned ? u[j * cols + i] : u[i * cols + j]);
      std::fill(x + c, x + ld, T{0});
    }
    for (int iteration = 0; iteration < kIterations; ++iteration) Iterate(r, c, ld);
    for (int64_t i = 0; i < r; ++i) {
      const T* x = x_.data() + i * ld;
      for (int64_t j = 0; j < c; ++j) (turned ? u[j * cols + i] : u[i * cols + j]) = x[j];
    }
  }

 private:
  void Iterate(int64_t r, int64_t c, int64_t ld) {
    const int64_t ldr = Padded<T>(r);
    T *x = x_.data(), *xt = xt_.data(), *a = a_.data(), *b = b_.data(), *y = y_.data();
    for (int64_t j = 0; j < c; ++j) {
      for (int64_t i = 0; i < r; ++i) xt[j * ldr + i] = x[i * ld + j];
      std::fill(xt + j * ldr + r, xt + (j + 1) * ldr, T{0});
    }
    Gemm<false, T>(r, ldr, c, {x, ld, 1}, xt, ldr, a, ldr);  // A = X X'
    Gemm<false, T>(r, ldr, r, {a, ldr, 1}, a, ldr, b, ldr);  // A^2
    for (int64_t i = 0; i < r * ldr; ++i)
      b[i] = static_cast<T>(kB) * a[i] + static_cast<T>(kC) * b[i];
    Gemm<false, T>(r, ld, r, {b, ldr, 1}, x, ld, y, ld);
    for (int64_t i = 0; i < r * ld; ++i) x[i] = static_cast<T>(kA) * x[i] + y[i];
  }

  int64_t wide_ = 0, tall_ = 0, square_ = 0;
  AlignedArray<T> x_, y_, xt_, a_, b_;
};

template <typename T>
class Muon final : public Optimizer<T> {
 public:
  explicit Muon(const OptimizerConfig& config) : config_(config), adam_(config, 1, 0) {}
  bool decays() const override { return config_.weight_decay > 0; }

  std::vector<StateArray<T>> State() override {
    std::vector<StateArray<T>> state;
    for (const Place& place : places_) {
      const ParameterTensor& tensor = place.tensor;
      const auto add = [&](const char* slot, StateKind kind, int64_t at) {
        ParameterTensor view = tensor;
        view.begin = view.block = 0;
        state.push_back({view, slot, kind,
                         absl::MakeSpan(state_.data() + at, static_cast<size_t>(tensor.size()))});
      };
      if (hidden(tensor)) {
        add("momentum", StateKind::kFirst, place.first);
      } else {
        add("m", StateKind::kFirst, place.first);
        add("v", StateKind::kSecond, place.second);
      }
    }
    return state;
  }

 private:
  struct Place {
    ParameterTensor tensor;
    int64_t first = 0, second = 0;  // in state_
  };

  static bool hidden(const ParameterTensor& tensor) { return tensor.role == TensorRole::kHidden; }

  absl::Status Allocate(const ParameterArena<T>& arena) override {
    if (arena.tensors().empty()) {
      return absl::FailedPreconditionError(
          "muon looks for hidden matrices, but the model names no tensors");
    }
    int64_t size = 0, cols_max = 0, hidden_max = 0;
    const auto take = [&size](int64_t n) {
      const int64_t at = size;
      size += (n + 15) / 16 * 16;
      return at;
    };
    for (const ParameterTensor& tensor : arena.tensors()) {
      Place place = {.tensor = tensor, .first = take(tensor.size())};
      if (hidden(tensor)) {
        schulz_.Grow(tensor.rows, tensor.cols);
        hidden_max = std::max(hidden_max, tensor.size());
      } else {
        place.second = take(tensor.size());
      }
      cols_max = std::max(cols_max, tensor.cols);
      places_.push_back(std::move(place));
    }
    state_ = AlignedArray<T>(size);
    update_ = AlignedArray<T>(hidden_max);
    const bool ok = state_.ok() && scratch_.Allocate(cols_max) && (hidden_max == 0 || update_.ok());
    if (ok && schulz_.Allocate()) return absl::OkStatus();
    return absl::ResourceExhaustedError("no memory for the state of muon");
  }

  void Update(ParameterArena<T>& arena, int64_t step, double lr) override {
    adam_ = AdamStep<T>(config_, step, lr);
    const T keep = static_cast<T>(1 - lr * config_.weight_decay);
    for (const Place& place : places_) {
      TensorRows<T> rows(arena, place.tensor, scratch_);
      if (rows.frozen()) continue;
      if (hidden(place.tensor)) {
        UpdateHidden(place, rows, lr * config_.muon_rate);
        continue;
      }
      const int64_t n = place.tensor.cols;
      for (int64_t i = 0; i < place.tensor.rows; ++i) {
        AdamUpdate<T>(adam_, rows.decay() ? keep : T{1}, rows.Get(i), rows.Gradient(i),
                      state_.data() + place.first + i * n, state_.data() + place.second + i * n, n);
        rows.Put(i);
      }
    }
  }

  void UpdateHidden(const Place& place, TensorRows<T>& rows, double rate) {
    const int64_t m = place.tensor.rows, n = place.tensor.cols;
    const T mu = static_cast<T>(config_.muon_momentum);
    const T rest = static_cast<T>(1 - config_.muon_momentum);
    T* mean = state_.data() + place.first;
    for (int64_t i = 0; i < m; ++i) {
      const T* g = rows.Gradient(i);
      for (int64_t j = 0, at = i * n; j < n; ++j, ++at) {
        mean[at] = mu * mean[at] + rest * g[j];
        update_[at] = rest * g[j] + mu * mean[at];
      }
    }
    schulz_.Orthogonalize(m, n, update_.data());
    const double shape = std::sqrt(std::max(1.0, static_cast<double>(n) / static_cast<double>(m)));
    const T scale = static_cast<T>(rate * shape);
    const T keep = static_cast<T>(rows.decay() ? 1 - rate * config_.weight_decay : 1);
    for (int64_t i = 0; i < m; ++i) {
      T* p = rows.Get(i);
      for (int64_t j = 0; j < n; ++j) p[j] = keep * p[j] - scale * update_[i * n + j];
      rows.Put(i);
    }
  }

  const OptimizerConfig config_;
  AdamStep<T> adam_;
  std::vector<Place> places_;
  AlignedArray<T> state_, update_;
  RowScratch<T> scratch_;
  NewtonSchulz<T> schulz_;
};

}  // namespace

template <typename T>
std::unique_ptr<Optimizer<T>> MakeMuon(const OptimizerConfig& config) {
  return std::make_unique<Muon<T>>(config);
}
template std::unique_ptr<Optimizer<float>> MakeMuon<float>(const OptimizerConfig&);
template std::unique_ptr<Optimizer<double>> MakeMuon<double>(const OptimizerConfig&);

}  // namespace saffron
