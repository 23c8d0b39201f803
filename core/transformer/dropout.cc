#include "core/transformer/dropout.h"

#include <algorithm>
#include <cmath>

#include "core/base/random.h"
#include "core/math/lanes.h"

namespace saffron {

template <typename T>
void FillDropoutMask(const DropoutSite& site, int64_t first, int64_t rows, int64_t n,
                     Rows<T> mask) {
  const CounterRandom random(site.seed, RandomPurpose::kDropout, site.site);
  const int64_t blocks = (n + 3) / 4;
  // Dropped where a draw of 32 bits lies below this.
  const auto threshold = static_cast<uint64_t>(std::llround(site.rate * 0x1p32));
  const T kept = static_cast<T>(1 / (1 - site.rate));
  for (int64_t r = 0; r < rows; ++r) {
    T* const row = mask.row(r);
    const uint64_t base =
        (static_cast<uint64_t>(site.step) << 36) + static_cast<uint64_t>((first + r) * blocks);
    for (int64_t b = 0; b < blocks; ++b) {
      const auto draws = random.Block(base + static_cast<uint64_t>(b));
      const int64_t count = std::min<int64_t>(4, n - 4 * b);
      for (int64_t i = 0; i < count; ++i) row[4 * b + i] = draws[i] < threshold ? T{0} : kept;
    }
  }
}

template <typename T>
void ApplyMask(int64_t rows, int64_t n, Rows<T> x, Rows<T> mask, Rows<T> y) {
  for (int64_t r = 0; r < rows; ++r) {
    const T *const in = x.row(r), *const m = mask.row(r);
    T* const out = y.row(r);
    ForLanes<T>(n, [=]<typename S>(int64_t i) {
      S::Store(out + i, S::Mul(S::Load(in + i), S::Load(m + i)));
    });
  }
}

template <typename T>
void AddMasked(int64_t rows, int64_t n, Rows<T> x, Rows<T> mask, Rows<T> y) {
  for (int64_t r = 0; r < rows; ++r) {
    const T *const in = x.row(r), *const m = mask.row(r);
    T* const out = y.row(r);
    ForLanes<T>(n, [=]<typename S>(int64_t i) {
      S::Store(out + i, S::MulAdd(S::Load(in + i), S::Load(m + i), S::Load(out + i)));
    });
  }
}

#define SAFFRON_INSTANTIATE(T)                                                              \
  template void FillDropoutMask<T>(const DropoutSite&, int64_t, int64_t, int64_t, Rows<T>); \
  template void ApplyMask<T>(int64_t, int64_t, Rows<T>, Rows<T>, Rows<T>);                  \
  template void AddMasked<T>(int64_t, int64_t, Rows<T>, Rows<T>, Rows<T>);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
