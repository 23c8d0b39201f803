// A sparse layer (eight experts, two a token) beside a dense MLP of equal active arithmetic: both
// directions of a whole batch of 1,024 tokens, weights packed and gradients cleared as in a
// training step. Nothing is dropped, so that both do the same products.
//
//   build/release/bench/moe_bench [seconds a case]
//
// Prints, for each size and number of rows worked on at once, milliseconds and their ratio: the bar
// is 1.35 at the rows that the network works on. The two take turns, so that the machine's other
// work meets both; times are the medians of processor time of one thread.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/base/random.h"
#include "core/math/aligned_array.h"
#include "core/transformer/moe_layer.h"

namespace saffron {
namespace {

constexpr int64_t kBatch = 1024, kLength = 64;
constexpr int kExperts = 8, kTop = 2;

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

TransformerShape ShapeOf(int width, int mlp_width, MlpKind kind) {
  TransformerShape shape;
  shape.vocab = 2;
  shape.width = width;
  shape.context = kLength;
  shape.positions = PositionKind::kNone;
  shape.mlp = kind;
  shape.layers = {{.mlp_width = mlp_width,
                   .moe = {.experts = kExperts,
                           .top = kTop,
                           .capacity_factor = kExperts,
                           .second = SecondPolicy::kAll}}};
  return shape;
}

// What both layers have: parameters, gradient, memory, and a batch.
struct Bed {
  explicit Bed(const TransformerShape& of, int64_t at_once)
      : shape(of),
        layout(LayOut(shape)),
        rows(at_once),
        params(layout.size),
        gradient(layout.size) {
    const CounterRandom random(1, RandomPurpose::kTest);
    for (int64_t i = 0; i < layout.size; ++i) {
      params[i] = static_cast<float>(0.05 * random.Normal(static_cast<uint64_t>(i)));
    }
  }
  void TakeBatch(Workspace<float>& workspace) {
    for (Rows<float>* all : {&x, &y, &dy, &dx}) *all = workspace.TakeRows(kBatch, shape.width);
  }
  void FillBatch() {
    const CounterRandom random(2, RandomPurpose::kTest);
    for (int64_t i = 0; i < kBatch * shape.width; ++i) {
      x.row(i / shape.width)[i % shape.width] = static_cast<float>(random.Normal(2 * i));
      dy.row(i / shape.width)[i % shape.width] = static_cast<float>(random.Normal(2 * i + 1));
    }
  }
  static Rows<float> From(Rows<float> all, int64_t row) { return {all.row(row), all.stride}; }

  TransformerShape shape;
  TransformerLayout layout;
  int64_t rows;
  std::vector<float> params, gradient;
  AlignedArray<float> memory;
  Rows<float> x, y, dy, dx;
};

class Sparse : public Bed {
 public:
  Sparse(int width, int mlp_width, MlpKind kind, int64_t at_once)
      : Bed(ShapeOf(width, mlp_width, kind), at_once) {
    Workspace<float> counting(nullptr);
    Take(counting);
    memory = AlignedArray<float>(counting.used());
    Workspace<float> workspace(memory.data());
    Take(workspace);
    FillBatch();
  }
  void Step() {
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    layer_.back().Pack(params.data(), true);
    MoeLosses losses;
    for (int64_t row = 0; row < kBatch; row += rows) {
      const int64_t sequences = std::min(rows, kBatch - row) / kLength;
      const Chunk chunk{.first = row,
                        .sequences = sequences,
                        .length = kLength,
                        .step = 1,
                        .first_drawn = row,
                        .train = true,
                        .batch = kBatch};
      layer_.back().Draw(chunk);
      layer_.back().Forward(chunk, From(x, row), From(y, row), losses);
      layer_.back().Backward(chunk, From(dy, row), From(dx, row), gradient.data(), scratch_);
    }
  }

