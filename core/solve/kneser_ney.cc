#include "core/solve/kneser_ney.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/solve/radix_sort.h"

namespace saffron {
namespace {

// All n-grams of one length n. An n-gram's id is its index; those of one context (an (n-1)-gram id;
// 0 for n = 1) are neighbours, by ascending last word.
struct Level {
  std::vector<int32_t> begin;        // [contexts + 1]
  std::vector<int32_t> word;         // [n-grams]
  std::vector<int32_t> count;        // [n-grams] c_hi; may be 0 for a continuation count
  std::vector<double> total;         // [contexts] c_h = sum_i c_hi
  std::vector<double> backoff;       // [contexts] sum_i D(c_hi), the mass handed down
  std::array<double, 4> discount{};  // D by min(count, 3)

  // Id of (context, w), or -1.
  int32_t Find(int32_t context, int32_t w) const {
    const auto first = word.begin() + begin[context], last = word.begin() + begin[context + 1];
    const auto it = std::lower_bound(first, last, w);
    return it != last && *it == w ? static_cast<int32_t>(it - word.begin()) : -1;
  }
  double Discounted(int32_t id) const { return count[id] - DiscountOf(discount, count[id]); }
};

void FinishLevel(Discounts kind, Level* level) {
  level->discount = EstimateDiscounts(level->count, kind);
  const size_t contexts = level->begin.size() - 1;
  level->total.assign(contexts, 0);
  level->backoff.assign(contexts, 0);
  for (size_t h = 0; h < contexts; ++h) {
    for (int32_t i = level->begin[h]; i < level->begin[h + 1]; ++i) {
      level->total[h] += level->count[i];
      level->backoff[h] += DiscountOf(level->discount, level->count[i]);
    }
  }
}

struct Occurrence {
  uint64_t key;  // context * vocab + word
  int32_t position;
};

}  // namespace

struct KneserNeyModel::Impl {
  int vocab = 0;
  std::vector<Level> levels;  // [order]; levels[n-1] holds the n-grams

  // Ids of the m-grams that end right before a target, m = 0 .. order-1 (-1: never seen).
  using State = std::vector<int32_t>;
  State StartState() const {
    State state(levels.size(), -1);
    state[0] = 0;
    return state;
  }
  double ProbabilityThenAdvance(int32_t w, State* state) const;
};

KneserNeyModel::KneserNeyModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KneserNeyModel::KneserNeyModel(KneserNeyModel&&) noexcept = default;
KneserNeyModel& KneserNeyModel::operator=(KneserNeyModel&&) noexcept = default;
KneserNeyModel::~KneserNeyModel() = default;

namespace {

// The n-grams of `train` given the ids of its (n-1)-grams; replaces `ids[t]` (the (n-1)-gram ending
// at t, -1 for t < n-2) by the id of the n-gram ending at t. `suffix[i]` is the (n-1)-gram that
// n-gram i ends in.
Level CountLevel(absl::Span<const int32_t> train, int vocab, int n, size_t contexts,
                 std::vector<int32_t>* ids, std::vector<int32_t>* suffix) {
  std::vector<Occurrence> items, scratch;
  items.reserve(train.size());
  for (size_t t = n - 1; t < train.size(); ++t) {
    const uint64_t context = n == 1 ? 0 : (*ids)[t - 1];
    items.push_back({context * vocab + train[t], static_cast<int32_t>(t)});
  }
  RadixSort(&items, &scratch, contexts * vocab, [](const Occurrence& o) { return o.key; });
  Level level;
  level.begin.assign(contexts + 1, 0);
  suffix->clear();
  const std::vector<int32_t> old = *ids;
  std::fill(ids->begin(), ids->end(), -1);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i == 0 || items[i].key != items[i - 1].key) {
      level.word.push_back(static_cast<int32_t>(items[i].key % vocab));
      level.count.push_back(0);
      ++level.begin[items[i].key / vocab + 1];
      suffix->push_back(n == 1 ? 0 : old[items[i].position]);
    }
    ++level.count.back();
    (*ids)[items[i].position] = static_cast<int32_t>(level.word.size() - 1);
  }
  for (size_t h = 0; h < contexts; ++h) level.begin[h + 1] += level.begin[h];
  return level;
}

}  // namespace

