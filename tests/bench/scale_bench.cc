// How far one coordinator goes: metric rows, thousands of connected workers, a storm of them coming
// back at once, large roadmaps, and how close a roadmap's end comes to the earliest possible.
//
//   build/release/bench/scale_bench [metrics|fleet|roadmaps|makespan ...] (default: all)
//
// SAFFRON_SCALE_TRIALS=1000000 sets the largest roadmap (default 100,000). Times are processor time
// of the coordinator unless they say otherwise, so that a busy machine distorts them little.

#include <malloc.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/prepare_submission.h"
#include "coordinator/rpc/translate.h"
#include "coordinator/store/read_query.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/check.h"
#include "core/base/numerics_version.h"
#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_fleet.h"
#include "tests/sim/sim_worker.h"

namespace saffron {
namespace {

std::string folder;

std::string NewDatabase() {
  static int n = 0;
  return absl::StrCat(folder, "/scale", ++n, ".db");
}

double CpuSeconds() {
  timespec t = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double CpuOf(const std::function<void()>& body) {
  const double start = CpuSeconds();
  body();
  return CpuSeconds() - start;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

// A sweep of so many trials that only their parameter tells apart, each said to take `seconds`.
Submission Trials(int64_t count, double seconds) {
  auto spec = ReadSweepText(
      absl::StrCat("name: scale\nbaseline: {model.type: noop}\ninclude_baseline: false\n"
                   "limits: {variants: 1000000}\nparameters:\n  model.sleep_ms: "
                   "{distribution: int_uniform, min: 0, max: ",
                   count - 1, "}\n"),
      SweepFormat::kYaml, "scale.yaml");
  CHECK(spec.ok()) << spec.status();
  auto prepared = PrepareSubmission(*spec, kNumericsVersion, {});
  CHECK(prepared.ok()) << prepared.status();
  for (SubmittedVariant& v : prepared->submission.variants) v.seconds = seconds;
  return std::move(prepared->submission);
}

struct Coordinator {
  explicit Coordinator(absl::Time now, const std::string& path = NewDatabase()) {
    auto opened = RunStore::Open({.path = path}, now);
    CHECK(opened.ok()) << opened.status();
    store = *std::move(opened);
    auto started = Engine::Start({.scheduler = {}, .numerics = kNumericsVersion}, store.get(), now);
    CHECK(started.ok()) << started.status();
    engine = *std::move(started);
  }
  void RunUntilIdle(absl::Time now) {
    while (engine->RunOnce(now) <= now) {
    }
  }
  void Submit(const Submission& submission, absl::Time now) {
    engine->Submit(std::make_shared<Submission>(submission),
                   [](const auto& answer) { CHECK(answer.ok()) << answer.status(); });
    RunUntilIdle(now);
  }

  std::unique_ptr<RunStore> store;
  std::unique_ptr<Engine> engine;
};

// ---- Metric rows, while trials are handed out and their results recorded

void BenchMetrics() {
  constexpr int kWorkers = 16, kRows = 1000, kRounds = 40;
  absl::Time now = absl::Now();
  Coordinator c(now);
  c.Submit(Trials(kWorkers * kRounds, 0), now);
  struct Busy {
    std::optional<AttemptId> attempt;
  };
  std::vector<Busy> workers(kWorkers);
  for (int w = 0; w < kWorkers; ++w) {
    c.engine->Register({{.name = absl::StrCat(w), .slots = 1}, kNumericsVersion},
                       [](const auto& answer) { CHECK(answer.ok()); });
  }
  std::vector<double> commits;
  int64_t rows = 0;
  const absl::Time start = absl::Now();
  const double cpu = CpuOf([&] {
    for (int round = 0; round < kRounds; ++round) {
      for (int w = 0; w < kWorkers; ++w) {
        SyncCall call{.worker = absl::StrCat(w), .want = 1};
        if (const std::optional<AttemptId> attempt = workers[w].attempt) {
          AttemptProgress progress{.attempt = *attempt};
          for (int i = 0; i < kRows; ++i)
            progress.values.push_back({"train/loss", i, 1.0 / (i + 1)});
          call.running.push_back(std::move(progress));
          call.finished.push_back({.report = {.attempt = *attempt}});
          rows += kRows;
        }
        c.engine->Sync(std::move(call), [&workers, w](const absl::StatusOr<SyncAnswer>& answer) {
          CHECK(answer.ok()) << answer.status();
          workers[w].attempt.reset();
          if (!answer->assignments.empty()) workers[w].attempt = answer->assignments[0].attempt;
        });
        // One commit for what a few workers say at the same time.
        if (w % 4 != 3) continue;
        const absl::Time before = absl::Now();
        now = before;
        c.RunUntilIdle(now);
        commits.push_back(absl::ToDoubleMilliseconds(absl::Now() - before));
      }
    }
  });
  const double wall = absl::ToDoubleSeconds(absl::Now() - start);
  std::printf(
      "metrics: %lld rows durable in batches of 1,000 while dispatching: %.0f rows/s of "
      "processor time, %.0f rows/s of wall time; commit of 4,000 rows p50 %.1f ms, p99 "
      "%.1f ms (wall)\n",
      static_cast<long long>(rows), static_cast<double>(rows) / cpu,
      static_cast<double>(rows) / wall, Quantile(commits, 0.5), Quantile(commits, 0.99));
}

// ---- Ten thousand workers

// What an idle worker whose call is held open costs the coordinator.
double BytesPerWorker(int count) {
  const absl::Time now = absl::Now();
  Coordinator c(now);
  const size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < count; ++i) {
    c.engine->Register(
        {{.name = absl::StrCat("w", i), .hostname = "host", .slots = 1}, kNumericsVersion},
        [](const auto&) {});
    if (i % 1000 == 999) c.RunUntilIdle(now);
  }
  for (int i = 0; i < count; ++i) {
    c.engine->Sync({.worker = absl::StrCat("w", i), .want = 1, .wait = absl::Seconds(10)},
                   [](const auto&) {});
    if (i % 1000 == 999) c.RunUntilIdle(now);
  }
  return static_cast<double>(::mallinfo2().uordblks - before) / count;
}

void BenchFleet() {
  constexpr int kWorkers = 10'000;
  std::printf("fleet: %.1f KB per connected worker\n", BytesPerWorker(kWorkers) / 1024);
  // The engine takes as long as it takes the processor, and the disk 3 ms to sync a commit.
  SimFleet fleet({.workers = kWorkers,
                  .trial_seconds = 60,
                  .database = NewDatabase(),
                  .submission = Trials(3 * kWorkers, 60),
                  .numerics = kNumericsVersion,
                  .cost = [](double cpu_seconds, int64_t, bool wrote) {
                    return absl::Seconds(cpu_seconds) + absl::Milliseconds(wrote ? 3 : 0);
                  }});
  const double settled = fleet.SettleSeconds(/*most=*/600);
  std::printf(
      "fleet: %d workers that call at the same moment are all served after %.1f s of virtual "
      "time; %lld busy answers\n",
      kWorkers, settled, static_cast<long long>(fleet.busy()));
  const int64_t calls = fleet.calls();
  const double cpu = fleet.engine_cpu();
  const absl::Duration length = absl::Seconds(60);
  const std::vector<double> ms = fleet.LatenciesMs(length);
  std::printf(
      "fleet: %d workers, trials of 30 to 90 s: %.0f calls/s, coordinator busy %.0f %%; Sync "
      "with something to say p50 %.2f ms, p99 %.2f ms\n",
      kWorkers, static_cast<double>(fleet.calls() - calls) / absl::ToDoubleSeconds(length),
      100 * (fleet.engine_cpu() - cpu) / absl::ToDoubleSeconds(length), Quantile(ms, 0.5),
      Quantile(ms, 0.99));
}

// ---- Large roadmaps

void BenchRoadmap(int64_t trials) {
  const std::string path = NewDatabase();
  const absl::Time now = absl::Now();
  Submission submission;
  const double expand = CpuOf([&] { submission = Trials(trials, 0); });
  double submit, plan, list, boot;
  {
    Coordinator c(now, path);
    submit = CpuOf([&] { c.Submit(submission, now); });
  }
  plan = CpuOf([&] {
    auto db = Database::Open(path, Database::Mode::kReadOnly);
    CHECK(PlanSubmission(*db, submission).ok());
  });
  list = CpuOf([&] {
    auto query = ReadQuery::Open(path);
    CHECK(query
              ->Run(
                  "SELECT trial, label, state, test_perplexity FROM v_trials "
                  "WHERE roadmap = 'scale' ORDER BY trial LIMIT 50",
                  absl::Minutes(1), [](const auto&) {}, [](const Statement&) { return true; })
              .ok());
  });
  boot = CpuOf([&] { Coordinator c(now, path); });
  const double us = 1e6 / static_cast<double>(trials);
  std::printf(
      "roadmap %8lld trials: expand %6.2f s (%5.1f us/trial)  plan %6.2f s (%5.1f)  submit "
      "%6.2f s (%5.1f)  list %6.3f s  boot %6.2f s (%5.1f)\n",
      static_cast<long long>(trials), expand, us * expand, plan, us * plan, submit, us * submit,
      list, boot, us * boot);
  std::fflush(stdout);
}

void BenchRoadmaps() {
  const char* given = std::getenv("SAFFRON_SCALE_TRIALS");
  const int64_t most = given == nullptr ? 100'000 : std::atoll(given);
  for (int64_t trials = 1000; trials <= most; trials *= 10) BenchRoadmap(trials);
}

// ---- The end of a roadmap

// Seconds that the trials of the SAFFU roadmap took on a million tokens: quantiles 0, 1/49, ..., 1.
constexpr double kSeconds[] = {
    0.002, 0.108, 0.215, 0.283, 0.305, 0.314, 0.344,  0.386,  0.428,  0.448,  0.485, 0.513, 0.55,
    0.588, 0.637, 0.677, 0.709, 0.722, 0.756, 0.8,    0.843,  0.871,  0.882,  0.935, 0.988, 1.042,
    1.105, 1.261, 1.31,  1.408, 1.872, 1.996, 2.077,  2.465,  2.752,  2.92,   3.062, 3.668, 4.033,
    4.767, 4.935, 5.056, 5.382, 5.935, 6.938, 10.124, 11.226, 15.175, 31.239, 61.464};
// Estimates of their cost were off by a factor whose logarithm had this standard deviation.
constexpr double kEstimateError = 0.45;
// How long a lost worker's place is empty.
constexpr absl::Duration kReplacedAfter = absl::Seconds(1);

// The lower bound is the work over the speed of all workers, or the longest trial where it ran.
// What nobody can avoid counts: work that was lost with a worker, and the time until another worker
// took its place; the time until its loss was noticed does not.
struct Makespan {
  double seconds = 0, bound = 0;
  int crashes = 0;
};

Makespan RunRoadmap(int workers, bool crashes, uint64_t seed) {
  constexpr int kTrials = 250;
  MemoryDisk disk;
  Agenda agenda(absl::FromUnixSeconds(1'700'000'000));
  Dice dice(seed);
  dice.unlucky = false;
  Marks marks;
  const CounterRandom random(seed, RandomPurpose::kTest, 1);

  std::map<int64_t, double> seconds;  // by the trial's bits, which must not be a multiple of 11
  Submission submission = Trials(kTrials, 0);
  submission.numerics = 1;
  double total = 0;
  for (int i = 0; i < kTrials; ++i) {
    const double at = 49.0 * i / (kTrials - 1);
    const int low = std::min(48, static_cast<int>(at));
    const double s = kSeconds[low] + (at - low) * (kSeconds[low + 1] - kSeconds[low]);
    const int64_t bits = 11 * i + 1;
    seconds[bits] = s;
    total += s;
    submission.variants[i].params = {{"model.type", std::string("noop")}, {"model.bits", bits}};
    submission.variants[i].seconds = s * std::exp(kEstimateError * random.Normal(i));
  }
  const std::string path = NewDatabase();
  SimOracle judge(path, submission.retry);
  SimCoordinator coordinator({.database = path, .engine = {.scheduler = {}, .numerics = 1}}, &disk,
                             &agenda, &dice, &judge, &marks);
  struct Run {
    int64_t bits = 0;
    absl::Time begun;
    double length = 0;
  };
  std::vector<Run> running(workers);
  std::map<int64_t, double> wasted;  // seconds that lost workers spent on the trial
  double speeds = 0, longest = 0;
  std::vector<double> speed(workers);
  std::vector<std::unique_ptr<SimWorker>> fleet;
  for (int w = 0; w < workers; ++w) {
    speed[w] = std::exp2(2 * random.Uniform(1000 + w) - 1);  // from half to twice
    speeds += speed[w];
    SimWorker::Options options{
        .number = w, .machine = w, .slots = 1, .spool_dir = absl::StrCat(folder, "/spool", w)};
    options.length = [&, w](const SimTrial& trial) {
      const double length = seconds.at(trial.bits) / speed[w];
      running[w] = {trial.bits, agenda.now(), length};
      longest = std::max(longest, wasted[trial.bits] + length);
      return absl::Seconds(length);
    };
    fleet.push_back(std::make_unique<SimWorker>(options, &agenda, &dice, &coordinator, &marks));
  }
  coordinator.Start();
  const absl::Time start = agenda.now();
  coordinator.engine()->Submit(std::make_shared<Submission>(submission), [](const auto&) {});
  for (auto& worker : fleet) worker->Start();
  Makespan out;
  // A worker is lost every 20 seconds, and another takes its place.
  std::function<void()> crash = [&] {
    SimWorker& victim = *fleet[dice.Below(workers)];
    if (victim.up()) {
      const int w = victim.machine();
      const double spent = absl::ToDoubleSeconds(agenda.now() - running[w].begun);
      if (running[w].bits > 0 && spent < running[w].length) {
        wasted[running[w].bits] += spent;
        total += spent * speed[w];
      }
      running[w] = {};
      victim.Kill(SimWorker::Death::kProcess);
      ++out.crashes;
      total += absl::ToDoubleSeconds(kReplacedAfter) * speed[w];
      agenda.After(kReplacedAfter, [&victim] { victim.Start(); });
    }
    agenda.After(absl::Seconds(20), crash);
  };
  if (crashes) agenda.After(absl::Seconds(10), crash);
  const auto unfinished = [&] {
    const auto* counts = coordinator.engine()->scheduler().Counts(RoadmapId{1});
    return counts == nullptr || counts->queued + counts->leased > 0;
  };
  while (unfinished()) agenda.Next();
  CHECK(judge.violations().empty()) << judge.violations()[0];
  out.seconds = absl::ToDoubleSeconds(agenda.now() - start);
  out.bound = std::max(total / speeds, longest);
  return out;
}

void BenchMakespan() {
  for (const bool crashes : {false, true}) {
    for (const int workers : {8, 32, 128}) {
      double worst = 0, sum = 0;
      constexpr int kSeeds = 5;
      int lost = 0;
      for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const Makespan m = RunRoadmap(workers, crashes, seed);
        worst = std::max(worst, m.seconds / m.bound);
        sum += m.seconds / m.bound;
        lost += m.crashes;
      }
      std::printf(
          "makespan: 250 trials, %3d workers of unequal speed, %2d lost: %.3f of the lower "
          "bound on average, %.3f at worst\n",
          workers, lost / kSeeds, sum / kSeeds, worst);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) {
  std::string pattern = (std::filesystem::temp_directory_path() / "saffron_scale_XXXXXX").string();
  saffron::folder = ::mkdtemp(pattern.data());
  ::setlinebuf(stdout);
  const std::vector<std::string> names(argv + 1, argv + argc);
  const auto wanted = [&](const char* name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  if (wanted("metrics")) saffron::BenchMetrics();
  if (wanted("fleet")) saffron::BenchFleet();
  if (wanted("roadmaps")) saffron::BenchRoadmaps();
  if (wanted("makespan")) saffron::BenchMakespan();
  std::filesystem::remove_all(saffron::folder);
  return 0;
}