 private:
  void Take(Workspace<float>& workspace) {
    layer_.clear();
    layer_.emplace_back(shape, layout, 0, params.data(), MoeTraining{}, 5, rows, true, workspace);
    scratch_ = TakeMoeScratch(shape, rows, workspace);
    TakeBatch(workspace);
  }
  std::vector<MoeLayer<float>> layer_;
  MoeScratch<float> scratch_;
};

class Dense : public Bed {
 public:
  Dense(int width, int mlp_width, MlpKind kind, int64_t at_once)
      : Bed(ShapeOf(width, mlp_width * kTop, kind), at_once) {
    Workspace<float> counting(nullptr);
    Take(counting);
    memory = AlignedArray<float>(counting.used());
    Workspace<float> workspace(memory.data());
    Take(workspace);
    FillBatch();
  }
  void Step() {
    const MlpPlaces& places = layout.layers[0].moe.experts[0];
    // Of the gradient, the one MLP.
    std::fill_n(gradient.begin() + places.w1,
                layout.layers[0].moe.experts[1].w1 - layout.layers[0].moe.experts[0].w1, 0.0f);
    PackMlp<float>(params.data(), places, true, weights_);
    for (int64_t row = 0; row < kBatch; row += rows) {
      const int64_t count = std::min(rows, kBatch - row);
      at_.x = From(x, row);
      MlpForward(count, weights_, at_, /*add=*/false, From(y, row));
      MlpBackward(count, weights_, places, at_, From(dy, row), scratch_, From(dx, row),
                  gradient.data());
    }
  }

 private:
  void Take(Workspace<float>& workspace) {
    const int width = shape.layers[0].mlp_width;
    weights_ = TakeMlpWeights<float>(shape, layout.layers[0].moe.experts[0], width, params.data(),
                                     true, workspace);
    at_ = TakeMlpActivations<float>(shape, rows, width, false, workspace);
    scratch_.units = workspace.TakeRows(rows, width);
    if (IsGated(shape.mlp)) scratch_.linear = workspace.TakeRows(rows, width);
    TakeBatch(workspace);
  }
  MlpWeights<float> weights_;
  MlpActivations<float> at_;
  MlpScratch<float> scratch_;
};

void Race(int width, int mlp_width, MlpKind kind, int64_t rows, double seconds) {
  Sparse sparse(width, mlp_width, kind, rows);
  Dense dense(width, mlp_width, kind, rows);
  std::vector<double> times[2];
  const auto step = [](auto& layer) {
    const double start = CpuSeconds();
    layer.Step();
    return CpuSeconds() - start;
  };
  step(sparse);
  step(dense);
  for (double total = 0; total < seconds || times[0].size() < 3;) {
    times[0].push_back(step(sparse));
    times[1].push_back(step(dense));
    total += times[0].back() + times[1].back();
  }
  double median[2];
  for (int i = 0; i < 2; ++i) {
    std::sort(times[i].begin(), times[i].end());
    median[i] = times[i][times[i].size() / 2];
  }
  const double flops = 3.0 * 2 * kBatch * kTop * mlp_width * width * (IsGated(kind) ? 3 : 2);
  std::printf("%5d %6d %-7s %5d   %8.2f %6.1f   %8.2f %6.1f   %5.2f\n", width, mlp_width,
              IsGated(kind) ? "swiglu" : "relu", static_cast<int>(rows), 1e3 * median[0],
              1e-9 * flops / median[0], 1e3 * median[1], 1e-9 * flops / median[1],
              median[0] / median[1]);
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) {
  using namespace saffron;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  std::printf("a batch of %d tokens; %d experts, %d a token\n", static_cast<int>(kBatch), kExperts,
              kTop);
  std::printf("width expert units  rows   sparse ms GFLOP/s   dense ms GFLOP/s   ratio\n");
  for (const int64_t rows : {128, 256, 512, 1024}) {
    Race(128, 256, MlpKind::kRelu, rows, seconds);
    Race(128, 176, MlpKind::kSwiglu, rows, seconds);
    Race(256, 512, MlpKind::kRelu, rows, seconds);
  }
}
