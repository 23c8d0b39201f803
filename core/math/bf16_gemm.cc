#include "core/math/bf16_gemm.h"

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "core/base/check.h"

// GCC 12 takes its own intrinsics' unused operands for uninitialised ones.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

// The only functions of the program that use more than it is built for. Each carries the attribute
// itself, so that nothing shared with other files is compiled with it.
#define SAFFRON_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace saffron {
namespace {

constexpr int64_t kLanes = 16;
// A tile is so many rows by one panel of C: 24 sums, and the instruction wants six under way.
constexpr int64_t kTileRows = 12;

inline __mmask16 FirstLanes(int64_t n) {
  return static_cast<__mmask16>(n >= kLanes ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

template <typename T>
inline void Prefetch(const T* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Lane i: first(i) in the lower half, second(i) in the upper.
SAFFRON_BF16 inline __m512i Interleave(__m512 first, __m512 second) {
  const __m512i apart = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, apart);
}

// x[0 .. 32) as pairs.
SAFFRON_BF16 inline __m512i PairsOf(const float* x) {
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + kLanes), _mm512_loadu_ps(x));
}
// The same, of which only the first n are read; the others are zero.
SAFFRON_BF16 inline __m512i PairsOf(const float* x, int64_t n) {
  if (n >= 2 * kLanes) return PairsOf(x);
  const __m512 first = _mm512_maskz_loadu_ps(FirstLanes(n), x);
  const __m512 second = _mm512_maskz_loadu_ps(FirstLanes(n - kLanes), x + kLanes);
  return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

// x[0 .. 16) in pairs with below[0 .. 16), of which only the first n are read; the others are zero.
// Without a row below, it is zero.
SAFFRON_BF16 inline __m512i PairsDown(const float* x, const float* below, int64_t n) {
  const __mmask16 lanes = FirstLanes(n);
  return Interleave(_mm512_maskz_loadu_ps(lanes, x),
                    below == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(lanes, below));
}

SAFFRON_BF16 void Transpose16(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

// R rows by one panel of C. A(i, p) = a[i * stride + p], or a[i + p * stride] (kDown).
template <int R, bool kAccumulate, bool kDown>
[[gnu::always_inline]] SAFFRON_BF16 inline void Tile(int64_t pairs, const Bf16Pair* a,
                                                     int64_t stride, const Bf16Pair* b, float* c,
                                                     int64_t ldc) {
  __m512 left[R], right[R];
  for (int i = 0; i < R; ++i) {
    left[i] = kAccumulate ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
    right[i] = kAccumulate ? _mm512_loadu_ps(c + i * ldc + kLanes) : _mm512_setzero_ps();
  }
#pragma GCC unroll 2
  for (int64_t p = 0; p < pairs; ++p) {
    Prefetch(b + (p + 16) * kBf16Panel);
    Prefetch(b + (p + 16) * kBf16Panel + kLanes);
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + p * kBf16Panel);
    const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + p * kBf16Panel + kLanes);
    for (int i = 0; i < R; ++i) {
      const auto x = (__m512bh)_mm512_set1_epi32(
          static_cast<int>(kDown ? a[i + p * stride] : a[i * stride + p]));
      left[i] = _mm512_dpbf16_ps(left[i], x, b0);
      right[i] = _mm512_dpbf16_ps(right[i], x, b1);
    }
  }
  for (int i = 0; i < R; ++i) {
    _mm512_storeu_ps(c + i * ldc, left[i]);
    _mm512_storeu_ps(c + i * ldc + kLanes, right[i]);
  }
}

template <int R, bool kAccumulate, bool kDown>
SAFFRON_BF16 void FewRows(int64_t rows, int64_t pairs, const Bf16Pair* a, int64_t stride,
                          const Bf16Pair* b, float* c, int64_t ldc) {
  if constexpr (R > 1) {
    if (rows < R) return FewRows<R - 1, kAccumulate, kDown>(rows, pairs, a, stride, b, c, ldc);
  }
  Tile<R, kAccumulate, kDown>(pairs, a, stride, b, c, ldc);
}

// Fewer columns than a panel's.
template <bool kAccumulate, bool kDown>
void FewColumns(int64_t rows, int64_t columns, int64_t pairs, const Bf16Pair* a, int64_t stride,
                const Bf16Pair* b, float* c, int64_t ldc) {
  alignas(64) float buffer[kTileRows * kBf16Panel] = {};
  for (int64_t i = 0; kAccumulate && i < rows; ++i) {
    std::copy_n(c + i * ldc, columns, buffer + i * kBf16Panel);
  }
  FewRows<kTileRows, kAccumulate, kDown>(rows, pairs, a, stride, b, buffer, kBf16Panel);
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(buffer + i * kBf16Panel, columns, c + i * ldc);
  }
}

