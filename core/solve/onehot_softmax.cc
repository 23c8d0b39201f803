#include "core/solve/onehot_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/solve/calibrate.h"
#include "core/solve/count_table.h"
#include "core/solve/holdout.h"
#include "core/solve/moment_kernels.h"
#include "core/solve/unigram.h"

namespace saffron {
namespace {

EvidenceTable MakeEvidence(const CountTable& counts, const std::vector<double>& log_p,
                           double discount) {
  EvidenceTable table;
  table.begin.assign(counts.begin.begin(), counts.begin.end());
  table.next.assign(counts.next.begin(), counts.next.end());
  table.value.reserve(counts.entries());
  for (int j = 0; j < counts.rows(); ++j) {
    const double types = counts.begin[j + 1] - counts.begin[j];
    for (int32_t i = counts.begin[j]; i < counts.begin[j + 1]; ++i) {
      const double backed_off = discount * types * std::exp(log_p[counts.next[i]]);
      table.value.push_back(
          static_cast<float>(std::log1p((counts.count[i] - discount) / backed_off)));
    }
  }
  return table;
}

}  // namespace

// The softmax row of one target, on the tokens that some lag has evidence for; all others share one
// column of no evidence. Not thread-safe.
class OneHotModel::Row {
 public:
  explicit Row(const OneHotModel& model)
      : model_(model), slot_of_(model.vocab(), -1), r_(model.context()) {
    for (double log_p : model.log_p_) p_.push_back(std::exp(log_p));
  }

  // Gathers the evidence for target t of `stream`.
  void Gather(absl::Span<const int32_t> stream, int64_t t) {
    for (int32_t token : token_) slot_of_[token] = -1;
    token_.clear();
    rest_ = 1;
    for (int k = 0; k < model_.context(); ++k) {
      const EvidenceTable& table = *model_.tables_[k];
      const int32_t w = t > k ? stream[t - k - 1] : model_.padding_;
      for (int32_t e = table.begin[w]; e < table.begin[w + 1]; ++e) {
        const int32_t token = table.next[e];
        if (slot_of_[token] >= 0) continue;
        slot_of_[token] = static_cast<int32_t>(token_.size());
        token_.push_back(token);
        rest_ -= p_[token];
      }
    }
    const size_t columns = (token_.size() + 1 + kMomentLanes - 1) / kMomentLanes * kMomentLanes;
    base_.assign(columns, -std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < token_.size(); ++i) {
      base_[i] = static_cast<float>(model_.log_p_[token_[i]]);
    }
    if (rest_ > 0) base_[token_.size()] = static_cast<float>(std::log(rest_));
    z_.resize(columns);
    rows_.clear();
    for (int k = 0; k < model_.context(); ++k) {
      const EvidenceTable& table = *model_.tables_[k];
      const int32_t w = t > k ? stream[t - k - 1] : model_.padding_;
      r_[k].assign(columns, 0);
      for (int32_t e = table.begin[w]; e < table.begin[w + 1]; ++e) {
        r_[k][slot_of_[table.next[e]]] = table.value[e];
      }
      rows_.push_back(r_[k].data());
    }
  }

  // r_k of `token`.
  float Evidence(int k, int32_t token) const {
    return slot_of_[token] < 0 ? 0 : r_[k][slot_of_[token]];
  }

  // log sum exp z at `gains`; leaves exp(z - top) behind, whose sum is `sum`.
  double LogSum(const std::vector<float>& gains, double* sum) {
    const float top = AddRows(base_.data(), rows_.data(), gains.data(), model_.context(),
                              static_cast<int64_t>(z_.size()), z_.data());
    *sum = ExpBelow(top, static_cast<int64_t>(z_.size()), z_.data());
    return top + std::log(*sum);
  }

  // Adds the moments of r under softmax(z) after LogSum: mean[K], products[K, K] with l <= k.
  void AddMoments(double sum, Eigen::VectorXd* mean, Eigen::MatrixXd* products) {
    const int64_t columns = static_cast<int64_t>(z_.size());
    weighed_.resize(columns);
    for (int k = 0; k < model_.context(); ++k) {
      (*mean)[k] = Weigh(z_.data(), rows_[k], columns, weighed_.data()) / sum;
      for (int l = 0; l <= k; ++l) {
        double product = 0;
        AddProducts<1>(weighed_.data(), rows_.data() + l, columns, &product);
        (*products)(k, l) = product / sum;
      }
    }
  }