absl::StatusOr<KneserNeyModel> KneserNeyModel::Fit(absl::Span<const int32_t> train, int vocab,
                                                   int order, Discounts discounts) {
  if (order < 2 || order > 5) {
    return absl::InvalidArgumentError(absl::StrCat("model.order: want 2 to 5, got ", order));
  }
  if (train.size() < static_cast<size_t>(order)) {
    return absl::InvalidArgumentError(absl::StrCat("training stream: want at least ", order,
                                                   " tokens for n-grams of that length, got ",
                                                   train.size()));
  }
  auto impl = std::make_unique<Impl>();
  impl->vocab = vocab;
  std::vector<int32_t> ids(train.size(), -1), suffix;
  size_t contexts = 1;
  for (int n = 1; n <= order; ++n) {
    impl->levels.push_back(CountLevel(train, vocab, n, contexts, &ids, &suffix));
    contexts = impl->levels.back().word.size();
    if (n == 1) continue;
    // Below the top a count is the number of distinct tokens seen to the left.
    Level& lower = impl->levels[n - 2];
    std::fill(lower.count.begin(), lower.count.end(), 0);
    for (int32_t v : suffix) ++lower.count[v];
  }
  for (Level& level : impl->levels) FinishLevel(discounts, &level);
  return KneserNeyModel(std::move(impl));
}

double KneserNeyModel::Impl::ProbabilityThenAdvance(int32_t w, State* state) const {
  double p = 1.0 / vocab;
  int32_t seen_below = 0;  // id of the m-gram ending in w, for the next state
  for (size_t m = 0; m < levels.size(); ++m) {
    const Level& level = levels[m];
    const int32_t context = (*state)[m];
    int32_t id = -1;
    if (context >= 0) {
      id = level.Find(context, w);
      if (level.total[context] > 0) {
        const double seen = id >= 0 ? level.Discounted(id) : 0;
        p = (seen + level.backoff[context] * p) / level.total[context];
      }
    }
    (*state)[m] = seen_below;
    seen_below = id;
  }
  return p;
}

std::vector<double> KneserNeyModel::Nats(absl::Span<const int32_t> stream, int first) const {
  std::vector<double> nats;
  nats.reserve(stream.size());
  Impl::State state = impl_->StartState();
  for (size_t t = 0; t < stream.size(); ++t) {
    const double p = impl_->ProbabilityThenAdvance(stream[t], &state);
    if (t >= static_cast<size_t>(first)) nats.push_back(-std::log(p));
  }
  return nats;
}

std::vector<double> KneserNeyModel::Distribution(absl::Span<const int32_t> history) const {
  Impl::State state = impl_->StartState();
  for (int32_t w : history) impl_->ProbabilityThenAdvance(w, &state);
  std::vector<double> p(impl_->vocab, 1.0 / impl_->vocab);
  for (size_t m = 0; m < impl_->levels.size(); ++m) {
    const Level& level = impl_->levels[m];
    const int32_t context = state[m];
    if (context < 0 || level.total[context] == 0) continue;
    for (double& v : p) v *= level.backoff[context] / level.total[context];
    for (int32_t i = level.begin[context]; i < level.begin[context + 1]; ++i) {
      p[level.word[i]] += level.Discounted(i) / level.total[context];
    }
  }
  return p;
}

int64_t KneserNeyModel::parameters() const {
  int64_t n = 0;
  for (const Level& level : impl_->levels) n += static_cast<int64_t>(level.count.size());
  return n;
}

}  // namespace saffron