// Of the rows that are left: twelve, but never so many that fewer than three remain, which keep too
// few sums under way.
int64_t RowsOfTile(int64_t left) {
  if (left <= kTileRows) return left;
  return left < kTileRows + 3 ? (left + 1) / 2 : kTileRows;
}

// What the hardware would find too late: the tile of C that comes next.
void PrefetchTile(int64_t rows, const float* c, int64_t ldc) {
  for (int64_t r = 0; r < rows; ++r) {
    Prefetch(c + r * ldc);
    Prefetch(c + r * ldc + kLanes);
  }
}

// `depth` pairs stand between the panels of B.
template <bool kAccumulate, bool kDown>
SAFFRON_BF16 void Panels(int64_t m, int64_t n, int64_t pairs, int64_t depth, const Bf16Pair* a,
                         int64_t stride, const Bf16Pair* b, float* c, int64_t ldc) {
  // Nearly all tiles are whole: those without a call, which would end in a vzeroupper that waits
  // for all sums of the tile (measured: 90 cycles of 3,300).
  const auto tile = [&](int64_t i, int64_t rows, int64_t j) __attribute__((always_inline))
  SAFFRON_BF16 {
    const Bf16Pair* const left = a + i * (kDown ? 1 : stride);
    const Bf16Pair* const panel = b + j * depth;
    float* const to = c + i * ldc + j;
    if (n - j < kBf16Panel) {
      FewColumns<kAccumulate, kDown>(rows, n - j, pairs, left, stride, panel, to, ldc);
    } else if (rows < kTileRows) {
      FewRows<kTileRows - 1, kAccumulate, kDown>(rows, pairs, left, stride, panel, to, ldc);
    } else {
      Tile<kTileRows, kAccumulate, kDown>(pairs, left, stride, panel, to, ldc);
    }
  };
  if constexpr (kDown) {
    // C is as large as a weight: go along its rows, A's few in the first-level cache, but no
    // further than what of B stays in the second until all rows have met it.
    constexpr int64_t kStays = (int64_t{256} << 10) / sizeof(Bf16Pair);
    const int64_t across = std::max<int64_t>(kStays / pairs / kBf16Panel, 1) * kBf16Panel;
    for (int64_t begin = 0; begin < n; begin += across) {
      const int64_t end = std::min(n, begin + across);
      for (int64_t i = 0, rows; i < m; i += rows) {
        rows = RowsOfTile(m - i);
        for (int64_t j = begin; j < end; j += kBf16Panel) {
          if (j + kBf16Panel < end) {
            PrefetchTile(rows, c + i * ldc + j + kBf16Panel, ldc);
          } else if (i + rows < m) {
            PrefetchTile(RowsOfTile(m - i - rows), c + (i + rows) * ldc + begin, ldc);
          }
          tile(i, rows, j);
        }
      }
    }
  } else {
    // A panel of B stays there.
    const int64_t tiles = (m + kTileRows - 1) / kTileRows, lines = (2 * pairs + tiles - 1) / tiles;
    for (int64_t j = 0; j < n; j += kBf16Panel) {
      const Bf16Pair* panel = b + (j + kBf16Panel) * depth;
      int64_t left = j + kBf16Panel < n ? 2 * pairs : 0;
      for (int64_t i = 0, rows; i < m; i += rows) {
        rows = RowsOfTile(m - i);
        for (int64_t p = 0; p < lines && left > 0; ++p, --left, panel += kLanes) {
          _mm_prefetch(reinterpret_cast<const char*>(panel), _MM_HINT_T1);
        }
        const int64_t next = i + rows;
        if (next < m) {
          const int64_t count = RowsOfTile(m - next);
          PrefetchTile(count, c + next * ldc + j, ldc);
          for (int64_t r = next; r < next + count; ++r) {
            for (int64_t p = 0; p < pairs; p += kLanes) Prefetch(a + r * stride + p);
          }
        }
        tile(i, rows, j);
      }
    }
  }
}

