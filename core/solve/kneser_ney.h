#pragma once
// Interpolated Kneser-Ney n-grams: Kneser & Ney, ICASSP 1995; interpolation and modified discounts
// from Chen & Goodman, "An empirical study of smoothing techniques for language modeling", 1999.
//
//   P(i|h) = (c_hi - D(c_hi) + sum_j D(c_hj) P(i|h-)) / c_h      (h- : h without its oldest token)
//
// c are counts at the highest order and continuation counts (distinct left neighbours) below it.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/solve/discounts.h"

namespace saffron {

class KneserNeyModel {
 public:
  // `train` is one continuous stream: n-grams cross document ends, <eod> being a token like others.
  // INVALID_ARGUMENT for order outside 2..5 or a stream shorter than the order.
  static absl::StatusOr<KneserNeyModel> Fit(absl::Span<const int32_t> train, int vocab, int order,
                                            Discounts discounts);
  KneserNeyModel(KneserNeyModel&&) noexcept;
  KneserNeyModel& operator=(KneserNeyModel&&) noexcept;
  ~KneserNeyModel();

  // -log P(stream[t] | what precedes it in `stream`) for t = first, ..., in nats. Thread-safe.
  std::vector<double> Nats(absl::Span<const int32_t> stream, int first) const;
  // P(. | history), all `vocab` of them, summing to one. `history`: oldest token first.
  std::vector<double> Distribution(absl::Span<const int32_t> history) const;
  // Stored counts of all orders.
  int64_t parameters() const;

 private:
  struct Impl;
  explicit KneserNeyModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
