// Adafactor: squared gradients of a matrix kept as the means of its rows and columns alone.
// Shazeer & Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018,
// algorithms 4 to 6. With q = g^2 + e1 and beta = 1 - t^-square_exponent:
//
//   r <- beta r + (1 - beta) mean of q over columns     c likewise over rows
//   V = r c' / mean(r)                                  (vectors and small matrices: V itself)
//   u = g / sqrt(V);  u <- u / max(1, RMS(u) / update_clip)
//   a = rate max(e2, RMS(p))                            rate = lr, or min(0.01, 1 / sqrt(t))
//   p <- (1 - a weight_decay) p - a u
//
// with e1 = 1e-30, e2 = 1e-3. With update_momentum b the mean a u of the updates, m <- b m + (1 -
// b) a u, is taken in place of a u. `a` is computed afresh from lr in every step: training code
// that writes it back into lr compounds it.

#include <algorithm>
#include <cmath>

#include "core/math/aligned_array.h"
#include "core/optim/optimizer_table.h"
#include "core/optim/tensor_rows.h"

namespace saffron {
namespace {

constexpr double kEpsilon1 = 1e-30, kEpsilon2 = 1e-3;

template <typename T>
class Adafactor final : public Optimizer<T> {
 public:
  explicit Adafactor(const OptimizerConfig& config) : config_(config) {}
  bool decays() const override { return config_.weight_decay > 0; }

  std::vector<StateArray<T>> State() override {
    std::vector<StateArray<T>> state;
    for (const Place& place : places_) {
      const ParameterTensor& tensor = place.tensor;
      const auto add = [&](const char* slot, StateKind kind, int64_t at, int64_t rows,
                           int64_t cols) {
        ParameterTensor view = tensor;
        view.begin = view.block = 0;
        view.rows = rows;
        view.cols = cols;
        state.push_back({view, slot, kind,
                         absl::MakeSpan(state_.data() + at, static_cast<size_t>(rows * cols))});
      };
      if (place.factored) {
        add("row", StateKind::kSecond, place.row, tensor.rows, 1);
        add("column", StateKind::kSecond, place.column, 1, tensor.cols);
      } else {
        add("v", StateKind::kSecond, place.row, tensor.rows, tensor.cols);
      }
      if (averages()) add("update", StateKind::kUpdate, place.mean, tensor.rows, tensor.cols);
    }
    return state;
  }

 private:
  struct Place {
    ParameterTensor tensor;
    bool factored = false;
    // In state_: means of rows, or all of V; means of columns; mean of updates.
    int64_t row = 0, column = 0, mean = 0;
  };

  bool averages() const { return config_.update_momentum > 0; }

