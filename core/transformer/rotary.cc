#include "core/transformer/rotary.h"

#include <cmath>

namespace saffron {
namespace {

template <typename T>
void Turn(int64_t rows, int64_t length, int heads, int64_t pairs, const T* table, T sign,
          Rows<T> x) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* const turns = table + r % length * 2 * pairs;
    T* row = x.row(r);
    for (int e = 0; e < heads; ++e, row += 2 * pairs) {
      for (int64_t i = 0; i < 2 * pairs; i += 2) {
        const T cosine = turns[i], sine = sign * turns[i + 1], a = row[i], b = row[i + 1];
        row[i] = a * cosine - b * sine;
        row[i + 1] = a * sine + b * cosine;
      }
    }
  }
}

}  // namespace

template <typename T>
void FillRotaryTable(absl::Span<const double> frequencies, int positions, T* table) {
  for (int t = 0; t < positions; ++t) {
    for (const double frequency : frequencies) {
      *table++ = static_cast<T>(std::cos(t * frequency));
      *table++ = static_cast<T>(std::sin(t * frequency));
    }
  }
}

template <typename T>
void Rotate(int64_t rows, int64_t length, int heads, int64_t pairs, const T* table, Rows<T> x) {
  Turn<T>(rows, length, heads, pairs, table, 1, x);
}

template <typename T>
void RotateBack(int64_t rows, int64_t length, int heads, int64_t pairs, const T* table, Rows<T> x) {
  Turn<T>(rows, length, heads, pairs, table, -1, x);
}

#define SAFFRON_INSTANTIATE(T)                                                \
  template void FillRotaryTable<T>(absl::Span<const double>, int, T*);        \
  template void Rotate<T>(int64_t, int64_t, int, int64_t, const T*, Rows<T>); \
  template void RotateBack<T>(int64_t, int64_t, int, int64_t, const T*, Rows<T>);
SAFFRON_INSTANTIATE(float)
SAFFRON_INSTANTIATE(double)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
