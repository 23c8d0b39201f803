#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/layers/softmax_loss.h"
#include "core/layers/softmax_regression.h"

namespace saffron {

template <typename T>
absl::StatusOr<OneHotSoftmaxRegression<T>> OneHotSoftmaxRegression<T>::Create(
    int lags, int vocab, const Options& options) {
  CHECK(lags >= 1 && vocab >= 1 && options.batch_max >= 1);
  OneHotSoftmaxRegression model;
  model.lags_ = lags;
  model.vocab_ = vocab;
  model.batch_max_ = options.batch_max;
  model.padding_ = options.padding;
  const int64_t rows = int64_t{lags} * vocab;
  const int64_t rows_in_batch = int64_t{lags} * std::min(options.batch_max, vocab);
  ASSIGN_OR_RETURN(model.arena_,
                   ParameterArena<T>::Create({.parameters = (rows + 1) * vocab,
                                              .gradients = (rows_in_batch + 1) * vocab}));
  model.z_.resize(vocab);
  model.sorted_.reserve(options.batch_max);
  model.slot_of_row_.assign(rows, -1);
  model.had_gradient_.assign(rows, 0);
  model.rows_.reserve(rows_in_batch);
  model.arena_.segments().reserve(rows + 1);
  for (int lag = 1; lag <= lags; ++lag) {
    model.arena_.tensors().push_back({.name = absl::StrCat("w.", lag),
                                      .begin = int64_t{lag - 1} * vocab * vocab,
                                      .rows = vocab,
                                      .cols = vocab,
                                      .role = TensorRole::kReadout});
  }
  model.arena_.tensors().push_back({.name = "bias", .begin = rows * vocab, .cols = vocab});
  model.ListSegments();
  return model;
}

// Index of the row of W that `lag` chooses.
template <typename T>
int64_t OneHotSoftmaxRegression<T>::RowOf(absl::Span<const int32_t> stream, int64_t position,
                                          int lag) const {
  const int64_t at = position - lag;
  const int32_t id = at < 0 ? padding_ : stream[static_cast<size_t>(at)];
  return int64_t{lag - 1} * vocab_ + id;
}

// What one target brings into the cache serves the next ones with the same last token.
template <typename T>
void OneHotSoftmaxRegression<T>::SortByLastToken(absl::Span<const int32_t> stream,
                                                 absl::Span<const int64_t> positions) {
  sorted_.assign(positions.begin(), positions.end());
  std::ranges::sort(sorted_, [&](int64_t a, int64_t b) {
    const int64_t row_a = RowOf(stream, a, 1), row_b = RowOf(stream, b, 1);
    return row_a != row_b ? row_a < row_b : a < b;
  });
}

template <typename T>
void OneHotSoftmaxRegression<T>::Logits(absl::Span<const int32_t> stream, int64_t position) {
  std::ranges::copy(bias(), z_.begin());
  for (int lag = 1; lag <= lags_; ++lag) {
    const T* row = arena_.parameters().data() + RowOf(stream, position, lag) * vocab_;
    for (int i = 0; i < vocab_; ++i) z_[i] += row[i];
  }
}

// The place of the row's gradient; zero at its first use in a step.
template <typename T>
T* OneHotSoftmaxRegression<T>::GradientOfRow(int64_t row) {
  const bool first = slot_of_row_[row] < 0;
  if (first) {
    rows_.push_back(row);
    slot_of_row_[row] = static_cast<int32_t>(rows_.size());  // slot 0 is the bias's
    had_gradient_[row] = 1;
  }
  T* gradient = arena_.gradients().data() + int64_t{slot_of_row_[row]} * vocab_;
  if (first) std::fill_n(gradient, vocab_, T{0});
  return gradient;
}

template <typename T>
double OneHotSoftmaxRegression<T>::LossAndGradient(absl::Span<const int32_t> stream,
                                                   absl::Span<const int64_t> positions) {
  const int64_t n = static_cast<int64_t>(positions.size());
  CHECK(n >= 1 && n <= batch_max_) << "batch of " << n << ", at most " << batch_max_;
  SortByLastToken(stream, positions);
  rows_.clear();
  T* dbias = arena_.gradients().data();
  std::fill_n(dbias, vocab_, T{0});
  const T scale = static_cast<T>(1.0 / static_cast<double>(n));
  double nats = 0;
  for (const int64_t position : sorted_) {
    Logits(stream, position);
    nats +=
        SoftmaxGradientInPlace<T>(z_.data(), vocab_, stream[static_cast<size_t>(position)], scale);
    for (int i = 0; i < vocab_; ++i) dbias[i] += z_[i];
    for (int lag = 1; lag <= lags_; ++lag) {
      T* gradient = GradientOfRow(RowOf(stream, position, lag));
      for (int i = 0; i < vocab_; ++i) gradient[i] += z_[i];
    }
  }
  ListSegments();
  for (const int64_t row : rows_) slot_of_row_[row] = -1;
  return nats / static_cast<double>(n);
}

// Every row with a gradient on its own; neighbours without one, of the same kind, together.
template <typename T>
void OneHotSoftmaxRegression<T>::ListSegments() {
  std::vector<ParameterSegment<T>>& segments = arena_.segments();
  segments.clear();
  const int64_t rows = int64_t{lags_} * vocab_;
  T* gradients = arena_.gradients().data();
  for (int64_t row = 0; row < rows; ++row) {
    const bool idle = had_gradient_[row] == 0;
    const int32_t slot = slot_of_row_[row];
    if (slot < 0 && !segments.empty() && segments.back().gradient == nullptr &&
        segments.back().idle == idle) {
      segments.back().size += vocab_;
      continue;
    }
    segments.push_back({.begin = row * vocab_,
                        .size = vocab_,
                        .gradient = slot < 0 ? nullptr : gradients + int64_t{slot} * vocab_,
                        .decay = true,
                        .idle = idle});
  }
  segments.push_back({.begin = rows * vocab_, .size = vocab_, .gradient = gradients});
}

// Which rows have state is the optimiser's knowledge: all may, and those that do not are moved by
// zeros.
template <typename T>
void OneHotSoftmaxRegression<T>::ArenaRestored() {
  std::fill(had_gradient_.begin(), had_gradient_.end(), 1);
  ListSegments();
}

template <typename T>
Evaluation OneHotSoftmaxRegression<T>::Evaluate(absl::Span<const int32_t> stream, int64_t first) {
  std::vector<int64_t> positions;
  for (int64_t t = first; t < static_cast<int64_t>(stream.size()); ++t) positions.push_back(t);
  return Evaluate(stream, positions);
}

template <typename T>
Evaluation OneHotSoftmaxRegression<T>::Evaluate(absl::Span<const int32_t> stream,
                                                absl::Span<const int64_t> positions) {
  SortByLastToken(stream, positions);
  Evaluation result;
  for (const int64_t position : sorted_) {
    Logits(stream, position);
    AddTarget<T>(z_.data(), vocab_, stream[static_cast<size_t>(position)], result);
  }
  return result;
}

template <typename T>
absl::Span<T> OneHotSoftmaxRegression<T>::weights(int lag) {
  CHECK(lag >= 1 && lag <= lags_) << "lag " << lag << " of " << lags_;
  const size_t size = static_cast<size_t>(vocab_) * vocab_;
  return arena_.parameters().subspan((lag - 1) * size, size);
}

template <typename T>
absl::Span<T> OneHotSoftmaxRegression<T>::bias() {
  return arena_.parameters().last(static_cast<size_t>(vocab_));
}

template class OneHotSoftmaxRegression<float>;
template class OneHotSoftmaxRegression<double>;

}  // namespace saffron
