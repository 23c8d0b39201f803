#include "core/train/block_bootstrap.h"

#include <algorithm>
#include <vector>

#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {

Interval BlockBootstrap(absl::Span<const double> differences, int64_t block) {
  constexpr int kResamples = 2000;
  CHECK(!differences.empty() && block > 0);
  struct Sum {
    double sum = 0;
    int64_t size = 0;
  };
  std::vector<Sum> blocks((differences.size() + block - 1) / block);
  Sum all;
  for (size_t i = 0; i < differences.size(); ++i) {
    for (Sum* s : {&blocks[i / block], &all}) {
      s->sum += differences[i];
      ++s->size;
    }
  }
  const CounterRandom random(/*seed=*/0, RandomPurpose::kTest);
  uint64_t drawn = 0;
  std::vector<double> means;
  for (int n = 0; n < kResamples; ++n) {
    Sum resampled;
    for (size_t b = 0; b < blocks.size(); ++b) {
      const Sum& one = blocks[random.Below(drawn++, blocks.size())];
      resampled.sum += one.sum;
      resampled.size += one.size;
    }
    means.push_back(resampled.sum / static_cast<double>(resampled.size));
  }
  std::sort(means.begin(), means.end());
  return {.mean = all.sum / static_cast<double>(all.size),
          .low = means[kResamples / 40],
          .high = means[kResamples - 1 - kResamples / 40]};
}

}  // namespace saffron
