// The real engine, scheduler and store under a virtual clock, with workers and a network that lose,
// delay and repeat messages, crash, freeze past their lease and come back, a coordinator that dies
// between any two steps, and a disk that fills up. One seed decides everything.
//
// Always: the scheduler's invariants hold. In the end, once faults stop: every trial ends, exactly
// one attempt of each has the result, and results and curves are those of a run without faults.

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

#include "coordinator/engine/engine.h"
#include "coordinator/scheduler/invariants.h"
#include "core/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::IsEmpty;

constexpr int kSteps = 3;  // measurements of a trial
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
const absl::Time kFaultsEnd = kStart + absl::Minutes(4);
const absl::Time kLatest = kStart + absl::Minutes(60);

// What a trial comes to, whoever runs it.
double LossOf(TrialId trial, int64_t step) { return 1.0 / static_cast<double>(trial.value + step); }
bool Diverges(TrialId trial) { return trial.value % 11 == 0; }

// Everything that happens, in the order of time.
class Agenda {
 public:
  void At(absl::Time time, std::function<void()> what) { events_.emplace(time, std::move(what)); }
  absl::Time next() const {
    return events_.empty() ? absl::InfiniteFuture() : events_.begin()->first;
  }
  void Pop() {
    auto what = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    what();
  }

 private:
  std::multimap<absl::Time, std::function<void()>> events_;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed, RandomPurpose::kTest) {}

  void Run();
  const std::map<std::string, int>& marks() const { return marks_; }

 private:
  struct Running {
    std::vector<MetricValue> values;  // not acknowledged
    int64_t first_sequence = 0;
  };
  struct Worker {
    int number = 0, life = 0;  // a new life is a new process
    bool up = true, registered = false;
    int64_t sequence = 0;
    int64_t call = 0;  // the one whose answer is awaited; 0: none
    absl::Time frozen_until = absl::InfinitePast();
    std::map<AttemptId, Running> running = {};
    std::map<AttemptId, AttemptResult> finished = {};
    std::string name() const { return absl::StrCat("w", number, ".", life); }
  };

  double Uniform() { return random_.Uniform(draws_++); }
  bool Chance(double p) { return now_ < kFaultsEnd && Uniform() < p; }
  absl::Duration Between(double least, double most) {
    return absl::Seconds(least + (most - least) * Uniform());
  }
  void After(absl::Duration wait, std::function<void()> what) {
    agenda_.At(now_ + wait, std::move(what));
  }
  // In the worker's present life, and not while it is frozen.
  void InLife(Worker& w, absl::Duration wait, std::function<void()> what);

  void Boot();
  void Step();
  void Faults();
  void Call(Worker& w);
  void Answer(Worker& w, int64_t call, absl::StatusOr<SyncAnswer> answer);
  void Take(Worker& w, const SyncAnswer& answer);
  void Measure(Worker& w, AttemptId attempt, int64_t step);
  void Finish(Worker& w, AttemptId attempt);
  void CrashWorker(Worker& w);
  bool AllEnded() const;
  void CheckTables();

  CounterRandom random_;
  uint64_t draws_ = 0;
  absl::Time now_ = kStart;
  Agenda agenda_;
  // In memory where there is such a place: nothing here needs a disk, only its absence.
  TemporaryFolder folder_{std::filesystem::exists("/dev/shm") ? "/dev/shm" : testing::TempDir()};
  std::unique_ptr<RunStore> store_;
  std::unique_ptr<Engine> engine_;  // null while the coordinator is down
  bool answers_lost_ = false;
  std::vector<Worker> workers_;
  int64_t last_call_ = 0, steps_ = 0;
  std::set<TrialId> cancelled_;
  std::map<std::string, int> marks_;
};

void Simulation::InLife(Worker& w, absl::Duration wait, std::function<void()> what) {
  const int life = w.life;
  After(wait, [this, &w, life, what = std::move(what)] {
    if (w.life != life || !w.up) return;
    if (now_ < w.frozen_until) return InLife(w, w.frozen_until - now_, what);
    what();
  });
}

void Simulation::Boot() {
  auto store = RunStore::Open({.path = folder_.File("sim.db"), .survive_power_loss = false}, now_);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  auto engine =
      Engine::Start({.scheduler = {.lease = absl::Seconds(10)}, .numerics = 1}, store_.get(), now_);
  ASSERT_TRUE(engine.ok()) << engine.status();
  engine_ = *std::move(engine);
}

