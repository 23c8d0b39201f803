#include "core/solve/holdout_loss.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/base/check.h"
#include "core/math/gemm.h"

namespace saffron {
namespace {

// Columns at a time: a block of R for a layer of sparse keys stays in the second-level cache.
constexpr int64_t kBlock = 256;
// Rows of a table are a little further apart, lest all of them fall on the same cache sets.
constexpr int64_t kGap = 16;
// Tables are kept for all columns within this much memory a loss.
constexpr int64_t kKeptBytesMax = int64_t{64} << 20;
constexpr std::array<float, kBlock> kZeros{};

int64_t Pairs(int keys) { return int64_t{keys} * (keys + 1) / 2; }

}  // namespace

// Running sums of a list of targets, relative to each one's largest logit so far.
struct HoldoutLoss::Moments {
  std::vector<float> top;      // [targets]
  std::vector<double> sum;     // [targets] sum exp(z - top)
  std::vector<double> first;   // [targets, NK] sum exp(z - top) r_k
  std::vector<double> second;  // [targets, NK(NK+1)/2] sum exp(z - top) r_k r_l, l <= k

  Moments(int64_t targets, int keys, bool derivatives)
      : top(targets, -std::numeric_limits<float>::infinity()), sum(targets) {
    if (!derivatives) return;
    first.resize(targets * keys);
    second.resize(targets * Pairs(keys));
  }
  // Rescales target i when a block brings a larger logit.
  void Raise(int64_t i, float block_top, int keys) {
    if (!(block_top > top[i])) return;
    const double scale = std::exp(static_cast<double>(top[i]) - block_top);
    top[i] = block_top;
    sum[i] *= scale;
    if (first.empty()) return;
    for (int k = 0; k < keys; ++k) first[i * keys + k] *= scale;
    for (int64_t q = 0; q < Pairs(keys); ++q) second[i * Pairs(keys) + q] *= scale;
  }
  // Adds one block: e = exp(z - top) and evidence r[NK]. `weighed` is room for a block.
  void AddMoments(int64_t i, const float* e, const std::vector<const float*>& r, int64_t columns,
                  float* weighed) {
    const int keys = static_cast<int>(r.size());
    double* second_of_k = second.data() + i * Pairs(keys);
    for (int k = 0; k < keys; second_of_k += ++k) {
      first[i * keys + k] += Weigh(e, r[k], columns, weighed);
      int l = 0;
      for (; l + 4 <= k + 1; l += 4) {
        AddProducts<4>(weighed, r.data() + l, columns, second_of_k + l);
      }
      for (; l <= k; ++l) AddProducts<1>(weighed, r.data() + l, columns, second_of_k + l);
    }
  }
};

HoldoutLoss::HoldoutLoss(KeyWindow* window, std::vector<int32_t> targets, const SparseRows* soft)
    : targets_(std::move(targets)), soft_(soft), rows_(window->keys().size()) {
  CHECK(!targets_.empty() && window->keys()[0].stream == Stream::kCipher);
  const auto first_token = [&](int32_t t) {
    return TokenOfKey(window->stream(), window->features().padding, window->keys()[0], t);
  };
  std::sort(targets_.begin(), targets_.end(), [&](int32_t a, int32_t b) {
    return std::make_pair(first_token(a), a) < std::make_pair(first_token(b), b);
  });
  for (int32_t t : targets_) tokens_.push_back(window->stream()[t]);
  for (int k = 0; k < num_keys(); ++k) {
    if (IsTokenKey(window->keys()[k])) rows_[k] = GatherTokenKey(*window, k);
  }
  GatherPositionKeys(window);
}

HoldoutLoss::KeyRows HoldoutLoss::GatherTokenKey(const KeyWindow& window, int k) const {
  const KeySpec& key = window.keys()[k];
  KeyRows rows;
  rows.sparse = {.dim = key.dim, .begin = {0}, .index = {}, .value = {}};
  std::vector<int32_t> row_of_token(window.features().cipher.rows(), -1);
  std::vector<KeyVector> distinct;
  for (int32_t t : targets_) {
    const int32_t w = TokenOfKey(window.stream(), window.features().padding, key, t);
    if (row_of_token[w] < 0) {
      row_of_token[w] = static_cast<int32_t>(distinct.size());
      distinct.push_back(TokenKeyVector(window.features(), key, w));
    }
    rows.row_of.push_back(row_of_token[w]);
  }
  if (distinct[0].index == nullptr) {
    rows.dense.resize(static_cast<int64_t>(distinct.size()), key.dim);
    for (size_t i = 0; i < distinct.size(); ++i) {
      std::copy_n(distinct[i].value, key.dim, rows.dense.row(i).data());
    }
    return rows;
  }
  for (const KeyVector& v : distinct) {
    rows.sparse.index.insert(rows.sparse.index.end(), v.index, v.index + v.size);
    rows.sparse.value.insert(rows.sparse.value.end(), v.value, v.value + v.size);
    rows.sparse.begin.push_back(static_cast<int32_t>(rows.sparse.index.size()));
  }
  return rows;
}

void HoldoutLoss::GatherPositionKeys(KeyWindow* window) {
  std::vector<int> keys;
  for (int k = 0; k < num_keys(); ++k) {
    if (IsTokenKey(window->keys()[k])) continue;
    keys.push_back(k);
    rows_[k].dense.resize(size(), window->keys()[k].dim);
    rows_[k].row_of.resize(size());
    std::iota(rows_[k].row_of.begin(), rows_[k].row_of.end(), 0);
  }
  if (keys.empty()) return;
  std::vector<int32_t> by_position(size());
  std::iota(by_position.begin(), by_position.end(), 0);
  std::sort(by_position.begin(), by_position.end(),
            [&](int32_t a, int32_t b) { return targets_[a] < targets_[b]; });
  constexpr int32_t kSpan = 256;
  int64_t loaded_end = -1;
  for (const int32_t i : by_position) {
    const int64_t t = targets_[i];
    if (t >= loaded_end) {
      loaded_end = std::min<int64_t>(t + kSpan, window->stream().size());
      window->Load(t, loaded_end);
    }
    for (int k : keys) {
      const KeyVector v = window->At(k, t);
      std::copy_n(v.value, v.size, rows_[k].dense.row(i).data());
    }
  }
}

void HoldoutLoss::SizeTables() {
  int64_t left = kKeptBytesMax;
  const int64_t padded = static_cast<int64_t>(log_p_.size());
  tables_.clear();
  for (const KeyRows& rows : rows_) {
    Table& table = tables_.emplace_back();
    if (!rows.is_dense()) continue;
    const int64_t bytes = rows.dense.rows() * (padded + kGap) * 4;
    table.kept = bytes <= left;
    if (table.kept) left -= bytes;
    table.stride = (table.kept ? padded : std::min(padded, kBlock)) + kGap;
    table.values = AlignedArray<float>(rows.dense.rows() * table.stride);
    CHECK(table.values.ok()) << "no memory for " << bytes << " bytes of evidence";
  }
}

const float* HoldoutLoss::TableBlock(int k, int64_t column, int64_t columns) {
  Table& table = tables_[k];
  float* block = table.values.data() + (table.kept ? column : 0);
  if (table.kept && table.filled >= column + columns) return block;
  const Matrix<float>& x = rows_[k].dense;
  const Matrix<float>& r = *evidence_.r[k];
  Gemm<false>(x.rows(), columns, x.cols(), GemmLeft<float>{x.data(), x.cols(), 1},
              r.data() + column, r.cols(), block, table.stride);
  table.filled = column + columns;
  return block;
}

double HoldoutLoss::EvidenceAt(int k, int32_t row, int32_t output) const {
  const KeyRows& rows = rows_[k];
  const Matrix<float>& r = *evidence_.r[k];
  double sum = 0;
  if (rows.is_dense()) {
    for (int64_t j = 0; j < rows.dense.cols(); ++j) {
      sum += static_cast<double>(rows.dense(row, j)) * r(j, output);
    }
    return sum;
  }
  for (int32_t e = rows.sparse.begin[row]; e < rows.sparse.begin[row + 1]; ++e) {
    sum += static_cast<double>(rows.sparse.value[e]) * r(rows.sparse.index[e], output);
  }
  return sum;
}

void HoldoutLoss::SetEvidence(Evidence evidence) {
  CHECK(static_cast<int>(evidence.r.size()) == num_keys());
  const bool resized = evidence.outputs != evidence_.outputs;
  evidence_ = std::move(evidence);
  log_p_.assign(PaddedColumns(evidence_.outputs), -std::numeric_limits<float>::infinity());
  for (int i = 0; i < evidence_.outputs; ++i) {
    log_p_[i] = static_cast<float>(std::log((*evidence_.p)[i]));
  }
  if (resized) SizeTables();
  for (Table& table : tables_) table.filled = 0;
  of_targets_ = Matrix<double>::Zero(size(), num_keys());
  prior_nats_ = 0;
  for (int64_t i = 0; i < size(); ++i) {
    const auto add = [&](int32_t output, double share) {
      prior_nats_ -= share * std::log((*evidence_.p)[output]);
      for (int k = 0; k < num_keys(); ++k) {
        of_targets_(i, k) += share * EvidenceAt(k, rows_[k].row_of[i], output);
      }
    };
    const int32_t y = tokens_[i];
    if (soft_ == nullptr) {
      add(y, 1);
      continue;
    }
    for (int32_t e = soft_->begin[y]; e < soft_->begin[y + 1]; ++e) {
      add(soft_->index[e], soft_->value[e]);
    }
  }
}

// The rows of R that make a target's evidence, key by key, in one block of columns.
struct HoldoutLoss::TargetRows {
  std::vector<const float*> row;  // in this block
  std::vector<float> value;       // x_kj
  std::vector<int> begin;         // [NK + 1]
};

void HoldoutLoss::FindRows(int64_t target, int64_t column, const std::vector<const float*>& tables,
                           TargetRows* found) const {
  found->row.clear();
  found->value.clear();
  found->begin.assign(1, 0);
  for (int k = 0; k < num_keys(); ++k) {
    const KeyRows& rows = rows_[k];
    const int32_t distinct = rows.row_of[target];
    if (rows.is_dense()) {
      found->row.push_back(tables[k] + distinct * tables_[k].stride);
      found->value.push_back(1);
    } else {
      const Matrix<float>& r = *evidence_.r[k];
      for (int32_t e = rows.sparse.begin[distinct]; e < rows.sparse.begin[distinct + 1]; ++e) {
        found->row.push_back(r.data() + rows.sparse.index[e] * r.cols() + column);
        found->value.push_back(rows.sparse.value[e]);
      }
    }
    found->begin.push_back(static_cast<int>(found->row.size()));
  }
}

// r_k of a target in one block, [NK]: a row of R or of a table as it stands, or their weighted sum
// in `buffers` [NK, kBlock].
void HoldoutLoss::GatherEvidence(const TargetRows& found, int64_t columns, float* buffers,
                                 std::vector<const float*>* r) const {
  for (int k = 0; k < num_keys(); ++k) {
    const int begin = found.begin[k], n = found.begin[k + 1] - begin;
    if (n == 1 && found.value[begin] == 1) {
      (*r)[k] = found.row[begin];
      continue;
    }
    float* sum = buffers + k * kBlock;
    AddRows(kZeros.data(), found.row.data() + begin, found.value.data() + begin, n, columns, sum);
    (*r)[k] = sum;
  }
}

template <bool kDerivatives>
HoldoutLoss::Moments HoldoutLoss::Accumulate(const Matrix<float>& gains, int64_t first,
                                             int64_t last) {
  const int keys = num_keys();
  const int64_t padded = static_cast<int64_t>(log_p_.size());
  Moments sums(last - first, keys, kDerivatives);
  std::vector<const float*> r(keys), tables(keys);
  TargetRows found;
  AlignedArray<float> z(kBlock), weighed(kBlock), buffers(keys * kBlock);
  for (int64_t column = 0; column < padded; column += kBlock) {
    const int64_t columns = std::min(kBlock, padded - column);
    for (int k = 0; k < keys; ++k) {
      if (rows_[k].is_dense()) tables[k] = TableBlock(k, column, columns);
    }
    for (int64_t t = first; t < last; ++t) {
      const int64_t i = t - first;
      const float* gain = gains.row(gains.rows() == 1 ? 0 : t).data();
      FindRows(t, column, tables, &found);
      if constexpr (kDerivatives) {
        GatherEvidence(found, columns, buffers.data(), &r);
        sums.Raise(i, AddRows(log_p_.data() + column, r.data(), gain, keys, columns, z.data()),
                   keys);
      } else {
        for (int k = 0; k < keys; ++k) {
          for (int e = found.begin[k]; e < found.begin[k + 1]; ++e) found.value[e] *= gain[k];
        }
        sums.Raise(i,
                   AddRows(log_p_.data() + column, found.row.data(), found.value.data(),
                           found.begin[keys], columns, z.data()),
                   keys);
      }
      sums.sum[i] += ExpBelow(sums.top[i], columns, z.data());
      if constexpr (kDerivatives) sums.AddMoments(i, z.data(), r, columns, weighed.data());
    }
  }
  return sums;
}

GainLoss HoldoutLoss::AtGains(const std::vector<double>& gains) {
  const int keys = num_keys();
  CHECK(static_cast<int>(gains.size()) == keys);
  Matrix<float> shared(1, keys);
  for (int k = 0; k < keys; ++k) shared(0, k) = static_cast<float>(gains[k]);
  GainLoss out = {.loss = prior_nats_,
                  .downhill = Eigen::VectorXd::Zero(keys),
                  .curvature = Eigen::MatrixXd::Zero(keys, keys)};
  // Pairs of many keys need much room a target: then the targets go through in pieces.
  const int64_t piece = std::max<int64_t>(256, (int64_t{32} << 20) / (8 * Pairs(keys)));
  for (int64_t first = 0; first < size(); first += piece) {
    const int64_t last = std::min(first + piece, size());
    const Moments m = Accumulate<true>(shared, first, last);
    for (int64_t i = 0; i < last - first; ++i) {
      const double* sum1 = m.first.data() + i * keys;
      const double* sum2 = m.second.data() + i * Pairs(keys);
      out.loss += m.top[i] + std::log(m.sum[i]);
      for (int k = 0; k < keys; sum2 += ++k) {
        const double target = of_targets_(first + i, k), mean = sum1[k] / m.sum[i];
        out.loss -= shared(0, k) * target;
        out.downhill[k] += target - mean;
        for (int l = 0; l <= k; ++l) {
          out.curvature(k, l) += sum2[l] / m.sum[i] - mean * (sum1[l] / m.sum[i]);
        }
      }
    }
  }
  out.curvature.triangularView<Eigen::StrictlyUpper>() = out.curvature.transpose();
  return out;
}

double HoldoutLoss::AtGainsOfTargets(const Matrix<float>& gains) {
  CHECK((gains.rows() == size() || gains.rows() == 1) && gains.cols() == num_keys());
  const Moments m = Accumulate<false>(gains, 0, size());
  double loss = prior_nats_;
  for (int64_t i = 0; i < size(); ++i) {
    loss += m.top[i] + std::log(m.sum[i]);
    for (int k = 0; k < num_keys(); ++k) {
      loss -= gains(gains.rows() == 1 ? 0 : i, k) * of_targets_(i, k);
    }
  }
  return loss;
}

}  // namespace saffron
