// Runs one trial and prints its metrics and learning curve: how one profiles a variant.
//
//   trial_bench [--seed N] [--curve] [--repeat N] [KEY=VALUE ...]
//   trial_bench model.bits=32 train.steps=300 train.lr=0.01
//
// Values are numbers where they look like numbers, text otherwise. Corpora are read from
// $SAFFRON_DATA, statistics are cached in $SAFFRON_CACHE; SAFFRON_CACHE=- keeps them in memory
// alone. Repeats after the first find warm statistics.

#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/data/data_store.h"
#include "core/model/registry.h"
#include "core/model/variant.h"
#include "core/solve/statistics_cache.h"
#include "core/train/trainer.h"

namespace saffron {
namespace {

template <typename T>
bool ParseWhole(const std::string& text, T* value) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, *value);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

ParamValue ParseValue(const std::string& text) {
  int64_t whole;
  double real;
  if (ParseWhole(text, &whole)) return whole;
  if (ParseWhole(text, &real)) return real;
  if (text == "true" || text == "false") return text == "true";
  return text;
}

class CurvePrinter : public MeasurementSink {
 public:
  explicit CurvePrinter(bool print) : print_(print) {}
  void Record(const Measurement& m) override {
    if (print_) {
      std::printf("step %6ld  %-24s %.6g\n", static_cast<long>(m.step), m.key.c_str(), m.value);
    }
  }

 private:
  bool print_;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

// Of this process so far. Unlike elapsed time it says little of what else the machine is doing.
double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Arguments {
  uint64_t seed = 17;
  int repeat = 1;
  bool curve = false;
  std::map<std::string, ParamValue> params;
};

bool Parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--curve") {
      arguments->curve = true;
    } else if (argument == "--seed" && i + 1 < argc) {
      if (!ParseWhole(argv[++i], &arguments->seed)) return false;
    } else if (argument == "--repeat" && i + 1 < argc) {
      if (!ParseWhole(argv[++i], &arguments->repeat)) return false;
    } else if (const size_t equals = argument.find('='); equals != std::string::npos) {
      arguments->params[argument.substr(0, equals)] = ParseValue(argument.substr(equals + 1));
    } else {
      return false;
    }
  }
  return true;
}

int Run(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: trial_bench [--seed N] [--curve] [--repeat N] [KEY=VALUE ...]\n");
    return 2;
  }
  const auto variant = ResolvedVariant::Resolve(arguments.params);
  if (!variant.ok()) return Fail(variant.status());
  DataStore data(DataStore::DefaultRoot());
  std::string fingerprint;
  if (variant->Has("data.corpus")) {
    const auto corpus = data.Find(variant->String("data.corpus"));
    if (!corpus.ok()) return Fail(corpus.status());
    fingerprint = corpus->fingerprint;
  }
  const std::string dir = StatisticsCache::DefaultDir();
  StatisticsCache statistics({.dir = dir == "-" ? "" : dir});
  const CostEstimate estimate = EstimateCost(*variant);
  std::printf("%sestimated: %.0f parameters, %.3g FLOP, %.2f s\n", variant->CanonicalText().c_str(),
              estimate.parameters, estimate.flops, estimate.seconds);
  for (int run = 0; run < arguments.repeat; ++run) {
    CurvePrinter sink(arguments.curve && run == 0);
    const double cpu_before = CpuSeconds();
    const auto result = RunTrial(*variant, arguments.seed, fingerprint,
                                 {.data = &data, .statistics = &statistics, .stop = nullptr}, sink);
    if (!result.ok()) return Fail(result.status());
    std::printf("%-28s %.3f s\n", "processor time", CpuSeconds() - cpu_before);
    if (result->outcome == TrainOutcome::kDiverged) {
      std::printf("diverged: %s\n", result->message.c_str());
    }
    for (const auto& [key, value] : result->metrics) {
      if (run > 0 && key.compare(0, 5, "time/") != 0 && key.compare(0, 6, "cache/") != 0) continue;
      const MetricSpec* spec = FindMetric(key);
      std::printf("%-28s %.10g %s\n", key.c_str(), value,
                  spec == nullptr ? "" : spec->unit.c_str());
    }
  }
  return 0;
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) { return saffron::Run(argc, argv); }