// ---- Workers

void Simulation::Call(Worker& w) {
  const int64_t call = w.call = ++last_call_;
  const absl::Duration there = Between(0.001, Chance(0.1) ? 8 : 0.05);
  const int copies = Chance(0.1) ? 0 : Chance(0.1) ? 2 : 1;
  // No answer in time is a failure like any other.
  InLife(w, absl::Seconds(15),
         [this, &w, call] { Answer(w, call, absl::DeadlineExceededError("")); });
  const auto reply = [this, &w, call, life = w.life](absl::StatusOr<SyncAnswer> answer) {
    if (answers_lost_ || w.life != life || Chance(0.1)) return;
    InLife(w, Between(0.001, Chance(0.1) ? 8 : 0.05),
           [this, &w, call, answer] { Answer(w, call, answer); });
  };
  if (!w.registered) {
    RegisterCall request{{.name = w.name(), .hostname = "sim", .build = "", .pid = 1, .slots = 2},
                         1};
    After(there, [this, &w, request, reply, life = w.life] {
      if (engine_ == nullptr) return;
      engine_->Register(
          request, [this, &w, reply, life](const absl::StatusOr<RegisterAnswer>& answer) {
            if (answer.ok() && !answers_lost_ && w.life == life) w.registered = true;
            reply(answer.ok() ? absl::StatusOr<SyncAnswer>(SyncAnswer{}) : answer.status());
          });
    });
    return;
  }
  SyncCall request{.worker = w.name(),
                   .want = std::max(0, 3 - static_cast<int>(w.running.size())),
                   .wait = absl::Seconds(2),
                   .sequence = ++w.sequence};
  for (const auto& [attempt, r] : w.running)
    request.running.push_back({attempt, r.first_sequence, r.values});
  for (const auto& [attempt, result] : w.finished) request.finished.push_back(result);
  for (int copy = 0; copy < copies; ++copy) {
    After(there * (1 + copy), [this, request, reply] {
      if (engine_ != nullptr) engine_->Sync(request, reply);
    });
  }
}

void Simulation::Answer(Worker& w, int64_t call, absl::StatusOr<SyncAnswer> answer) {
  if (w.call != call) return;  // given up, or the copy of a copy
  if (absl::IsAborted(answer.status())) return;
  w.call = 0;
  absl::Duration pause = Between(0.2, 2);
  if (answer.ok()) {
    Take(w, *answer);
    pause = answer->empty() ? std::min(answer->next_sync, absl::Seconds(1)) : absl::ZeroDuration();
  } else if (absl::IsNotFound(answer.status())) {
    w.registered = false;
    pause = absl::ZeroDuration();
  }
  InLife(w, pause + Between(0.001, 0.01), [this, &w] {
    if (w.call == 0) Call(w);
  });
}

void Simulation::Take(Worker& w, const SyncAnswer& answer) {
  for (AttemptId attempt : answer.acknowledged) {
    // Whoever lets go of a result may rely on its being kept.
    if (engine_ != nullptr && IsResult(w.finished[attempt].report.outcome)) {
      EXPECT_TRUE(
          std::holds_alternative<Ended>(engine_->scheduler().FindTrial(attempt.trial)->state) ||
          cancelled_.count(attempt.trial) > 0);
    }
    w.finished.erase(attempt);
    w.running.erase(attempt);
  }
  for (const auto& [attempt, next] : answer.durable) {
    auto it = w.running.find(attempt);
    if (it == w.running.end()) continue;
    Running& r = it->second;
    const int64_t n = std::min<int64_t>(next - r.first_sequence, r.values.size());
    if (n <= 0) continue;
    r.values.erase(r.values.begin(), r.values.begin() + n);
    r.first_sequence += n;
  }
  for (AttemptId attempt : answer.abandon) {
    w.running.erase(attempt);
    w.finished.erase(attempt);
    ++marks_["abandoned"];
  }
  for (const AssignedTrial& a : answer.assignments) {
    if (!w.running.try_emplace(a.attempt).second) continue;
    const absl::Duration length = Between(0.5, 25);
    for (int64_t step = 1; step <= kSteps; ++step) {
      InLife(w, length * step / (kSteps + 1), [this, &w, a, step] { Measure(w, a.attempt, step); });
    }
    InLife(w, length, [this, &w, a] { Finish(w, a.attempt); });
  }
}

