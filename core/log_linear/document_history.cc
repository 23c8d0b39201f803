#include "core/log_linear/document_history.h"

#include <algorithm>
#include <cmath>

namespace saffron {

std::vector<uint8_t> TypeClasses(absl::Span<const double> p) {
  std::vector<uint8_t> classes;
  classes.reserve(p.size());
  for (double v : p) {
    classes.push_back(static_cast<uint8_t>(
        std::clamp<int>(16 + static_cast<int>(std::floor(std::log2(v))), 0, kTypeClasses - 1)));
  }
  return classes;
}

DocumentHistory::DocumentHistory(const Types& types, int window) : types_(types), window_(window) {
  const size_t vocab = types.classes.size();
  for (Bag* bag : {&all_, &recent_}) {
    bag->lists.resize(kTypeClasses);
    bag->count.assign(vocab, 0);
    bag->place.assign(vocab, 0);
  }
  latest_.assign(vocab, -1);
  follower_count_.assign(vocab, 0);
}

void DocumentHistory::Put(int32_t type, Bag* bag) {
  HistoryList& list = bag->lists[types_.classes[type]];
  const int32_t count = ++bag->count[type];
  if (count == 1) {
    bag->place[type] = static_cast<int32_t>(list.type.size());
    list.type.push_back(static_cast<uint16_t>(type));
    list.odds.push_back(0);
    ++bag->types;
  }
  list.odds[bag->place[type]] = static_cast<float>(2 * count - 1) * types_.inverse_p1[type];
}

void DocumentHistory::Take(int32_t type, Bag* bag) {
  HistoryList& list = bag->lists[types_.classes[type]];
  const int32_t place = bag->place[type], count = --bag->count[type];
  if (count > 0) {
    list.odds[place] = static_cast<float>(2 * count - 1) * types_.inverse_p1[type];
    return;
  }
  // The last of the list takes its place.
  list.type[place] = list.type.back();
  list.odds[place] = list.odds.back();
  bag->place[list.type[place]] = place;
  list.type.pop_back();
  list.odds.pop_back();
  --bag->types;
}

void DocumentHistory::Empty(Bag* bag) {
  for (HistoryList& list : bag->lists) {
    for (uint16_t type : list.type) bag->count[type] = 0;
    list.type.clear();
    list.odds.clear();
  }
  bag->types = 0;
}

void DocumentHistory::Clear() {
  for (int32_t token : tokens_) latest_[token] = -1;
  tokens_.clear();
  previous_.clear();
  Empty(&all_);
  Empty(&recent_);
}

void DocumentHistory::Append(int32_t token) {
  if (token == types_.eod) return Clear();
  const int32_t position = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  previous_.push_back(latest_[token]);
  latest_[token] = position;
  Put(token, &all_);
  Put(token, &recent_);
  if (position >= window_) Take(tokens_[position - window_], &recent_);
}

const HistoryList& DocumentHistory::Followers(int* occurrences) {
  followers_.type.clear();
  followers_.odds.clear();
  *occurrences = 0;
  if (tokens_.empty()) return followers_;
  for (int32_t at = previous_.back(); at >= 0; at = previous_[at]) {
    const int32_t follower = tokens_[at + 1];
    if (follower_count_[follower]++ == 0) {
      followers_.type.push_back(static_cast<uint16_t>(follower));
    }
    ++*occurrences;
  }
  for (uint16_t type : followers_.type) {
    followers_.odds.push_back(static_cast<float>(2 * follower_count_[type] - 1) *
                              types_.inverse_p1[type]);
    follower_count_[type] = 0;
  }
  return followers_;
}

DocumentHistory::Shares DocumentHistory::SharesOf(int32_t token) const {
  if (tokens_.empty()) return {.all = -1, .recent = -1, .followers = -1};
  const double size = static_cast<double>(tokens_.size());
  int followers = 0, hits = 0;
  for (int32_t at = previous_.back(); at >= 0; at = previous_[at]) {
    ++followers;
    hits += tokens_[at + 1] == token;
  }
  return {.all = all_.count[token] / size,
          .recent = recent_.count[token] / std::min<double>(size, window_),
          .followers = followers == 0 ? -1 : static_cast<double>(hits) / followers};
}

}  // namespace saffron
