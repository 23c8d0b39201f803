// What orchestration costs: trials that do nothing, through the store, the engine and gRPC.
//
//   build/release/bench/dispatch_bench [TRIALS [DIRECTORY]]
//
// Prints a table of wall time and processor time. The database is made in DIRECTORY (default: the
// temporary one), which decides what a commit costs. Times on a busy machine compare only within a
// run.

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/prepare_submission.h"
#include "coordinator/rpc/coordinator_server.h"
#include "coordinator/store/read_query.h"
#include "coordinator/store/run_store.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/check.h"
#include "core/base/numerics_version.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "saffron/v1/roadmap.grpc.pb.h"
#include "saffron/v1/worker.grpc.pb.h"

namespace saffron {
namespace {

std::string folder;

std::string NewDatabase() {
  static int n = 0;
  return absl::StrCat(folder, "/bench", ++n, ".db");
}

double CpuSeconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + 1e-6 * t.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Cost {
  double wall = 0, cpu = 0;
};

Cost Measure(const std::function<void()>& body) {
  const absl::Time start = absl::Now();
  const double cpu = CpuSeconds();
  body();
  return {absl::ToDoubleSeconds(absl::Now() - start), CpuSeconds() - cpu};
}

void Print(const std::string& what, int64_t n, const std::string& unit, const Cost& cost) {
  std::printf("%-62s %9.3f s  cpu %8.3f s  %9.1f us/%s  %10.0f %s/s\n", what.c_str(), cost.wall,
              cost.cpu, 1e6 * cost.wall / n, unit.c_str(), n / cost.wall, unit.c_str());
  std::fflush(stdout);
}

// A sweep of so many trials that do nothing, `seeds` a variant.
v1::SweepSpec Nothing(int64_t trials, int seeds) {
  const std::string yaml = absl::StrCat(
      "name: nothing\nbaseline: {model.type: noop}\ninclude_baseline: false\n"
      "limits: {variants: 1000000}\nseeds: {count: ",
      seeds,
      "}\nparameters:\n  model.sleep_ms: "
      "{distribution: int_uniform, min: 0, max: ",
      trials / seeds - 1, "}\n");
  auto spec = ReadSweepText(yaml, SweepFormat::kYaml, "bench.yaml");
  CHECK(spec.ok()) << spec.status();
  return *spec;
}

Submission Prepared(int64_t trials, int seeds) {
  auto prepared = PrepareSubmission(Nothing(trials, seeds), kNumericsVersion, {});
  CHECK(prepared.ok()) << prepared.status();
  // They sleep by their parameter, which only tells them apart: nothing is run here.
  for (SubmittedVariant& v : prepared->submission.variants) v.seconds = 0;
  return std::move(prepared->submission);
}

void RunUntilIdle(Engine& engine) {
  absl::Time now;
  do {
    now = absl::Now();
  } while (engine.RunOnce(now) <= now);
}

std::unique_ptr<RunStore> OpenStore(const std::string& path, bool survive_power_loss) {
  auto store =
      RunStore::Open({.path = path, .survive_power_loss = survive_power_loss}, absl::Now());
  CHECK(store.ok()) << store.status();
  return *std::move(store);
}

void BenchStore() {
  for (const bool fsync : {true, false}) {
    auto store = OpenStore(NewDatabase(), fsync);
    const int commits = 200;
    Print(absl::StrCat("store: commits of one row, ",
                       fsync ? "surviving power loss" : "surviving kill -9"),
          commits, "commit", Measure([&] {
            for (int i = 0; i < commits; ++i) {
              CHECK(store->Begin().ok());
              CHECK(store->RecordEvent("bench", {}, {}, "", absl::Now()).ok());
              CHECK(store->Commit().ok());
            }
          }));
    const int batches = 20, rows = 10'000;
    std::vector<MetricValue> values(rows);
    Print(absl::StrCat("store: metric rows in batches of ", rows), batches * rows, "row",
          Measure([&] {
            for (int b = 0; b < batches; ++b) {
              for (int i = 0; i < rows; ++i)
                values[i] = {"train/loss", b * rows + i, 1.0 / (1 + i)};
              CHECK(store->Begin().ok());
              CHECK(store->RecordCurve(TrialId{1}, values).ok());
              CHECK(store->Commit().ok());
            }
          }));
  }
}

// The engine alone, on this thread: workers' calls of one round share a transaction.
void BenchEngine(int64_t trials, int workers, int want) {
  auto store = OpenStore(NewDatabase(), true);
  auto engine =
      *Engine::Start({.scheduler = {}, .numerics = kNumericsVersion}, store.get(), absl::Now());
  auto submission = std::make_shared<Submission>(Prepared(trials, 1));
  engine->Submit(submission, [](const auto& answer) { CHECK(answer.ok()); });
  RunUntilIdle(*engine);
  for (int w = 0; w < workers; ++w) {
    engine->Register(
        {{.name = absl::StrCat(w), .hostname = "", .build = "", .pid = 1, .slots = want},
         kNumericsVersion},
        [](const auto& answer) { CHECK(answer.ok()); });
  }
  RunUntilIdle(*engine);
  std::vector<std::vector<AttemptResult>> done(workers);
  int64_t finished = 0;
  Print(absl::StrCat("engine: ", trials, " trials, ", workers, " workers x ", want,
                     ", surviving power loss"),
        trials, "trial", Measure([&] {
          while (finished < trials) {
            for (int w = 0; w < workers; ++w) {
              SyncCall call{
                  .worker = absl::StrCat(w), .finished = std::move(done[w]), .want = want};
              done[w].clear();
              engine->Sync(std::move(call), [&, w](const absl::StatusOr<SyncAnswer>& answer) {
                CHECK(answer.ok()) << answer.status();
                finished += answer->acknowledged.size();
                for (const AssignedTrial& a : answer->assignments) {
                  AttemptResult& result = done[w].emplace_back();
                  result.report.attempt = a.attempt;
                  result.final_metrics = {{"time/total_s", 0, 0.0}};
                }
              });
            }
            RunUntilIdle(*engine);
          }
        }));
}

// A worker session over `channel` that answers at once.
void RunWorker(const std::shared_ptr<grpc::Channel>& channel, const std::string& name, int slots,
               int want, std::atomic<int64_t>* left) {
  auto stub = v1::WorkerService::NewStub(channel);
  {
    v1::RegisterRequest request;
    request.set_worker_id(name);
    request.set_slots(slots);
    request.set_numerics_version(kNumericsVersion);
    v1::RegisterResponse response;
    grpc::ClientContext context;
    CHECK(stub->Register(&context, request, &response).ok());
  }
  v1::SyncRequest request;
  while (*left > 0) {
    request.set_worker_id(name);
    request.set_want(want);
    v1::SyncResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->Sync(&context, request, &response);
    CHECK(status.ok()) << status.error_message();
    *left -= response.results_acknowledged_size();
    request.Clear();
    for (const v1::Assignment& a : response.assignments()) {
      v1::AttemptResult* result = request.add_finished();
      *result->mutable_ref() = a.ref();
      result->set_outcome(v1::OUTCOME_SUCCEEDED);
      for (const char* key : {"time/total_s", "test/perplexity", "model/parameters"}) {
        v1::Measurement* metric = result->add_final_metrics();
        metric->set_key(key);
        metric->set_value(1);
      }
    }
  }
}

void BenchServer(int64_t trials, int workers, int slots, int want, bool survive_power_loss) {
  const std::string path = NewDatabase();
  {
    auto store = OpenStore(path, false);
    auto engine =
        *Engine::Start({.scheduler = {}, .numerics = kNumericsVersion}, store.get(), absl::Now());
    engine->Submit(std::make_shared<Submission>(Prepared(trials, 1)),
                   [](const auto& a) { CHECK(a.ok()); });
    RunUntilIdle(*engine);
  }
  auto server = CoordinatorServer::Start(
      {.db_path = path, .data_root = folder, .survive_power_loss = survive_power_loss});
  CHECK(server.ok()) << server.status();
  std::atomic<int64_t> left = trials;
  Print(absl::StrCat("gRPC: ", trials, " trials, ", workers, " workers x ", slots, ", fetching ",
                     want, ", ", survive_power_loss ? "power loss" : "kill -9"),
        trials, "trial", Measure([&] {
          std::vector<std::thread> threads;
          for (int w = 0; w < workers; ++w) {
            threads.emplace_back([&, w] {
              grpc::ChannelArguments arguments;
              arguments.SetInt("worker", w);  // a connection each
              RunWorker(grpc::CreateCustomChannel((*server)->address(),
                                                  grpc::InsecureChannelCredentials(), arguments),
                        absl::StrCat("w", w), slots, want, &left);
            });
          }
          for (std::thread& thread : threads) thread.join();
        }));
  (*server)->Shutdown();
}

void BenchSubmission(int64_t trials, int seeds) {
  const std::string path = NewDatabase(),
                    what = absl::StrCat(trials, " trials, ", seeds, " seeds: ");
  Submission submission;
  Print(what + "expand and name", trials, "trial",
        Measure([&] { submission = Prepared(trials, seeds); }));
  {
    auto store = OpenStore(path, true);
    auto engine =
        *Engine::Start({.scheduler = {}, .numerics = kNumericsVersion}, store.get(), absl::Now());
    auto shared = std::make_shared<Submission>(submission);
    Print(what + "store and queue", trials, "trial", Measure([&] {
            engine->Submit(shared,
                           [](const auto& answer) { CHECK(answer.ok()) << answer.status(); });
            RunUntilIdle(*engine);
          }));
    Print(what + "submit again, unchanged", trials, "trial", Measure([&] {
            engine->Submit(shared,
                           [](const auto& answer) { CHECK(answer.ok()) << answer.status(); });
            RunUntilIdle(*engine);
          }));
  }
  Print(what + "plan", trials, "trial", Measure([&] {
          auto db = Database::Open(path, Database::Mode::kReadOnly);
          CHECK(PlanSubmission(*db, submission).ok());
        }));
  Print(what + "boot", trials, "trial", Measure([&] {
          auto store = OpenStore(path, true);
          CHECK(Engine::Start({.scheduler = {}, .numerics = kNumericsVersion}, store.get(),
                              absl::Now())
                    .ok());
        }));
  for (const char* sql :
       {"SELECT state, count(*) FROM v_trials WHERE roadmap = 'nothing' GROUP BY state",
        "SELECT trial, label, state, test_perplexity FROM v_trials WHERE roadmap = 'nothing' ORDER "
        "BY trial LIMIT 50"}) {
    Print(what + "query " + std::string(sql).substr(0, 24), 1, "query", Measure([&] {
            auto query = ReadQuery::Open(path);
            CHECK(query
                      ->Run(
                          sql, absl::Minutes(1), [](const auto&) {},
                          [](const Statement&) { return true; })
                      .ok());
          }));
  }
}

}  // namespace
}  // namespace saffron

int main(int argc, char** argv) {
  const int64_t trials = argc > 1 ? std::atoll(argv[1]) : 10'000;
  std::string pattern =
      absl::StrCat(argc > 2 ? argv[2] : std::filesystem::temp_directory_path().string(),
                   "/saffron_bench_XXXXXX");
  saffron::folder = ::mkdtemp(pattern.data());
  saffron::BenchStore();
  saffron::BenchEngine(trials, 2, 8);
  saffron::BenchEngine(trials, 1000, 1);
  saffron::BenchServer(trials, 2, 1, 1, false);
  saffron::BenchServer(trials / 10, 2, 1, 1, true);
  saffron::BenchServer(trials, 2, 1, 16, true);
  saffron::BenchServer(trials, 2, 8, 16, true);
  saffron::BenchServer(trials, 2, 8, 16, false);
  saffron::BenchSubmission(100'000, 3);
  saffron::BenchSubmission(100'000, 1);
  std::filesystem::remove_all(saffron::folder);
  return 0;
}
