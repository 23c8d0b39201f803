#include "core/log_linear/position_evidence.h"

#include <malloc.h>

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/math/exp.h"

namespace saffron {

template <typename T>
absl::StatusOr<LogLinearTables<T>> LogLinearTables<T>::Load(const LogLinearShape& shape,
                                                            const TextDataset& data,
                                                            const TargetSet& targets,
                                                            Discounts discounts,
                                                            StatisticsCache& cache) {
  LogLinearTables loaded;
  std::vector<Level> levels;
  for (const LevelNode& node : shape.nodes) levels.push_back(node.level);
  ResidualSource<T> source(data, targets, discounts, levels, cache);
  const int nodes = static_cast<int>(shape.nodes.size());
  // The last node that each is needed for: itself, or its last child.
  std::vector<int> last(nodes);
  for (int n = 0; n < nodes; ++n) {
    last[n] = n;
    if (shape.nodes[n].parent >= 0) last[shape.nodes[n].parent] = n;
  }
  for (int n = 0; n < nodes; ++n) {
    ASSIGN_OR_RETURN(ResidualTable<T> table, source.Table(shape.nodes[n].level));
    loaded.tables.push_back(std::move(table));
    for (int m = 0; m <= n; ++m) {
      if (last[m] == n) source.Release(shape.nodes[m].level);
    }
  }
  ASSIGN_OR_RETURN(const RootDistribution* const root, source.Root());
  for (size_t i = 0; i < root->p1.size(); ++i) {
    loaded.log_p1.push_back(static_cast<T>(std::log(root->p1[i])));
    loaded.unigram.push_back(static_cast<T>(std::log(root->p[i] / root->p1[i])));
    loaded.types.inverse_p1.push_back(static_cast<float>(1 / root->p1[i]));
  }
  loaded.types.classes = TypeClasses(root->p);
  loaded.types.eod = data.eod;
  ASSIGN_OR_RETURN(loaded.dense, DenseTables<T>::Load(shape.dense, data, targets, cache));
  // Counting leaves as much free memory behind as the tables take.
  malloc_trim(0);
  return loaded;
}

template <typename T>
int64_t LogLinearTables<T>::entries() const {
  int64_t entries = dense.entries();
  for (const ResidualTable<T>& table : tables) entries += table.entries();
  return entries;
}

template <typename T>
PositionEvidence<T>::PositionEvidence(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                                      absl::Span<const int32_t> stream, Counted counted)
    : shape_(shape),
      tables_(tables),
      stream_(stream),
      counted_(counted),
      has_children_(shape.nodes.size(), false),
      longer_(shape.nodes.size(), -1),
      history_(tables.types, shape.window),
      contexts_(shape.nodes.size()) {
  const size_t vocab = tables.log_p1.size(), nodes = shape.nodes.size();
  values_.resize(3 * vocab);
  for (size_t t = 0; t < stream.size() && !shape.histories.empty(); ++t) {
    if (stream[t] == tables.types.eod) ends_.push_back(static_cast<int64_t>(t));
  }
  if (counted == Counted::kAsIs) return;
  values_.resize((3 + nodes) * vocab);
  types_.resize((3 + nodes) * vocab);
  left_out_.resize(nodes);
  for (size_t n = 0; n < nodes; ++n) {
    if (const int parent = shape.nodes[n].parent; parent >= 0) has_children_[parent] = true;
    for (size_t m = 0; m < nodes; ++m) {
      const Level& longer = shape.nodes[m].level;
      if (shape.nodes[n].level.counting == Counting::kRaw || !longer.lags.IsChain() ||
          longer.lags.size() != shape.nodes[n].level.lags.size() + 1) {
        continue;
      }
      // It may be there as both: raw counts know the first targets of the text too.
      if (longer_[n] < 0 || longer.counting == Counting::kRaw) longer_[n] = static_cast<int>(m);
    }
  }
  const int64_t tokens = std::ssize(stream);
  const TargetSet all = {
      .first = 0, .last = tokens, .rule = HoldoutRule::For(tokens), .held = true};
  raw_.resize(nodes);
  for (size_t n = 0; n < nodes; ++n) {
    const Level& level = shape.nodes[n].level;
    if (level.counting == Counting::kRaw || longer_[n] >= 0) continue;
    raw_[n] = CountTuples(stream, LagTemplate::Chain(level.lags.size() + 1), all);
  }
  for (size_t n = 0; n < nodes; ++n) {
    if (has_children_[n]) left_out_[n].ratio.resize(vocab);
  }
}

template <typename T>
void PositionEvidence<T>::AddRow(const LevelNode& node, int64_t total, EvidenceRow<T> row) {
  const int b = shape_.ClassOf(total);
  row.lambda = node.lambda + b;
  row.mu = node.mu < 0 ? -1 : node.mu + b;
  rows_.push_back(row);
}

template <typename T>
bool PositionEvidence<T>::WasCounted(size_t n, int32_t entry, int64_t t) const {
  if (entry < 0) return false;
  const Level& level = shape_.nodes[n].level;
  if (level.counting == Counting::kRaw) return true;
  if (longer_[n] < 0) {
    if (t <= level.lags.size()) return false;  // nothing stood before its context
    const LagTemplate longer = LagTemplate::Chain(level.lags.size() + 1);
    return raw_[n].CountOf(longer.ContextOf(stream_.data(), t),
                           static_cast<uint16_t>(stream_[t])) == 1;
  }
  const int32_t context = contexts_[longer_[n]];
  if (context < 0) return false;
  const ResidualTable<T>& longer = tables_.tables[longer_[n]];
  const int32_t its_entry = longer.FindNext(context, stream_[t]);
  return its_entry >= 0 && (longer.tally[its_entry] & 1);
}

template <typename T>
void PositionEvidence<T>::AddLeftOut(size_t n, int64_t t) {
  const int32_t next = stream_[t];
  const LevelNode& node = shape_.nodes[n];
  const ResidualTable<T>& table = tables_.tables[n];
  const LeftOut* const below = node.parent < 0 ? nullptr : &left_out_[node.parent];
  LeftOut& left = left_out_[n];
  left.p = below == nullptr ? std::exp(double{tables_.log_p1[next]}) : below->p;
  left.is_changed = false;
  const int32_t c = contexts_[n];
  if (c < 0) return;

  const int32_t begin = table.begin[c], entry = table.FindNext(c, next);
  const int32_t count = entry < 0 ? 0 : table.CountOf(entry);
  const int32_t rest = count - WasCounted(n, entry, t);
  const int32_t total = table.total[c] - (count - rest);
  if (total == 0) return;  // the context was seen here alone
  const double kept = rest - DiscountOf(table.discounts, rest);
  const double backoff = double{table.backoff[c]} - DiscountOf(table.discounts, count) +
                         DiscountOf(table.discounts, rest);
  const double handed_down = backoff * left.p;
  left.p = (kept + handed_down) / total;

  size_t size = table.begin[c + 1] - begin;
  T* const value = values_.data() + values_used_;
  uint16_t* const type = types_.data() + values_used_;
  std::copy_n(table.residual.data() + begin, size, value);
  std::copy_n(table.next.data() + begin, size, type);
  values_used_ += size;
  const T shrunk = static_cast<T>(double{table.backoff[c]} / backoff);
  const bool is_below_changed = below != nullptr && below->is_changed;
  const T scale = static_cast<T>(double{table.backoff[c]} / backoff * total / table.total[c]);
  const bool is_row_changed = shrunk != 1 || is_below_changed;
  left.is_changed = has_children_[n] && (is_row_changed || scale != 1);
  if (is_row_changed) {
    ExpInPlace(value, static_cast<int64_t>(size));
    for (size_t j = 0; j < size; ++j) {
      const T ratio = is_below_changed ? below->ratio[type[j]] : T{1};
      const T was = value[j];
      value[j] = 1 + (was - 1) * shrunk * ratio;
      // P(i|h) = g_h / c_h P(i|h-) e^R.
      if (left.is_changed) left.ratio[type[j]] = scale * ratio * was / value[j];
    }
    LogInPlace(value, static_cast<int64_t>(size));
  } else if (left.is_changed) {
    for (size_t j = 0; j < size; ++j) left.ratio[type[j]] = scale;
  }
  int32_t gap = -1;
  if (entry >= 0) {
    if (rest > 0) {
      value[entry - begin] = static_cast<T>(std::log1p(kept / handed_down));
    } else {
      --size;
      gap = entry - begin;
      value[gap] = value[size];
      type[gap] = type[size];
    }
  }
  if (node.lambda >= 0 && size > 0) {
    AddRow(node, total,
           {.type = {type, size},
            .value = value,
            .lambda = 0,
            .mu = 0,
            .node = static_cast<int>(n),
            .first = begin,
            .gap = gap});
  }
}

template <typename T>
void PositionEvidence<T>::ContextsOf(int64_t t, int32_t* contexts) const {
  for (size_t n = 0; n < shape_.nodes.size(); ++n) {
    const LevelNode& node = shape_.nodes[n];
    const int lag = node.level.lags.last();
    const int32_t parent = node.parent < 0 ? 0 : contexts[node.parent];
    contexts[n] = t < lag ? -1 : tables_.tables[n].Find(parent, stream_[t - lag]);
  }
}

template <typename T>
void PositionEvidence<T>::AddHistory(const HistoryList& list, double types, int lambda) {
  const size_t n = list.type.size();
  if (n == 0) return;
  T* const value = values_.data() + values_used_;
  const T per_type = static_cast<T>(1 / types);
  for (size_t j = 0; j < n; ++j) value[j] = 1 + per_type * static_cast<T>(list.odds[j]);
  LogInPlace(value, static_cast<int64_t>(n));
  values_used_ += n;
  rows_.push_back({.type = list.type, .value = value, .lambda = lambda, .mu = -1});
}

template <typename T>
void PositionEvidence<T>::SeekTo(int64_t t) {
  // The document of t begins behind the last <eod> before it.
  const auto next = std::lower_bound(ends_.begin(), ends_.end(), t);
  const int64_t start = next == ends_.begin() ? 0 : *std::prev(next) + 1;
  if (appended_ > t || appended_ < start) {
    history_.Clear();
    appended_ = start;
  }
  while (appended_ < t) history_.Append(stream_[appended_++]);
}

template <typename T>
absl::Span<const EvidenceRow<T>> PositionEvidence<T>::RowsOf(int64_t t) {
  rows_.clear();
  values_used_ = 0;
  ContextsOf(t, contexts_.data());
  for (size_t n = 0; n < shape_.nodes.size(); ++n) {
    if (counted_ == Counted::kLeftOut) {
      AddLeftOut(n, t);
      continue;
    }
    const LevelNode& node = shape_.nodes[n];
    const int32_t c = contexts_[n];
    if (c < 0 || node.lambda < 0) continue;
    const ResidualTable<T>& table = tables_.tables[n];
    const int32_t begin = table.begin[c], size = table.begin[c + 1] - begin;
    AddRow(node, table.total[c],
           {.type = table.next.subspan(begin, size),
            .value = table.residual.data() + begin,
            .lambda = 0,
            .mu = 0,
            .node = static_cast<int>(n),
            .first = begin});
  }
  if (shape_.histories.empty()) return rows_;
  SeekTo(t);
  for (size_t h = 0; h < shape_.histories.size(); ++h) {
    const int first = shape_.history_gains[h];
    switch (shape_.histories[h]) {
      case HistoryKind::kAll:
        for (int c = 0; c < kTypeClasses; ++c) {
          AddHistory(history_.all()[c], history_.all_types(), first + c);
        }
        break;
      case HistoryKind::kRecent:
        for (int c = 0; c < kTypeClasses; ++c) {
          AddHistory(history_.recent()[c], history_.recent_types(), first + c);
        }
        break;
      case HistoryKind::kFollowers: {
        int occurrences = 0;
        const HistoryList& list = history_.Followers(&occurrences);
        if (occurrences == 0) break;
        AddHistory(list, static_cast<double>(list.type.size()), first + CountClass(occurrences));
        break;
      }
    }
  }
  return rows_;
}

template <typename T>
void FillBaseLogits(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                    absl::Span<const double> gains, T* z) {
  std::copy(tables.log_p1.begin(), tables.log_p1.end(), z);
  if (shape.unigram_gain < 0) return;
  const T gain = static_cast<T>(gains[shape.unigram_gain]);
  for (size_t i = 0; i < tables.unigram.size(); ++i) z[i] += gain * tables.unigram[i];
}

template <typename T>
std::vector<T> BaseLogits(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                          absl::Span<const double> gains) {
  std::vector<T> base(tables.log_p1.size());
  FillBaseLogits(shape, tables, gains, base.data());
  return base;
}

template <typename T>
void AddRows(absl::Span<const EvidenceRow<T>> rows, absl::Span<const double> gains, T* z) {
  for (const EvidenceRow<T>& row : rows) {
    const T lambda = static_cast<T>(gains[row.lambda]);
    const T mu = row.mu < 0 ? T{0} : static_cast<T>(gains[row.mu]);
    const uint16_t* const type = row.type.data();
    const T* const value = row.value;
    const size_t n = row.type.size();
    for (size_t j = 0; j < n; ++j) z[type[j]] += lambda * value[j] + mu;
  }
}

template struct LogLinearTables<float>;
template struct LogLinearTables<double>;
template class PositionEvidence<float>;
template class PositionEvidence<double>;
template void FillBaseLogits(const LogLinearShape&, const LogLinearTables<float>&,
                             absl::Span<const double>, float*);
template void FillBaseLogits(const LogLinearShape&, const LogLinearTables<double>&,
                             absl::Span<const double>, double*);
template std::vector<float> BaseLogits(const LogLinearShape&, const LogLinearTables<float>&,
                                       absl::Span<const double>);
template std::vector<double> BaseLogits(const LogLinearShape&, const LogLinearTables<double>&,
                                        absl::Span<const double>);
template void AddRows(absl::Span<const EvidenceRow<float>>, absl::Span<const double>, float*);
template void AddRows(absl::Span<const EvidenceRow<double>>, absl::Span<const double>, double*);

}  // namespace saffron