// A stretch of k at a time: so many pairs of a tile's rows stay in the first-level cache, while its
// panel of B comes from the second in time. Longer ones read and write C less often.
template <bool kAccumulate, bool kDown>
void Blocks(int64_t m, int64_t n, int64_t pairs, int64_t depth, const Bf16Pair* a, int64_t stride,
            const Bf16Pair* b, float* c, int64_t ldc) {
  constexpr int64_t kInner = 512;
  Panels<kAccumulate, kDown>(m, n, std::min(pairs, kInner), depth, a, stride, b, c, ldc);
  for (int64_t p = kInner; p < pairs; p += kInner) {
    Panels<true, kDown>(m, n, std::min(kInner, pairs - p), depth, a + p * (kDown ? stride : 1),
                        stride, b + p * kBf16Panel, c, ldc);
  }
}

}  // namespace

bool CpuHasBf16() {
  const char* const most = std::getenv("SAFFRON_CPU");
  if (most != nullptr && std::string_view(most) == "x86-64-v3") return false;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16");
}

SAFFRON_BF16 void Bf16AlongRows(int64_t rows, int64_t n, const float* x, int64_t ldx, Bf16Pair* to,
                                int64_t ldto) {
  for (int64_t i = 0; i < rows; ++i, x += ldx, to += ldto) {
    int64_t j = 0;
    for (; j + 2 * kLanes <= n; j += 2 * kLanes) _mm512_storeu_si512(to + j / 2, PairsOf(x + j));
    if (j < n) {
      _mm512_mask_storeu_epi32(to + j / 2, FirstLanes(Bf16Pairs(n - j)), PairsOf(x + j, n - j));
    }
  }
}

SAFFRON_BF16 void Bf16DownColumns(int64_t rows, int64_t n, const float* x, int64_t ldx,
                                  Bf16Pair* to, int64_t ldto) {
  for (int64_t i = 0; i < rows; i += 2, x += 2 * ldx, to += ldto) {
    const float* const below = i + 1 < rows ? x + ldx : nullptr;
    int64_t j = 0;
    for (; below != nullptr && j + kLanes <= n; j += kLanes) {
      _mm512_storeu_si512(to + j, Interleave(_mm512_loadu_ps(x + j), _mm512_loadu_ps(below + j)));
    }
    for (; j < n; j += kLanes) {
      _mm512_mask_storeu_epi32(to + j, FirstLanes(n - j),
                               PairsDown(x + j, below == nullptr ? below : below + j, n - j));
    }
  }
}

