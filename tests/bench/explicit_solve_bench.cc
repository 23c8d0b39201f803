// Where the seconds of an explicit-only SAFFU trial go: State of the Union, V=4096, default
// variant, one thread, CPU seconds. Cold: empty statistics cache on disk. Warm: counts on disk,
// nothing in memory, nothing solved. Found: the whole solution on disk.
//
//   SAFFRON_DATA=DIR explicit_solve_bench [tokens]

#include <stdlib.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>

#include "core/base/check.h"
#include "core/data/data_store.h"
#include "core/layers/saffu_layer.h"
#include "core/solve/saffu_solve.h"

namespace saffron {
namespace {

double CpuSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

using SolveFunction = std::function<absl::StatusOr<SaffuSolution>(
    const SaffuSolveSpec&, const TextDataset&, StatisticsCache&)>;

// One explicit-only trial in a fresh process's state: load, solve, evaluate.
void Trial(const std::string& name, int64_t tokens, const std::string& cache_dir,
           const SolveFunction& solve) {
  const double start = CpuSeconds();
  DataStore store(DataStore::DefaultRoot());
  const auto data = store.Text({.corpus = "sotu", .vocab = 4096, .train_tokens = tokens});
  CHECK(data.ok()) << data.status();
  const double loaded = CpuSeconds();
  StatisticsCache cache({.dir = cache_dir});
  const auto solution = solve(SaffuSolveSpec{}, **data, cache);
  CHECK(solution.ok()) << solution.status();
  const double solved = CpuSeconds();
  const auto network =
      SaffuNetwork<float>::Create({solution->layers[0].params}, solution->features, {});
  CHECK(network.ok()) << network.status();
  const double valid =
      std::exp((*network)->Evaluate((*data)->valid, kEvalContext).nats_per_target());
  const double test = std::exp((*network)->Evaluate((*data)->test, kEvalContext).nats_per_target());
  const double evaluated = CpuSeconds();
  std::printf(
      "%-6s data %.3f  solve %.3f  evaluate %.3f  total %.3f s   perplexity valid %.2f test %.2f\n",
      name.c_str(), loaded - start, solved - loaded, evaluated - solved, evaluated - start, valid,
      test);
  std::printf("      ");
  for (const auto& [stage, seconds] : solution->seconds) {
    std::printf("  %s %.3f", stage.c_str(), seconds);
  }
  std::printf("\n");
}

int Main(int argc, char** argv) {
  const int64_t tokens = argc > 1 ? std::atoll(argv[1]) : 1'000'000;
  std::string dir = (std::filesystem::temp_directory_path() / "explicit_solve_XXXXXX").string();
  CHECK(mkdtemp(dir.data()) != nullptr);
  Trial("encode", tokens, "", SolveSaffuAfresh);  // the corpus's own cache of ids may be cold
  Trial("cold", tokens, dir, SolveSaffuAfresh);
  for (int i = 0; i < 3; ++i) Trial("warm", tokens, dir, SolveSaffuAfresh);
  Trial("store", tokens, dir, SolveSaffu);
  Trial("found", tokens, dir, SolveSaffu);
  std::filesystem::remove_all(dir);
  return 0;
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) { return saffron::Main(argc, argv); }
