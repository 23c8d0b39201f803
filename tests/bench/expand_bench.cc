// How long reading and expanding a sweep takes: `build/release/bench/expand_bench`.
// The bar: 100,000 variants in under a second on one core, resolving and digests included.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/expression.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/check.h"

namespace saffron {
namespace {

v1::SweepSpec Read(const std::string& text) {
  absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(text, SweepFormat::kYaml, "bench.yaml");
  CHECK(spec.ok()) << spec.status();
  return *std::move(spec);
}

// 40 x `rates` x 50 combinations of five axes, each with a derived key and a condition.
v1::SweepSpec Product(int64_t rates) {
  return Read(absl::StrCat(R"(
limits: {variants: 1000000}
parameters:
  model.bits: {values: [16, 32, 64, 128, 256]}
  model.context: {values: [2, 4, 6, 8]}
  train.init: {values: [random, explicit]}
  train.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2, count: )",
                           rates, R"(}
  train.steps: {min: 100, max: 1000, count: 50}
derived: {train.warmup: "train.steps // 10"}
exclude: ["model.bits == 256 and model.context == 3"]
)"));
}

void BM_ExpandGrid(benchmark::State& state) {
  const v1::SweepSpec spec = Product(state.range(0) / 2000);
  for (auto _ : state) {
    auto expansion = std::make_unique<absl::StatusOr<Expansion>>(Expand(spec));
    CHECK(expansion->ok()) << expansion->status();
    CHECK(static_cast<int64_t>((*expansion)->variants.size()) == state.range(0));
    state.PauseTiming();  // giving the memory back is no part of expanding
    expansion.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_ExpandGrid)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

void BM_ExpandRandom(benchmark::State& state) {
  const v1::SweepSpec spec = Read(R"(
method: random
count: 10000
parameters:
  train.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  train.steps: {min: 100, max: 100000}
  model.bits: {values: [16, 32, 64]}
)");
  for (auto _ : state) CHECK(Expand(spec).ok());
  state.SetItemsProcessed(state.iterations() * 10'000);
}
BENCHMARK(BM_ExpandRandom)->Unit(benchmark::kMillisecond);

void BM_RefuseABillion(benchmark::State& state) {
  const v1::SweepSpec spec = Read(R"(
parameters:
  train.steps: {min: 1, max: 1000}
  train.batch: {min: 1, max: 1000}
  data.tokens: {min: 1000, max: 1999}
)");
  for (auto _ : state) CHECK(!Expand(spec).ok());
}
BENCHMARK(BM_RefuseABillion)->Unit(benchmark::kMicrosecond);

// A file as long as may be: values in a list.
void BM_ReadLongFile(benchmark::State& state) {
  std::string text = "limits: {variants: 1000000}\nparameters: {train.steps: {values: [0";
  for (int i = 1; text.size() < 4'000'000; ++i) absl::StrAppend(&text, ", ", i);
  text += "]}}\n";
  for (auto _ : state) benchmark::DoNotOptimize(Read(text));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_ReadLongFile)->Unit(benchmark::kMillisecond);

void BM_Evaluate(benchmark::State& state) {
  const auto expression =
      Expression::Parse("0.1 * steps if bits >= 64 and type in ['saffu', 'noop'] else 0");
  const ParamValue steps = int64_t{300}, bits = int64_t{64}, type = std::string("noop");
  // In the order of first use.
  const std::vector<const ParamValue*> values = {&steps, &bits, &type};
  for (auto _ : state) benchmark::DoNotOptimize(expression->Evaluate(values));
}
BENCHMARK(BM_Evaluate);

}  // namespace
}  // namespace saffron

BENCHMARK_MAIN();