SAFFRON_BF16 void Bf16PackRight(int64_t k, int64_t n, const float* b, int64_t ldb,
                                Bf16Pair* packed) {
  const int64_t panel = Bf16Pairs(k) * kBf16Panel;
  for (int64_t i = 0; i < k; i += 2, b += 2 * ldb, packed += kBf16Panel) {
    const float* const below = i + 1 < k ? b + ldb : nullptr;
    int64_t j = 0;
    Bf16Pair* to = packed;
    for (; below != nullptr && j + kBf16Panel <= n; j += kBf16Panel, to += panel) {
      _mm512_storeu_si512(to, Interleave(_mm512_loadu_ps(b + j), _mm512_loadu_ps(below + j)));
      _mm512_storeu_si512(to + kLanes, Interleave(_mm512_loadu_ps(b + j + kLanes),
                                                  _mm512_loadu_ps(below + j + kLanes)));
    }
    for (; j < n; j += kBf16Panel, to += panel) {
      for (int64_t l = 0; l < kBf16Panel; l += kLanes) {
        _mm512_storeu_si512(
            to + l, PairsDown(b + j + l, below == nullptr ? below : below + j + l, n - j - l));
      }
    }
  }
}

SAFFRON_BF16 void Bf16PackRightTransposed(int64_t k, int64_t n, const float* b, int64_t ldb,
                                          Bf16Pair* packed) {
  const int64_t pairs = Bf16Pairs(k);
  for (int64_t j = 0; j < (n + kBf16Panel - 1) / kBf16Panel * kBf16Panel; j += kLanes) {
    Bf16Pair* const to = packed + j / kBf16Panel * kBf16Panel * pairs + j % kBf16Panel;
    for (int64_t p = 0; p < pairs; p += kLanes) {
      __m512i rows[16];
      for (int64_t r = 0; r < kLanes; ++r) {
        const float* const row = b + (j + r) * ldb + 2 * p;
        rows[r] = j + r < n ? PairsOf(row, k - 2 * p) : _mm512_setzero_si512();
        // Sixteen rows are more streams than the hardware follows.
        _mm_prefetch(reinterpret_cast<const char*>(row + kLanes * ldb), _MM_HINT_T1);
        _mm_prefetch(reinterpret_cast<const char*>(row + kLanes * ldb + kLanes), _MM_HINT_T1);
      }
      Transpose16(rows);
      for (int64_t r = 0; r < std::min(kLanes, pairs - p); ++r) {
        _mm512_storeu_si512(to + (p + r) * kBf16Panel, rows[r]);
      }
    }
  }
}

template <bool kAccumulate>
void Bf16Gemm(int64_t m, int64_t n, int64_t k, const GemmLeft<Bf16Pair>& a, const Bf16Pair* packed,
              float* c, int64_t ldc) {
  Bf16Gemm<kAccumulate>(m, n, k, a, packed, k, c, ldc);
}

template <bool kAccumulate>
void Bf16Gemm(int64_t m, int64_t n, int64_t k, const GemmLeft<Bf16Pair>& a, const Bf16Pair* packed,
              int64_t depth, float* c, int64_t ldc) {
  const int64_t pairs = Bf16Pairs(k), between = Bf16Pairs(depth);
  if (a.inner_stride == 1) {
    Blocks<kAccumulate, false>(m, n, pairs, between, a.data, a.row_stride, packed, c, ldc);
  } else {
    CHECK(a.row_stride == 1) << "the left side has strides " << a.row_stride << ", "
                             << a.inner_stride;
    Blocks<kAccumulate, true>(m, n, pairs, between, a.data, a.inner_stride, packed, c, ldc);
  }
}

#define SAFFRON_INSTANTIATE(kAccumulate)                                                    \
  template void Bf16Gemm<kAccumulate>(int64_t, int64_t, int64_t, const GemmLeft<Bf16Pair>&, \
                                      const Bf16Pair*, float*, int64_t);                    \
  template void Bf16Gemm<kAccumulate>(int64_t, int64_t, int64_t, const GemmLeft<Bf16Pair>&, \
                                      const Bf16Pair*, int64_t, float*, int64_t);
SAFFRON_INSTANTIATE(false)
SAFFRON_INSTANTIATE(true)
#undef SAFFRON_INSTANTIATE

}  // namespace saffron