 private:
  const OneHotModel& model_;
  std::vector<double> p_;         // [V]
  std::vector<int32_t> slot_of_;  // [V] column of a token, or -1
  std::vector<int32_t> token_;    // of each column
  double rest_ = 1;               // prior mass of the tokens without evidence
  std::vector<float> base_, z_, weighed_;
  std::vector<std::vector<float>> r_;  // [K]
  std::vector<const float*> rows_;     // [K]
};

namespace {

std::vector<float> Floats(const std::vector<double>& values) {
  return std::vector<float>(values.begin(), values.end());
}

}  // namespace

GainLoss OneHotModel::HoldoutLoss(absl::Span<const int32_t> stream,
                                  const std::vector<int32_t>& targets,
                                  const std::vector<double>& gains) const {
  Row row(*this);
  const std::vector<float> used = Floats(gains);
  Eigen::VectorXd mean(context());
  Eigen::MatrixXd products(context(), context());
  GainLoss out = {.loss = 0,
                  .downhill = Eigen::VectorXd::Zero(context()),
                  .curvature = Eigen::MatrixXd::Zero(context(), context())};
  for (int32_t t : targets) {
    row.Gather(stream, t);
    double sum = 0;
    out.loss += row.LogSum(used, &sum) - log_p_[stream[t]];
    row.AddMoments(sum, &mean, &products);
    for (int k = 0; k < context(); ++k) {
      const double target = row.Evidence(k, stream[t]);
      out.loss -= used[k] * target;
      out.downhill[k] += target - mean[k];
      for (int l = 0; l <= k; ++l) out.curvature(k, l) += products(k, l) - mean[k] * mean[l];
    }
  }
  out.curvature.triangularView<Eigen::StrictlyUpper>() = out.curvature.transpose();
  return out;
}

absl::StatusOr<OneHotModel> OneHotModel::Solve(const OneHotSpec& spec, const TextDataset& data,
                                               StatisticsCache& cache) {
  if (spec.context < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.context: want at least 1, got ", spec.context));
  }
  CHECK(spec.discount > 0 && spec.discount < 1);
  OneHotModel model;
  model.padding_ = data.eod;
  std::vector<CountTable> counts;
  for (int lag = 1; lag <= spec.context; ++lag) {
    ASSIGN_OR_RETURN(counts.emplace_back(), LagCounts(data, lag, Part::kCounted, cache));
  }
  model.SetEvidence(counts, spec.discount);
  const double gain = spec.gains == GainMode::kKnorm ? 1.0 : 1.0 / spec.context;
  model.gains_.assign(spec.context, gain);
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  const auto targets = HoldoutRule::For(tokens).Targets(tokens, kHoldoutTargets);
  const auto objective = [&](const std::vector<double>& gains) {
    return model.HoldoutLoss(data.train, targets, gains);
  };
  double loss = 0;
  if (spec.gains == GainMode::kCalibrated) {
    const Calibration fit = Calibrate(objective, model.gains_);
    model.gains_ = fit.gains;
    loss = fit.loss;
  } else {
    loss = objective(model.gains_).loss;
  }
  model.holdout_nats_ = loss / static_cast<double>(targets.size());
  // The hold-out has served: its counts join the others.
  for (int lag = 1; lag <= spec.context; ++lag) {
    ASSIGN_OR_RETURN(const CountTable held, LagCounts(data, lag, Part::kHeld, cache));
    counts[lag - 1] = AddCounts(counts[lag - 1], held);
  }
  model.SetEvidence(counts, spec.discount);
  return model;
}

void OneHotModel::SetEvidence(const std::vector<CountTable>& counts, double discount) {
  log_p_ = SmoothedLogPrior(counts[0].ColumnSums(counts[0].rows()));
  tables_.clear();
  for (const CountTable& lag : counts) {
    tables_.push_back(std::make_shared<const EvidenceTable>(MakeEvidence(lag, log_p_, discount)));
  }
}

std::vector<double> OneHotModel::Nats(absl::Span<const int32_t> stream, int first) const {
  std::vector<int64_t> positions;
  for (int64_t t = first; t < static_cast<int64_t>(stream.size()); ++t) positions.push_back(t);
  return Nats(stream, positions);
}

std::vector<double> OneHotModel::Nats(absl::Span<const int32_t> stream,
                                      absl::Span<const int64_t> positions) const {
  Row row(*this);
  const std::vector<float> gains = Floats(gains_);
  std::vector<double> nats;
  nats.reserve(positions.size());
  for (const int64_t t : positions) {
    row.Gather(stream, t);
    double sum = 0;
    double log_p = log_p_[stream[t]] - row.LogSum(gains, &sum);
    for (int k = 0; k < context(); ++k) log_p += gains[k] * row.Evidence(k, stream[t]);
    nats.push_back(-log_p);
  }
  return nats;
}

void OneHotModel::set_gains(std::vector<double> gains) {
  CHECK(gains.size() == tables_.size());
  gains_ = std::move(gains);
}

int64_t OneHotModel::parameters() const {
  int64_t n = static_cast<int64_t>(log_p_.size() + gains_.size());
  for (const auto& table : tables_) n += static_cast<int64_t>(table->value.size());
  return n;
}

}  // namespace saffron
