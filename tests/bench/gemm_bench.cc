// The dense products of a transformer's training step, of the shapes that transformer_step_bench
// trains, against Eigen and OpenBLAS.
//
// Each row is the work of one weight for a whole batch of tokens: forward y = x w, to its input
// dx = dy w', or to its gradient dw += x' dy. Ours as in training: the weight packed once, then
// blocks of 192 rows; Eigen and OpenBLAS as is best for them, in one call. All take turns, in
// processor time of one thread; the least of their times counts, so that the machine's other work
// does not. The last columns: ours as a share of the better of the two, and ours with bfloat16
// operands, where the CPU has AVX512-BF16.
//
//   build/release/bench/gemm_bench [seconds a row [letters of shapes]]
//
// OpenBLAS is used if libopenblas.so.0 is there (Debian: libopenblas0-pthread); else its column is
// empty.

#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/math/aligned_array.h"
#include "core/math/matrix.h"
#include "core/transformer/linear.h"

namespace saffron {
namespace {

constexpr int64_t kBlock = 192;

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// cblas_sgemm of the C interface to BLAS; row-major.
class OpenBlas {
 public:
  OpenBlas() {
    void* const library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    sgemm_ = reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
    const auto threads =
        reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads"));
    if (threads != nullptr) threads(1);
  }
  bool ok() const { return sgemm_ != nullptr; }
  // c[m, n] = a b + beta c, a and b as they are or transposed.
  void Gemm(int64_t m, int64_t n, int64_t k, bool a_transposed, Rows<float> a, bool b_transposed,
            Rows<float> b, float beta, Rows<float> c) const {
    constexpr int kRowMajor = 101, kStraight = 111, kTransposed = 112;
    sgemm_(kRowMajor, a_transposed ? kTransposed : kStraight,
           b_transposed ? kTransposed : kStraight, m, n, k, 1, a.data, a.stride, b.data, b.stride,
           beta, c.data, c.stride);
  }

 private:
  using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                         float, float*, int);
  Sgemm sgemm_ = nullptr;
};

auto View(Rows<float> x, int64_t rows, int64_t cols) {
  return Eigen::Map<Matrix<float>, 0, Eigen::OuterStride<>>(x.data, rows, cols,
                                                            Eigen::OuterStride<>(x.stride));
}

// One weight w[in, out] at work on a batch.
class Bed {
 public:
  Bed(int64_t tokens, int64_t in, int64_t out, bool bf16)
      : tokens_(tokens), in_(in), out_(out), bf16_(bf16) {
    int64_t used = 0;
    const auto size = [&](bool count) {
      float* p = count ? nullptr : memory_.data();
      const auto take = [&](int64_t n) {
        float* const at = p;
        n = (n + 15) / 16 * 16;
        used += n;
        if (p != nullptr) p += n;
        return at;
      };
      const auto rows = [&](int64_t n, int64_t width, int64_t stride) {
        return Rows<float>{take(n * stride), stride};
      };
      x = rows(tokens, in, StrideOf<float>(in));
      y = rows(tokens, out, StrideOf<float>(out));
      w = rows(in, out, out);
      dw = rows(in, out, out);
      for (PackedWeight<float>* weight : {&weight_, &rounded_}) {
        weight->in = in;
        weight->out = out;
        weight->bf16 = weight == &rounded_ ? &scratch_ : nullptr;
        weight->forward = take(PackedRight<float>::Size(in, out, weight->bf16 != nullptr));
        weight->backward = take(PackedRight<float>::Size(out, in, weight->bf16 != nullptr));
      }
      const int64_t widest = std::max(in, out);
      scratch_.left = reinterpret_cast<Bf16Pair*>(take(Bf16LeftSize(kBlock, widest)));
      scratch_.right = reinterpret_cast<Bf16Pair*>(take(Bf16RightSize(kBlock, widest)));
    };
    size(true);
    memory_ = AlignedArray<float>(used);
    size(false);
    for (const Rows<float>& m : {x, y, w}) {
      const int64_t n = m.data == w.data ? in * out : tokens * m.stride;
      for (int64_t i = 0; i < n; ++i) m.data[i] = static_cast<float>(i % 17) / 16 - 0.5f;
    }
  }

  const PackedWeight<float>& weight(bool bf16) const { return bf16 ? rounded_ : weight_; }
  template <typename F>
  void ForBlocks(F f) const {
    for (int64_t t = 0; t < tokens_; t += kBlock) {
      f(std::min(kBlock, tokens_ - t), Rows<float>{x.row(t), x.stride},
        Rows<float>{y.row(t), y.stride});
    }
  }
  void Forward(bool bf16) const {
    PackWeight(w.data, /*backward=*/false, weight(bf16));
    ForBlocks([&](int64_t rows, Rows<float> xs, Rows<float> ys) {
      LinearForward<float>(rows, xs, weight(bf16), nullptr, ys);
    });
  }
  void ToInput(bool bf16) const {
    PackWeightTransposed(w.data, /*backward=*/false, weight(bf16).Transposed());
    ForBlocks([&](int64_t rows, Rows<float> xs, Rows<float> ys) {
      LinearBackwardInput<false>(rows, ys, weight(bf16), xs);
    });
  }
  void ToWeight(bool bf16) const {
    ForBlocks([&](int64_t rows, Rows<float> xs, Rows<float> ys) {
      LinearBackwardWeight<float>(rows, xs, ys, weight(bf16), dw.data, nullptr);
    });
  }

