#pragma once
// What is wrong with a sweep, gathered so that a user sees several mistakes at once.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

// Where something stands in a text: 1-based line and column in characters; line 0 is unknown.
struct Place {
  int line = 0;
  int column = 0;
};
Place PlaceOf(const v1::Position& position);
void SetPosition(Place place, v1::Position* position);

// Not thread-safe.
class Problems {
 public:
  // More are counted, not shown.
  static constexpr int kShownMax = 10;

  explicit Problems(std::string_view source) : source_(source) {}

  // "SOURCE:LINE:COL: KEY: WHAT"; an empty key and an unknown place are left out. The same problem
  // again is not counted, nor is any after the hundredth.
  void Add(Place place, std::string_view key, std::string_view what);
  void Add(const v1::Position& position, std::string_view key, std::string_view what) {
    Add(PlaceOf(position), key, what);
  }

  // "SOURCE:LINE:COL", as problems begin.
  std::string Location(Place place) const;

  // From here on, a key that has had a problem has no more: what is found later follows from it.
  void StartNextPhase() { earlier_ = problems_.size(); }
  // The same for `key` and the parts of its value, when something in it could not be read.
  void Spoil(std::string_view key) { spoilt_.emplace_back(key); }

  size_t size() const { return problems_.size(); }
  bool empty() const { return problems_.empty(); }
  // Whether looking for more is of no use.
  bool full() const { return problems_.size() >= 10 * kShownMax; }
  // INVALID_ARGUMENT with the problems in order of place, one a line; OK when there is none.
  absl::Status ToStatus() const;

 private:
  struct Problem {
    Place place;
    std::string key, text;
  };
  std::string source_;
  std::vector<Problem> problems_;
  size_t earlier_ = 0;  // problems of earlier phases
  std::vector<std::string> spoilt_;

  bool FollowsFromEarlier(std::string_view key) const;
};

// "; did you mean NEAR?", or nothing when `near` is empty.
std::string DidYouMean(std::string_view near);

}  // namespace saffron
