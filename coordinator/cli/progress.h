#pragma once
// Live progress of a roadmap on stderr: a small block that updates itself on a terminal, a line
// every few seconds elsewhere.

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "saffron/v1/roadmap.pb.h"

namespace saffron {

// Trials that will not run any more.
int64_t Finished(const v1::RoadmapStatus& status);

class Progress {
 public:
  // Writes to the descriptor `fd`.
  explicit Progress(int fd);
  ~Progress();  // leaves the block as it stands
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // The newest state; the first one of a revision is what the pace is reckoned from.
  void Update(const v1::RoadmapStatus& status, absl::Time now);
  // Redraws if it is time to.
  void Tick(absl::Time now);
  // A line of its own, above the block.
  void Message(const std::string& text);
  // Draws the last state.
  void Finish(absl::Time now);

 private:
  void Draw(absl::Time now);
  void Erase();
  void Write(const std::string& text);

  const int fd_;
  const bool terminal_, colour_;
  std::optional<v1::RoadmapStatus> first_, newest_;
  absl::Time begun_, drawn_ = absl::InfinitePast();
  std::string drawn_text_;
  int lines_ = 0;  // of the block on the screen
};

// How far it is and how long it will take, from the state of the same revision at `elapsed` ago and
// now. The remaining time counts the trials' estimated costs, not their number: long ones run
// first. Only what ran since then counts, not what was done before; as long as that is less than a
// twentieth of what was open, the first small trials and starting up would decide, and it stays
// unknown.
struct Pace {
  double trials_per_second = 0;                         // 0: not known yet
  absl::Duration remaining = absl::InfiniteDuration();  // infinite: not known yet
};
Pace PaceOf(const v1::RoadmapStatus& first, const v1::RoadmapStatus& now, absl::Duration elapsed);

// "102/250 (41 %), 8.3/min, about 14 min left"
std::string ProgressText(const v1::RoadmapStatus& status, const Pace& pace);
// "best test/perplexity 103.9 (trial 41: bits=128), 1 failed", and why nothing is recorded at
// present; empty when there is nothing to say.
std::string FindingsText(const v1::RoadmapStatus& status);

}  // namespace saffron
