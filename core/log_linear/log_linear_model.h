#pragma once
// Log-linear language models solved in closed form: tables by counting, gains by a convex fit.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/position_evidence.h"
#include "core/solve/statistics_cache.h"

namespace saffron {

// What the fit of the gains came to.
struct GainFitReport {
  int64_t targets = 0;
  double nats = 0;            // of a held-out target, tables without the hold-out
  int evaluations = 0;        // passes over all the targets
  std::vector<int64_t> uses;  // [gains] held-out rows that a gain weighed
};

class LogLinearModel {
 public:
  // 1. counts every target of data.train but the hold-out and solves the tables, 2. fits the gains
  // to the hold-out, 3. counts the hold-out too and solves again. Tables and gains are taken from
  // the cache where it has them. INVALID_ARGUMENT for fewer than kSolveTokensMin tokens; errors of
  // the cache.
  static absl::StatusOr<LogLinearModel> Solve(const LogLinearSpec& spec, const TextDataset& data,
                                              StatisticsCache& cache);

  // -log P(stream[t] | what precedes it) of ascending targets, in nats. Thread-safe.
  // kLeftOut: `stream` is the one that was counted.
  std::vector<double> Nats(absl::Span<const int32_t> stream, absl::Span<const int64_t> targets,
                           Counted counted = Counted::kAsIs) const;

  const LogLinearShape& shape() const { return shape_; }
  const LogLinearTables<float>& tables() const { return tables_; }
  LogLinearTables<float>& mutable_tables() { return tables_; }  // for training what is in them
  const std::vector<double>& gains() const { return gains_; }   // [shape().gains]
  void set_gains(std::vector<double> gains) { gains_ = std::move(gains); }  // as many as before
  // By name of the key: the mean of its gains over the rows of the hold-out (over its classes where
  // nothing was fitted).
  std::map<std::string, double> MeanGains() const;
  const GainFitReport& fit() const { return fit_; }
  // Stored counts, and gains.
  int64_t parameters() const { return tables_.entries() + shape_.gains; }

 private:
  explicit LogLinearModel(LogLinearShape shape) : shape_(std::move(shape)) {}

  LogLinearShape shape_;
  LogLinearTables<float> tables_;
  std::vector<double> gains_;
  GainFitReport fit_;
};

}  // namespace saffron