  Rows<float> x, y, w, dw;

 private:
  int64_t tokens_, in_, out_;
  bool bf16_;
  AlignedArray<float> memory_;
  PackedWeight<float> weight_, rounded_;
  Bf16Scratch scratch_;
};

// The least time of each, in turns for so many seconds.
std::vector<double> Race(double seconds, const std::vector<std::function<void()>>& all) {
  std::vector<double> least(all.size(), 1e9);
  double total = 0;
  for (int round = 0; total < seconds || round < 4; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      const double start = CpuSeconds();
      all[i]();
      const double time = CpuSeconds() - start;
      total += time;
      if (round > 0) least[i] = std::min(least[i], time);
    }
  }
  return least;
}

struct Row {
  const char* shape;
  const char* weight;
  int64_t tokens, in, out;
  bool to_weight_alone = false;
};

void Run(const Row& row, const OpenBlas& blas, double seconds, double* worst) {
  const bool bf16 = CpuHasBf16();
  const Bed bed(row.tokens, row.in, row.out, bf16);
  const int64_t tokens = row.tokens, in = row.in, out = row.out;
  auto x = View(bed.x, tokens, in), y = View(bed.y, tokens, out);
  auto w = View(bed.w, in, out), dw = View(bed.dw, in, out);
  struct Direction {
    const char* name;
    std::function<void(bool)> own;
    std::function<void()> eigen, blas;
  };
  const Direction directions[] = {
      {"forward", [&](bool b) { bed.Forward(b); }, [&] { y.noalias() = x * w; },
       [&] { blas.Gemm(tokens, out, in, false, bed.x, false, bed.w, 0, bed.y); }},
      {"to input", [&](bool b) { bed.ToInput(b); }, [&] { x.noalias() = y * w.transpose(); },
       [&] { blas.Gemm(tokens, in, out, false, bed.y, true, bed.w, 0, bed.x); }},
      {"to weight", [&](bool b) { bed.ToWeight(b); }, [&] { dw.noalias() += x.transpose() * y; },
       [&] { blas.Gemm(in, out, tokens, true, bed.x, false, bed.y, 1, bed.dw); }}};
  for (const Direction& direction : directions) {
    if (row.to_weight_alone && &direction != &directions[2]) continue;
    std::vector<std::function<void()>> all = {[&] { direction.own(false); }, direction.eigen};
    if (blas.ok()) all.push_back(direction.blas);
    if (bf16) all.push_back([&] { direction.own(true); });
    const std::vector<double> times = Race(seconds, all);
    const double flops = 2e-9 * static_cast<double>(tokens * in * out);
    const double own = flops / times[0], eigen = flops / times[1];
    const double open = blas.ok() ? flops / times[2] : 0;
    const double share = 100 * own / std::max(eigen, open);
    *worst = std::min(*worst, share);
    std::printf("%s  %-8s %-9s %5d x %4d x %4d   %6.1f %6.1f %8.1f   %5.0f %%   ", row.shape,
                row.weight, direction.name, static_cast<int>(tokens), static_cast<int>(in),
                static_cast<int>(out), own, eigen, open, share);
    bf16 ? std::printf("%6.1f\n", flops / times.back()) : std::printf("\n");
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) {
  using namespace saffron;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  const std::string wanted = argc > 2 ? argv[2] : "ABC";
  const OpenBlas blas;
  std::printf("GFLOP/s%s\n", blas.ok() ? "" : " (no libopenblas.so.0)");
  std::printf(
      "   weight   direction  tokens x in x out         own  Eigen OpenBLAS   of best     "
      "bf16\n");
  // A tied readout's gradient is that of the embedding, which stands as [vocab, width].
  const Row rows[] = {
      {"A", "wq", 1024, 128, 128},
      {"A", "w1", 1024, 128, 512},
      {"A", "w2", 1024, 512, 128},
      {"A", "readout", 1024, 128, 4096},
      {"A", "embed", 1024, 4096, 128, true},
      {"B", "wq", 1024, 64, 64},
      {"B", "w1", 1024, 64, 256},
      {"B", "w2", 1024, 256, 64},
      {"B", "readout", 1024, 64, 4096},
      {"B", "embed", 1024, 4096, 64, true},
      {"C", "wq", 512, 256, 256},
      {"C", "w1", 512, 256, 1024},
      {"C", "w2", 512, 1024, 256},
      {"C", "readout", 512, 256, 2048},
      {"C", "embed", 512, 2048, 256, true},
  };
  double worst = 1e9;
  for (const Row& row : rows) {
    if (wanted.find(row.shape) != std::string::npos) Run(row, blas, seconds, &worst);
  }
  std::printf("least share of the best: %.0f %%\n", worst);
  return 0;
}