void Simulation::Measure(Worker& w, AttemptId attempt, int64_t step) {
  auto it = w.running.find(attempt);
  if (it != w.running.end())
    it->second.values.push_back({"train/loss", step, LossOf(attempt.trial, step)});
}

void Simulation::Finish(Worker& w, AttemptId attempt) {
  if (w.running.count(attempt) == 0 || w.finished.count(attempt) > 0) return;
  AttemptResult result{.report = {.attempt = attempt}};
  if (Chance(0.1)) {
    result.report.outcome = Outcome::kFailed;
    result.report.failure =
        static_cast<FailureClass>(static_cast<int>(Uniform() * kFailureClasses));
  } else {
    result.report.outcome = Diverges(attempt.trial) ? Outcome::kDiverged : Outcome::kSucceeded;
    result.final_metrics = {{"test/perplexity", 0, LossOf(attempt.trial, 0)}};
  }
  w.finished[attempt] = result;
  if (w.call == 0 || Uniform() < 0.5) Call(w);  // a newer call takes the place of the open one
}

void Simulation::CrashWorker(Worker& w) {
  const int number = w.number, life = w.life;
  w = Worker{.number = number, .life = life + 1, .up = false};
  After(Between(0.1, 15), [this, &w] {
    w.up = true;
    Call(w);
  });
}

// ---- The world

void Simulation::Faults() {
  if (now_ >= kFaultsEnd) return;
  Worker& w = workers_[static_cast<size_t>(Uniform() * workers_.size())];
  const double which = Uniform();
  if (which < 0.25 && w.up) {
    CrashWorker(w);
  } else if (which < 0.4) {
    w.frozen_until = std::max(w.frozen_until, now_ + Between(1, 40));
  } else if (which < 0.5) {
    // The network between coordinator and workers is cut for a little longer than a lease.
    const absl::Time until = now_ + Between(10, 14);
    for (Worker& each : workers_) each.frozen_until = std::max(each.frozen_until, until);
  } else if (which < 0.7 && engine_ != nullptr) {
    // It dies: before anything of its inbox, or after a commit that nobody hears of.
    answers_lost_ = true;
    if (Uniform() < 0.5) engine_->RunOnce(now_);
    engine_.reset();
    store_.reset();
    answers_lost_ = false;
    After(Between(0.1, 20), [this] { Boot(); });
  } else if (which < 0.8 && engine_ != nullptr) {
    (void)store_->LimitPagesForTest(1);
    After(Between(0.5, 8), [this] {
      if (engine_ != nullptr) (void)store_->LimitPagesForTest(1'000'000);
    });
  } else if (which < 0.9 && engine_ != nullptr) {
    const TrialId trial{1 + static_cast<int64_t>(Uniform() * 20)};
    cancelled_.insert(trial);
    engine_->Cancel({.roadmap = "a", .trials = {trial.value}, .reason = "sim"}, [](const auto&) {});
  } else if (engine_ != nullptr) {
    engine_->Resume({.roadmap = "a", .trials = {}, .reason = "sim"}, [](const auto&) {});
  }
  After(Between(0.5, 8), [this] { Faults(); });
}

void Simulation::Step() {
  if (engine_ == nullptr) return;
  const absl::Time next = engine_->RunOnce(now_);
  if (++steps_ % 8 == 0) {
    EXPECT_THAT(FindViolations(engine_->scheduler()), IsEmpty());
  }
  // An event that does nothing: the engine runs after every one.
  if (next != absl::InfiniteFuture())
    agenda_.At(std::max(next, now_ + absl::Milliseconds(1)), [] {});
}

bool Simulation::AllEnded() const {
  if (engine_ == nullptr) return false;
  for (RoadmapId roadmap : {RoadmapId{1}, RoadmapId{2}}) {
    const Scheduler::RoadmapCounts* counts = engine_->scheduler().Counts(roadmap);
    if (counts == nullptr || counts->queued + counts->leased > 0) return false;
  }
  return true;
}

