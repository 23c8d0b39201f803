#pragma once
// Which targets of a training stream are held out of the statistics, to fit the few numbers that
// counting cannot give (gains, smoothing, attention scale).

#include <cstdint>
#include <string>
#include <vector>

namespace saffron {

// The two parts of a stream's targets.
enum class Part : uint8_t {
  kCounted,  // what every statistic is made of
  kHeld,     // what gains are fitted to; its counts are added once they are
};

// Blocks of `block` targets; of every `every` consecutive blocks the middle one is held out.
struct HoldoutRule {
  int64_t block = 256;
  int64_t every = 50;

  // The rule for a stream of `tokens`: blocks of 256, every 50th (every 10th up to 200,000 tokens);
  // streams of fewer than ten such blocks are cut into ten.
  static HoldoutRule For(int64_t tokens);

  bool Holds(int64_t target) const { return target / block % every == every / 2; }
  bool IsIn(Part part, int64_t target) const { return Holds(target) == (part == Part::kHeld); }
  // The held-out targets of a stream, thinned evenly to about `most`.
  std::vector<int32_t> Targets(int64_t tokens, int64_t most) const;
  std::string Key() const;  // "256x50"
};

// Streams shorter than this hold nothing out worth fitting to.
inline constexpr int64_t kSolveTokensMin = 64;
// About how many hold-out targets gains are fitted to.
inline constexpr int64_t kHoldoutTargets = 10'000;

}  // namespace saffron
