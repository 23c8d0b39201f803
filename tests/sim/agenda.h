#pragma once
// Virtual time, and the one source of chance in a simulation.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "core/base/random.h"

namespace saffron {

// Everything that will happen, in the order of time; what was planned first comes first.
class Agenda {
 public:
  explicit Agenda(absl::Time start) : now_(start) {}

  absl::Time now() const { return now_; }
  void At(absl::Time time, std::function<void()> what) {
    events_.emplace(std::max(time, now_), std::move(what));
  }
  void After(absl::Duration wait, std::function<void()> what) { At(now_ + wait, std::move(what)); }
  bool empty() const { return events_.empty(); }
  // Lets time pass until the next event, and that happen. There is one.
  void Next() {
    now_ = events_.begin()->first;
    auto what = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    what();
  }

 private:
  absl::Time now_;
  std::multimap<absl::Time, std::function<void()>> events_;
};

// Draws in the order of calls; misfortunes happen only while it is `unlucky`.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed, RandomPurpose::kTest) {}

  double Uniform() { return random_.Uniform(draws_++); }
  int Below(int n) { return static_cast<int>(random_.Below(draws_++, n)); }
  bool Chance(double p) { return unlucky && Uniform() < p; }
  absl::Duration Between(double least, double most) {
    return absl::Seconds(least + (most - least) * Uniform());
  }

  bool unlucky = true;

 private:
  CounterRandom random_;
  uint64_t draws_ = 0;
};

// How often rare things happened.
using Marks = std::map<std::string, int64_t>;

}  // namespace saffron
