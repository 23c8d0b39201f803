// Where the seconds of a log-linear trial go: State of the Union, the best evidence, one thread,
// CPU seconds. Cold: empty statistics cache on disk. Tables: they are there, gains are fitted
// again. Warm: those are there too.
//
//   SAFFRON_DATA=DIR log_linear_bench [vocab] [tokens]

#include <stdlib.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <numeric>

#include "core/base/check.h"
#include "core/data/data_store.h"
#include "core/log_linear/log_linear_model.h"

namespace saffron {
namespace {

double CpuSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void Trial(const char* name, const TextDataset& data, const std::string& cache_dir,
           double gain_prior) {
  LogLinearSpec spec;
  spec.gain_prior = gain_prior;
  spec.templates = *ParseTemplates("skip+pair");
  spec.histories = {HistoryKind::kAll, HistoryKind::kRecent, HistoryKind::kFollowers};
  spec.unigram = true;
  spec.seen_gains = true;
  StatisticsCache cache({.dir = cache_dir});
  const double start = CpuSeconds();
  const auto model = LogLinearModel::Solve(spec, data, cache);
  CHECK(model.ok()) << model.status();
  const double solved = CpuSeconds();
  std::vector<int64_t> targets(data.test.size() - kEvalContext);
  std::iota(targets.begin(), targets.end(), kEvalContext);
  const std::vector<double> nats = model->Nats(data.test, targets);
  const double seconds = CpuSeconds() - solved;
  const double sum = std::accumulate(nats.begin(), nats.end(), 0.0);
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "%-6s solve %.2f s (%d passes over the hold-out), evaluate %.0f tokens/s, test perplexity "
      "%.2f, peak %.0f MB\n",
      name, solved - start, model->fit().evaluations, static_cast<double>(nats.size()) / seconds,
      std::exp(sum / static_cast<double>(nats.size())),
      static_cast<double>(usage.ru_maxrss) / 1024);
}

int Main(int argc, char** argv) {
  DataStore store(DataStore::DefaultRoot());
  const auto data = store.Text({.corpus = "sotu",
                                .vocab = argc > 1 ? std::atoi(argv[1]) : 4096,
                                .train_tokens = argc > 2 ? std::atoll(argv[2]) : 1'000'000});
  CHECK(data.ok()) << data.status();
  char folder[] = "/tmp/log_linear_bench_XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  Trial("cold", **data, folder, 20);
  Trial("tables", **data, folder, 20.001);
  Trial("warm", **data, folder, 20);
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) { return saffron::Main(argc, argv); }
