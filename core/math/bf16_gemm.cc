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

// x[0 .. 32) as pairs; only the first n are read, the others are zero.
SAFFRON_BF16 inline __m512i PairsOf(const float* x, int64_t n) {
  const __m512 first = _mm512_maskz_loadu_ps(FirstLanes(n), x);
  const __m512 second = _mm512_maskz_loadu_ps(FirstLanes(n - kLanes), x + kLanes);
  return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

// Rows 2p and 2p + 1 from column j on, as pairs; zero beyond the last row and column.
SAFFRON_BF16 inline __m512i PairsDown(int64_t rows, int64_t n, const float* x, int64_t ldx,
                                      int64_t p, int64_t j) {
  const __mmask16 lanes = FirstLanes(n - j);
  const float* const at = x + 2 * p * ldx + j;
  const __m512 first = _mm512_maskz_loadu_ps(lanes, at);
  const __m512 second = _mm512_maskz_loadu_ps(2 * p + 1 < rows ? lanes : __mmask16{0},
                                              2 * p + 1 < rows ? at + ldx : at);
  return Interleave(first, second);
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

// R rows by up to a panel's columns. A(i, p) = a[i * stride + p], or a[i + p * stride] (kDown).
template <int R, bool kAccumulate, bool kDown>
SAFFRON_BF16 void Tile(int64_t columns, int64_t pairs, const Bf16Pair* a, int64_t stride,
                       const Bf16Pair* b, float* c, int64_t ldc) {
  const __mmask16 some = FirstLanes(columns), more = FirstLanes(columns - kLanes);
  __m512 left[R], right[R];
  for (int i = 0; i < R; ++i) {
    left[i] = kAccumulate ? _mm512_maskz_loadu_ps(some, c + i * ldc) : _mm512_setzero_ps();
    right[i] =
        kAccumulate ? _mm512_maskz_loadu_ps(more, c + i * ldc + kLanes) : _mm512_setzero_ps();
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
    _mm512_mask_storeu_ps(c + i * ldc, some, left[i]);
    _mm512_mask_storeu_ps(c + i * ldc + kLanes, more, right[i]);
  }
}

template <int R, bool kAccumulate, bool kDown>
void AnyTile(int64_t rows, int64_t columns, int64_t pairs, const Bf16Pair* a, int64_t stride,
             const Bf16Pair* b, float* c, int64_t ldc) {
  if constexpr (R > 1) {
    if (rows < R) {
      return AnyTile<R - 1, kAccumulate, kDown>(rows, columns, pairs, a, stride, b, c, ldc);
    }
  }
  Tile<R, kAccumulate, kDown>(columns, pairs, a, stride, b, c, ldc);
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
void Panels(int64_t m, int64_t n, int64_t pairs, int64_t depth, const Bf16Pair* a, int64_t stride,
            const Bf16Pair* b, float* c, int64_t ldc) {
  const auto tile = [&](int64_t i, int64_t rows, int64_t j) {
    AnyTile<kTileRows, kAccumulate, kDown>(rows, std::min(kBf16Panel, n - j), pairs,
                                           a + i * (kDown ? 1 : stride), stride, b + j * depth,
                                           c + i * ldc + j, ldc);
  };
  if constexpr (kDown) {
    // C is as large as a weight: go along its rows. A's few rows stay in the first-level cache.
    for (int64_t i = 0, rows; i < m; i += rows) {
      rows = RowsOfTile(m - i);
      for (int64_t j = 0; j < n; j += kBf16Panel) {
        if (j + kBf16Panel < n) {
          PrefetchTile(rows, c + i * ldc + j + kBf16Panel, ldc);
        } else if (i + rows < m) {
          PrefetchTile(RowsOfTile(m - i - rows), c + (i + rows) * ldc, ldc);
        }
        tile(i, rows, j);
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

// A stretch of k at a time: of B so many rows of a panel fill half the first-level cache.
template <bool kAccumulate, bool kDown>
void Blocks(int64_t m, int64_t n, int64_t pairs, const Bf16Pair* a, int64_t stride,
            const Bf16Pair* b, float* c, int64_t ldc) {
  constexpr int64_t kInner = 128;
  Panels<kAccumulate, kDown>(m, n, std::min(pairs, kInner), pairs, a, stride, b, c, ldc);
  for (int64_t p = kInner; p < pairs; p += kInner) {
    Panels<true, kDown>(m, n, std::min(kInner, pairs - p), pairs, a + p * (kDown ? stride : 1),
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
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n; j += 2 * kLanes) {
      _mm512_mask_storeu_epi32(to + i * ldto + j / 2, FirstLanes(Bf16Pairs(n - j)),
                               PairsOf(x + i * ldx + j, n - j));
    }
  }
}

SAFFRON_BF16 void Bf16DownColumns(int64_t rows, int64_t n, const float* x, int64_t ldx,
                                  Bf16Pair* to, int64_t ldto) {
  for (int64_t p = 0; p < Bf16Pairs(rows); ++p) {
    for (int64_t j = 0; j < n; j += kLanes) {
      _mm512_mask_storeu_epi32(to + p * ldto + j, FirstLanes(n - j),
                               PairsDown(rows, n, x, ldx, p, j));
    }
  }
}

SAFFRON_BF16 void Bf16PackRight(int64_t k, int64_t n, const float* b, int64_t ldb,
                                Bf16Pair* packed) {
  const int64_t pairs = Bf16Pairs(k);
  for (int64_t p = 0; p < pairs; ++p) {
    for (int64_t j = 0; j < n; j += kBf16Panel) {
      Bf16Pair* const to = packed + j * pairs + p * kBf16Panel;
      _mm512_storeu_si512(to, PairsDown(k, n, b, ldb, p, j));
      _mm512_storeu_si512(to + kLanes, PairsDown(k, n, b, ldb, p, j + kLanes));
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
        rows[r] =
            j + r < n ? PairsOf(b + (j + r) * ldb + 2 * p, k - 2 * p) : _mm512_setzero_si512();
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
  const int64_t pairs = Bf16Pairs(k);
  if (a.inner_stride == 1) {
    Blocks<kAccumulate, false>(m, n, pairs, a.data, a.row_stride, packed, c, ldc);
  } else {
    CHECK(a.row_stride == 1) << "the left side has strides " << a.row_stride << ", "
                             << a.inner_stride;
    Blocks<kAccumulate, true>(m, n, pairs, a.data, a.inner_stride, packed, c, ldc);
  }
}

template void Bf16Gemm<false>(int64_t, int64_t, int64_t, const GemmLeft<Bf16Pair>&, const Bf16Pair*,
                              float*, int64_t);
template void Bf16Gemm<true>(int64_t, int64_t, int64_t, const GemmLeft<Bf16Pair>&, const Bf16Pair*,
                             float*, int64_t);

}  // namespace saffron
