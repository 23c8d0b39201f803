#pragma once
// What a document has said so far, as evidence about its next token: all its words, those of its
// last few, and those that followed the present word before. A cache in the sense of Kuhn & De Mori
// ("A cache-based natural language model for speech recognition", 1990), in the same form as the
// tables of counts: with c_i occurrences of i among T types and a discount of 1/2,
//
//   R[i] = log(1 + (c_i - 1/2) / (T/2 P_1(i))) = log(1 + (2 c_i - 1) / (T P_1(i))).
//
// Strictly causal: nothing but what was appended enters.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace saffron {

// Types of a history in up to kTypeClasses lists, one for each class of type (how frequent it is).
// R[i] = log(1 + odds[i] / T).
struct HistoryList {
  std::vector<uint16_t> type;
  std::vector<float> odds;  // (2 c_i - 1) / P_1(i)
};

inline constexpr int kTypeClasses = 8;

// Classes by p_i: 0 for rarer than 2^-15, 7 for 2^-9 and more, doubling in between.
std::vector<uint8_t> TypeClasses(absl::Span<const double> p);

// Not thread-safe.
class DocumentHistory {
 public:
  struct Types {
    std::vector<float> inverse_p1;  // [V]
    std::vector<uint8_t> classes;   // [V], below kTypeClasses
    int32_t eod = 0;
  };
  // `types` must outlive this. `window`: how many tokens count as recent.
  DocumentHistory(const Types& types, int window);

  // The next token of the stream; <eod> begins a new document.
  void Append(int32_t token);
  // Forgets everything.
  void Clear();

  // By class; T is the sum of the lists' sizes.
  const std::vector<HistoryList>& all() const { return all_.lists; }
  const std::vector<HistoryList>& recent() const { return recent_.lists; }
  int all_types() const { return all_.types; }
  int recent_types() const { return recent_.types; }
  // Tokens that followed earlier occurrences of the last token, one list; `occurrences` receives
  // how many those were, with repetitions. Valid until the next call of a method that is not const.
  const HistoryList& Followers(int* occurrences);

  // The shares of `token` among all words, the recent ones, and those that followed the last token;
  // -1 where there are none. For linear interpolation.
  struct Shares {
    double all, recent, followers;
  };
  Shares SharesOf(int32_t token) const;

 private:
  // A multiset of types.
  struct Bag {
    std::vector<HistoryList> lists;
    std::vector<int32_t> count, place;  // [V] occurrences; position in its list
    int types = 0;
  };
  void Put(int32_t type, Bag* bag);
  void Take(int32_t type, Bag* bag);
  void Empty(Bag* bag);

  const Types& types_;
  const int window_;
  Bag all_, recent_;
  std::vector<int32_t> tokens_;    // of the document
  std::vector<int32_t> previous_;  // position of the same type before, -1: none
  std::vector<int32_t> latest_;    // [V] position of the latest occurrence in the document, -1
  HistoryList followers_;
  std::vector<int32_t> follower_count_;  // [V] zero between calls
};

}  // namespace saffron