  absl::Status Allocate(const ParameterArena<T>& arena) override {
    if (arena.tensors().empty()) {
      return absl::FailedPreconditionError(
          "adafactor looks at rows and columns, but the model names no tensors");
    }
    int64_t size = 0, cols_max = 0, rows_max = 0;
    const auto take = [&size](int64_t n) {
      const int64_t at = size;
      size += (n + 15) / 16 * 16;
      return at;
    };
    for (const ParameterTensor& tensor : arena.tensors()) {
      Place place = {.tensor = tensor};
      place.factored = tensor.role != TensorRole::kVector &&
                       std::min(tensor.rows, tensor.cols) >= config_.factored_min;
      place.row = take(place.factored ? tensor.rows : tensor.size());
      if (place.factored) place.column = take(tensor.cols);
      if (averages()) place.mean = take(tensor.size());
      rows_max = std::max(rows_max, tensor.rows);
      cols_max = std::max(cols_max, tensor.cols);
      places_.push_back(std::move(place));
    }
    state_ = AlignedArray<T>(size);
    column_ = AlignedArray<T>(cols_max);
    row_ = AlignedArray<double>(rows_max);
    update_ = AlignedArray<T>(cols_max);
    const bool has_scratch = scratch_.Allocate(cols_max);
    if (state_.ok() && has_scratch && column_.ok() && row_.ok() && update_.ok()) {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError("no memory for the state of adafactor");
  }

  void Update(ParameterArena<T>& arena, int64_t step, double lr) override {
    const double t = static_cast<double>(step);
    beta_ = 1 - std::pow(t, -config_.square_exponent);
    const double rate = config_.relative_step ? std::min(1e-2, 1 / std::sqrt(t)) : lr;
    for (const Place& place : places_) {
      const ParameterTensor& tensor = place.tensor;
      TensorRows<T> rows(arena, tensor, scratch_);
      if (rows.frozen() || tensor.size() == 0) continue;
      const double square = place.factored ? Factor(place, rows) : Square(place, rows);
      const double size = static_cast<double>(tensor.size());
      const double clip = std::max(1.0, std::sqrt(square / size) / config_.update_clip);
      double step_size = rate;
      if (config_.scale_parameter) {
        double norm = 0;
        for (int64_t i = 0; i < tensor.rows; ++i) norm += SumOfSquares(rows.Get(i), tensor.cols);
        step_size *= std::max(kEpsilon2, std::sqrt(norm / size));
      }
      const double keep = rows.decay() ? 1 - step_size * config_.weight_decay : 1;
      Apply(place, rows, static_cast<T>(step_size / clip), static_cast<T>(keep));
    }
  }

  // Moves the means of rows and columns on. Leaves 1 / sqrt(r_i / mean(r)) in row_ and 1 /
  // sqrt(c_j) in column_; returns the sum of the squares of g / sqrt(V).
  double Factor(const Place& place, TensorRows<T>& rows) {
    const ParameterTensor& tensor = place.tensor;
    const int64_t m = tensor.rows, n = tensor.cols;
    T* r = state_.data() + place.row;
    T* c = state_.data() + place.column;
    std::fill_n(column_.data(), n, T{0});
    double mean_r = 0;
    for (int64_t i = 0; i < m; ++i) {
      const T* g = rows.Gradient(i);
      const double mean = SumOfSquares(g, n) / static_cast<double>(n) + kEpsilon1;
      r[i] = static_cast<T>(beta_ * r[i] + (1 - beta_) * mean);
      mean_r += static_cast<double>(r[i]);
      for (int64_t j = 0; j < n; ++j) column_[j] += g[j] * g[j];
    }
    mean_r /= static_cast<double>(m);
    const T beta = static_cast<T>(beta_), share = static_cast<T>((1 - beta_) / m);
    const T floor = static_cast<T>((1 - beta_) * kEpsilon1);
    for (int64_t j = 0; j < n; ++j) {
      c[j] = beta * c[j] + (share * column_[j] + floor);
      column_[j] = T{1} / std::sqrt(c[j]);
    }
    double square = 0;
    for (int64_t i = 0; i < m; ++i) {
      row_[i] = std::sqrt(mean_r / static_cast<double>(r[i]));
      const T* g = rows.Gradient(i);
      for (int64_t j = 0; j < n; ++j) update_[j] = g[j] * column_[j];
      square += row_[i] * row_[i] * SumOfSquares(update_.data(), n);
    }
    return square;
  }

  // Moves V on; returns the sum of the squares of g / sqrt(V).
  double Square(const Place& place, TensorRows<T>& rows) {
    const ParameterTensor& tensor = place.tensor;
    T* v = state_.data() + place.row;
    const T beta = static_cast<T>(beta_), rest = static_cast<T>(1 - beta_);
    const T floor = static_cast<T>((1 - beta_) * kEpsilon1);
    double square = 0;
    for (int64_t i = 0; i < tensor.rows; ++i, v += tensor.cols) {
      const T* g = rows.Gradient(i);
      for (int64_t j = 0; j < tensor.cols; ++j) {
        v[j] = beta * v[j] + (rest * g[j] * g[j] + floor);
        update_[j] = g[j] / std::sqrt(v[j]);
      }
      square += SumOfSquares(update_.data(), tensor.cols);
    }
    return square;
  }

  // p <- keep p - rate g / sqrt(V), or minus the mean of that.
  void Apply(const Place& place, TensorRows<T>& rows, T rate, T keep) {
    const int64_t n = place.tensor.cols;
    const T* v = state_.data() + place.row;
    T* mean = state_.data() + place.mean;
    const T momentum = static_cast<T>(config_.update_momentum);
    const T rest = static_cast<T>(1 - config_.update_momentum);
    for (int64_t i = 0; i < place.tensor.rows; ++i) {
      const T* g = rows.Gradient(i);
      if (place.factored) {
        const T scale = rate * static_cast<T>(row_[i]);
        for (int64_t j = 0; j < n; ++j) update_[j] = scale * (g[j] * column_[j]);
      } else {
        for (int64_t j = 0; j < n; ++j) update_[j] = rate * (g[j] / std::sqrt(v[i * n + j]));
      }
      if (averages()) {
        T* m = mean + i * n;
        for (int64_t j = 0; j < n; ++j) update_[j] = m[j] = momentum * m[j] + rest * update_[j];
      }
      T* p = rows.Get(i);
      for (int64_t j = 0; j < n; ++j) p[j] = keep * p[j] - update_[j];
      rows.Put(i);
    }
  }

  const OptimizerConfig config_;
  double beta_ = 0;
  std::vector<Place> places_;
  AlignedArray<T> state_;
  RowScratch<T> scratch_;
  AlignedArray<T> column_, update_;
  AlignedArray<double> row_;
};

}  // namespace

template <typename T>
std::unique_ptr<Optimizer<T>> MakeAdafactor(const OptimizerConfig& config) {
  return std::make_unique<Adafactor<T>>(config);
}
template std::unique_ptr<Optimizer<float>> MakeAdafactor<float>(const OptimizerConfig&);
template std::unique_ptr<Optimizer<double>> MakeAdafactor<double>(const OptimizerConfig&);

}  // namespace saffron
