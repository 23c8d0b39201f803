#pragma once
// The evidence of one position after another of a stream, as sparse rows that logits and gradients
// are added up from.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/data_store.h"
#include "core/log_linear/dense_tables.h"
#include "core/log_linear/document_history.h"
#include "core/log_linear/log_linear_shape.h"
#include "core/log_linear/residual_source.h"

namespace saffron {

// The solved tables of a shape, and the columns that all positions share.
template <typename T>
struct LogLinearTables {
  // Errors of StatisticsCache.
  static absl::StatusOr<LogLinearTables> Load(const LogLinearShape& shape, const TextDataset& data,
                                              const TargetSet& targets, Discounts discounts,
                                              StatisticsCache& cache);

  std::vector<ResidualTable<T>> tables;  // by node of the shape
  std::vector<T> log_p1;                 // [V]
  std::vector<T> unigram;                // [V] log(p_i / P_1(i))
  DocumentHistory::Types types;
  DenseTables<T> dense;

  int vocab() const { return static_cast<int>(log_p1.size()); }
  int64_t entries() const;
};

// A row: value[j] is R of type[j]. Its part of the logits is
// gains[lambda] * value[j] + gains[mu].
template <typename T>
struct EvidenceRow {
  absl::Span<const uint16_t> type;
  const T* value;
  int lambda;
  int mu;  // -1: none
  // Which entries of the tables these are: of this node of the shape (-1: of a history), from
  // `first` on, but in place of the one that was left out, at `gap`, stands the last.
  int node = -1;
  int32_t first = 0;
  int32_t gap = -1;
  int32_t EntryOf(size_t j) const {
    const auto at = static_cast<int32_t>(j);
    return first + (at == gap ? static_cast<int32_t>(type.size()) : at);
  }
};

// Whether a target that the tables count looks at them as they are, or as if it had not been
// counted: then it can be trained on, since nothing it sees was made from itself.
//
// What leaving target y of contexts h_n out changes, exactly but for discounts and P_1, which are
// statistics of the whole text and stay: c_hy, c_h and g_h at every level that counted it (raw
// counts always; continuation counts where the longer context was followed by y this once), R of y,
// by g_h and P(.|h-) that of every other token, and P(.|h) itself for the levels that back off to
// it. (Leaving-one-out: Ney, Essen & Kneser, "On structuring probabilistic dependences in
// stochastic language modelling", 1994.) Histories count nothing but the past and stay too.
//
//
// What stays all the same, so that what is trained on is a little likelier than in a text that
// never had it (State of the Union, order 5 with skips, pairs and histories; nats of a target too
// few, at 10,000, 100,000 and a million tokens, and the most of one target):
//   P_1, and what is relative to it   0.116, 0.009, 0.0005   (0.65, 0.40, 0.11)
//   discounts                         0.002, 0.0002, 0.00002 (0.08, 0.008, 0.0007)
// P_1 loses its share of y when nothing else came before y as the last token does. Taking that into
// account is worth nothing: gains, rows, and networks joined or alone that were trained so came to
// the same validation perplexity within 0.1 %, even at 10,000 tokens. It is perplexity on the
// training split that reads up to 11 % low there.
// A shorter context whose longer one is a continuation too (orders 4 and 5) goes by counts that
// begin a token later: target 2, at order 5 also target 3, and those whose n-grams of 3 or 4 tokens
// are the same keep or lose a continuation wrongly.
enum class Counted : uint8_t { kAsIs, kLeftOut };

// Not thread-safe.
template <typename T>
class PositionEvidence {
 public:
  // All must outlive this. kLeftOut: `stream` is the text that the tables count, and so are its
  // targets.
  PositionEvidence(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                   absl::Span<const int32_t> stream, Counted counted = Counted::kAsIs);

  // The rows of target t. Valid until the next call. Quickest for ascending targets: going back
  // reads the document from its start again.
  absl::Span<const EvidenceRow<T>> RowsOf(int64_t t);
  // Contexts of target t by node, -1 where never seen. [nodes]
  void ContextsOf(int64_t t, int32_t* contexts) const;

 private:
  // What is left of a level when one target is.
  struct LeftOut {
    double p = 0;             // P(y|h)
    bool is_changed = false;  // P(i|h) of other i
    std::vector<T> ratio;     // [V] by how much it shrank, where is_changed, of seen i
  };
  void AddRow(const LevelNode& node, int64_t total, EvidenceRow<T> row);
  void AddLeftOut(size_t node, int64_t t);
  bool WasCounted(size_t node, int32_t entry, int64_t t) const;
  void SeekTo(int64_t t);
  void AddHistory(const HistoryList& list, double types, int lambda);

  const LogLinearShape& shape_;
  const LogLinearTables<T>& tables_;
  const absl::Span<const int32_t> stream_;
  const Counted counted_;
  std::vector<LeftOut> left_out_;   // by node
  std::vector<bool> has_children_;  // by node
  std::vector<int> longer_;         // by node: that of the next longer chain, -1: none
  std::vector<TupleCounts> raw_;    // by node: counts of that chain, of continuations without one
  DocumentHistory history_;
  std::vector<int64_t> ends_;  // of documents: where <eod> stands
  int64_t appended_ = 0;       // the history has seen the tokens of its document before this one
  std::vector<int32_t> contexts_;
  std::vector<EvidenceRow<T>> rows_;
  // Of rows that do not stand in a table.
  std::vector<T> values_;
  std::vector<uint16_t> types_;
  size_t values_used_ = 0;
};

// z[i] = log P_1(i) + the unigram column under its gain: what logits start from. [V]
template <typename T>
void FillBaseLogits(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                    absl::Span<const double> gains, T* z);
template <typename T>
std::vector<T> BaseLogits(const LogLinearShape& shape, const LogLinearTables<T>& tables,
                          absl::Span<const double> gains);

// Adds rows to z. `gains` are those of the shape.
template <typename T>
void AddRows(absl::Span<const EvidenceRow<T>> rows, absl::Span<const double> gains, T* z);

}  // namespace saffron