void Simulation::Run() {
  Boot();
  for (int number = 0; number < 3; ++number) workers_.push_back({.number = number});
  Submission first = SmallSweep("a", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 3),
             second = SmallSweep("b", {8, 9, 10, 11, 12}, 2);
  first.retry.max.fill(-1);
  second.retry.max.fill(-1);
  for (const Submission& s : {first, second}) {
    engine_->Submit(std::make_shared<Submission>(s),
                    [](const auto& answer) { ASSERT_TRUE(answer.ok()); });
  }
  Step();
  for (Worker& w : workers_)
    After(Between(0, 1), [this, &w] {
      if (w.call == 0) Call(w);
    });
  After(Between(0.5, 8), [this] { Faults(); });
  bool resumed = false;
  while (now_ < kLatest && !testing::Test::HasFailure()) {
    if (now_ >= kFaultsEnd && engine_ != nullptr && !resumed) {
      resumed = true;
      for (const char* roadmap : {"a", "b"})
        engine_->Resume({.roadmap = roadmap, .trials = {}, .reason = "sim"}, [](const auto&) {});
      Step();
    }
    if (resumed && AllEnded()) break;
    now_ = std::max(now_, agenda_.next());
    agenda_.Pop();
    Step();
  }
  ASSERT_TRUE(engine_ != nullptr && AllEnded()) << "not all trials ended by " << now_;
  CheckTables();
}

void Simulation::CheckTables() {
  auto db = Database::Open(folder_.File("sim.db"), Database::Mode::kReadOnly);
  const auto count = [&](const std::string& sql) {
    auto statement = db->Prepare(sql);
    EXPECT_TRUE(statement.ok()) << statement.status();
    return statement->One()->value_or(-1);
  };
  const std::string is_result = " IN ('succeeded', 'diverged', 'pruned') ";
  EXPECT_EQ(count("SELECT count(*) FROM trials"), 34);
  EXPECT_EQ(
      count("SELECT count(*) FROM trials WHERE state <> iif(id % 11 = 0, 'diverged', 'succeeded')"),
      0);
  EXPECT_EQ(count("SELECT count(*) FROM attempts WHERE outcome IS NULL"), 0);
  EXPECT_EQ(count("SELECT count(*) FROM trials t WHERE 1 <> (SELECT count(*) FROM attempts a WHERE "
                  "a.trial = t.id AND a.outcome" +
                  is_result + ")"),
            0);
  EXPECT_EQ(count("SELECT count(*) FROM trials t WHERE t.attempts <> (SELECT count(*) FROM "
                  "attempts a WHERE a.trial = t.id)"),
            0);
  // A trial has its result once, and nothing happens to it afterwards.
  EXPECT_EQ(count("SELECT count(*) FROM trials t WHERE 1 <> (SELECT count(*) FROM events e WHERE "
                  "e.trial = t.id AND e.kind" +
                  is_result + ")"),
            0);
  EXPECT_EQ(count("SELECT count(*) FROM events e JOIN events r ON r.trial = e.trial AND r.kind" +
                  is_result + " AND r.id < e.id"),
            0);
  EXPECT_EQ(count("SELECT count(*) FROM results"), 34);
  EXPECT_EQ(
      count("SELECT count(*) FROM results WHERE value <> 1.0 / trial OR key <> 'test/perplexity'"),
      0);
  EXPECT_EQ(count("SELECT count(*) FROM metrics"), 34 * kSteps);
  EXPECT_EQ(count("SELECT count(*) FROM metrics WHERE value <> 1.0 / (trial + step)"), 0);
  for (const char* kind : {"late_result", "recovered", "lost", "attempt_failed",
                           "attempt_cancelled", "started", "cancel", "resume"}) {
    marks_[kind] += static_cast<int>(
        count(absl::StrCat("SELECT count(*) FROM events WHERE kind = '", kind, "'")));
  }
}

TEST(EngineSimulation, NoFaultLosesRepeatsOrInventsAResult) {
  const char* given = std::getenv("SAFFRON_SIMULATION_SEEDS");
  const char* from = std::getenv("SAFFRON_SIMULATION_FIRST");
  const int seeds = given == nullptr ? 25 : std::atoi(given),
            first = from == nullptr ? 1 : std::atoi(from);
  std::map<std::string, int> marks;
  for (int seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("SAFFRON_SIMULATION_FIRST=", seed, " SAFFRON_SIMULATION_SEEDS=1"));
    Simulation simulation(seed);
    simulation.Run();
    if (HasFailure()) return;
    for (const auto& [mark, n] : simulation.marks()) marks[mark] += n;
  }
  // The rare branches were taken.
  for (const auto& [mark, n] : marks) {
    EXPECT_TRUE(given != nullptr || n > 0) << mark;
    RecordProperty(mark, n);
  }
}

}  // namespace
}  // namespace saffron
