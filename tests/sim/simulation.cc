#include "tests/sim/simulation.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
constexpr absl::Duration kLease = absl::Seconds(10);
// After the last fault everything that it left on its way arrives within this time.
constexpr absl::Duration kSettling = absl::Seconds(60);
// So much longer a bad machine stays bad.
constexpr absl::Duration kJudging = absl::Seconds(60);
// By then every trial must have ended.
constexpr absl::Duration kPatience = absl::Minutes(20);
constexpr int64_t kStepsMax = 100'000;

// What one revision of a roadmap asks for.
struct Asked {
  std::string name;
  std::set<int64_t> values;
  std::set<int64_t>
      children;  // start from the first of `values`, each of these from the one before
  int seeds = 1;
  bool one_parent = false;  // children of every seed start from the first seed's
};

SubmittedVariant Variant(int64_t value, const SubmittedVariant* parent, int64_t parent_index,
                         bool one_parent) {
  SubmittedVariant v{.digest = absl::StrCat("bits ", value),
                     .params = {{"model.type", std::string("noop")}, {"model.bits", value}},
                     .label = absl::StrCat("bits=", value),
                     .origins = {},
                     .corpus = SimTrial::CorpusOf(value),
                     .fingerprint = SimTrial::CorpusOf(value)};
  v.seconds = static_cast<double>(value % 5);
  if (parent == nullptr) return v;
  v.init = SubmittedInit{.parent = parent_index, .checkpoint = value % 2 == 0 ? "last" : "best"};
  if (one_parent) v.init->seed = 1;
  absl::StrAppend(&v.digest, one_parent ? " from the first of " : " from ", parent->digest);
  v.params["init_from.variant"] = parent->digest;
  return v;
}

Submission Revision(const Asked& asked, const RetryBudgets& retry, int poison) {
  Submission s;
  s.name = asked.name;
  s.spec = absl::StrCat("name: ", asked.name, " seeds: ", asked.seeds);
  s.metric = "test/perplexity";
  s.numerics = 1;
  s.seed_count = asked.seeds;
  s.retry = retry;
  s.poison = poison;
  s.blocks = {"baseline", "size", "grown"};
  const auto add = [&](SubmittedVariant v, int block, const char* role) {
    absl::StrAppend(&s.spec, " ", v.digest);
    v.origins = {{block, std::ssize(s.variants), role, ""}};
    s.variants.push_back(std::move(v));
  };
  for (int64_t value : asked.values) {
    const bool first = s.variants.empty();
    add(Variant(value, nullptr, 0, false), first ? 0 : 1, first ? "baseline" : "grid");
  }
  int64_t parent = 0;
  for (int64_t value : asked.children) {
    add(Variant(value, &s.variants[parent], parent, asked.one_parent), 2, "grid");
    parent = std::ssize(s.variants) - 1;
  }
  s.spec_digest = absl::StrCat("digest of ", s.spec);
  return s;
}

}  // namespace

SimWorkload::SimWorkload(int number) {
  Dice dice(1000 + number);
  const int64_t budgets[] = {0, 1, 2};
  retry.max = {-1, budgets[dice.Below(3)] + 1, budgets[dice.Below(3)], budgets[dice.Below(2)], 0};
  poison = number % 3 == 0 ? 0 : 1 + number % 3;
  if (poison > 0) retry.max[static_cast<int>(FailureClass::kWorkerLost)] += 3;
  bad_machine = number % 8 == 6;
  found_corpus = number % 8 == 5;
  missing_corpus = found_corpus || number % 8 == 2 || number % 8 == 3;
  for (const char* name : {"a", "b"}) {
    Asked asked;
    asked.name = name;
    while (std::ssize(asked.values) < 3 + dice.Below(2)) asked.values.insert(1 + dice.Below(12));
    asked.seeds = 1 + dice.Below(2);
    asked.one_parent = dice.Below(2) == 0;
    if (number % 2 == 0) asked.children = {15, 16};
    if (number % 4 == 3) asked.values.insert(13);
    // Enough of them to judge a machine by.
    if (bad_machine) asked.values.insert({17, 18, 19, 20, 23, 24, 25});
    std::vector<Submission> revisions;
    const int edits = dice.Below(3);
    for (int edit = 0; edit <= edits; ++edit) {
      revisions.push_back(Revision(asked, retry, poison));
      if (number % 4 == 1) revisions.back().total_time = absl::Seconds(5 + dice.Below(20));
      // The next one names others, and perhaps again what this one dropped.
      std::set<int64_t>& values = asked.values;
      if (values.size() > 1) values.erase(std::next(values.begin(), dice.Below(values.size())));
      values.insert(1 + dice.Below(12));
    }
    roadmaps.push_back(std::move(revisions));
  }
}

Simulation::Stage::Stage(const std::string& folder) : folder(folder) {
  auto store = RunStore::Open({.path = database()}, kStart);
  CHECK(store.ok()) << store.status();
  store->reset();
  empty_database = disk.Copy();
}

Simulation::Simulation(const Options& options, Stage* stage)
    : options_(options),
      stage_(stage),
      workload_(static_cast<int>(options.seed % SimWorkload::kCount)),
      agenda_(kStart),
      dice_(options.seed),
      oracle_(stage->database(), workload_.retry, workload_.poison),
      people_(workload_.roadmaps.size()) {
  dice_.unlucky = options.faults;
  if (options.check_when_opened) oracle_.CheckDatabaseWhenOpened();
  machine_is_bad_ = workload_.bad_machine && options.faults;
  if (workload_.found_corpus) corpus_comes_ = kStart + dice_.Between(5, 60);
  pace_ = absl::Seconds(dice_.Chance(0.3) ? 20 : 5);
  stage->disk.Load(options.new_database ? MemoryDisk::Files() : stage->empty_database);
  SimCoordinator::Options o{.database = stage->database(),
                            .engine = {.scheduler = {.lease = kLease}, .numerics = 1},
                            .bug = options.bug};
  if (options.bug == Bug::kLeaseNeverExpires) o.engine.scheduler.lease = absl::Hours(10'000);
  if (dice_.Chance(0.3)) o.engine.inbox_max = 3;
  if (dice_.Chance(0.3)) o.engine.batch_max = 1 + dice_.Below(3);
  if (dice_.Chance(0.2)) o.engine.artifact_bytes_max = 100;
  if (dice_.Chance(0.2)) o.engine.keep_checkpoints = {"last"};
  const bool checkpoints = dice_.Uniform() < 0.5;
  // A coordinator that sees when the processes of its own machine end.
  if (dice_.Chance(0.3) && options.bug != Bug::kLeaseNeverExpires) {
    o.engine.is_gone = [this](const WorkerInfo& info) {
      return std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
        return worker->up() && worker->name() == info.name;
      });
    };
  }
  coordinator_ =
      std::make_unique<SimCoordinator>(o, &stage->disk, &agenda_, &dice_, &oracle_, &marks_);
  for (int number = 0; number < 3; ++number) {
    const int machine = number / 2;
    SimWorker::Options w{.number = number,
                         .machine = machine,
                         .slots = 1 + number % 2,
                         .spool_dir = absl::StrCat(stage->folder, "/spool", machine),
                         .checkpoints = checkpoints,
                         .bug = options.bug};
    if (machine == 1) w.is_bad = [this] { return machine_is_bad_; };
    if (workload_.missing_corpus) {
      w.lacks = [this, machine](const std::string& fingerprint) {
        return fingerprint == "cafe" && (machine == 1 || agenda_.now() < corpus_comes_);
      };
    }
    std::filesystem::remove_all(w.spool_dir);
    workers_.push_back(
        std::make_unique<SimWorker>(w, &agenda_, &dice_, coordinator_.get(), &marks_));
  }
}

Simulation::~Simulation() {
  workers_.clear();
  coordinator_.reset();
}

// ---- The person

void Simulation::SubmitNext(size_t roadmap) {
  const std::vector<Submission>& revisions = workload_.roadmaps[roadmap];
  Person& person = people_[roadmap];
  if (person.next == revisions.size()) return;
  const size_t revision = person.next;
  auto submission = std::make_shared<const Submission>(revisions[revision]);
  coordinator_->Control([this, roadmap, revision, submission](Engine& engine) {
    engine.Submit(submission,
                  [this, roadmap, revision](const absl::StatusOr<SubmitAnswer>& answer) {
                    if (stage_->disk.dead() || dice_.Chance(0.1)) return;  // nobody hears of it
                    Person& person = people_[roadmap];
                    if (!answer.ok() || person.next != revision) return;
                    ++person.next;
                    if (revision > 0) ++marks_["a roadmap was edited"];
                  });
  });
  agenda_.After(dice_.Between(3, options_.faults ? 25 : 5),
                [this, roadmap] { SubmitNext(roadmap); });
}

void Simulation::SetRight(size_t roadmap) {
  Person& person = people_[roadmap];
  if (person.resumed) return;
  const std::string name = workload_.roadmaps[roadmap][0].name;
  if (!person.unpaused) {
    coordinator_->Control([this, roadmap, name](Engine& engine) {
      engine.Pause(name, std::nullopt, [this, roadmap](const absl::StatusOr<bool>& answer) {
        if (answer.ok()) people_[roadmap].unpaused = true;
      });
    });
  } else if (person.next == workload_.roadmaps[roadmap].size()) {
    coordinator_->Control([this, roadmap, name](Engine& engine) {
      engine.Resume({.roadmap = name, .reason = "in the end"},
                    [this, roadmap](const absl::StatusOr<int64_t>& answer) {
                      if (answer.ok()) people_[roadmap].resumed = true;
                    });
    });
  }
  agenda_.After(absl::Seconds(5), [this, roadmap] { SetRight(roadmap); });
}

void Simulation::ReleaseWorkers() {
  if (released_) return;
  machine_is_bad_ = false;
  coordinator_->Control([this](Engine& engine) {
    engine.ControlWorker({.worker = "all", .action = WorkerControlCall::Action::kRelease},
                         [this](const absl::StatusOr<WorkerControlAnswer>& answer) {
                           released_ = released_ || answer.ok();
                         });
  });
  agenda_.After(absl::Seconds(5), [this] { ReleaseWorkers(); });
}

void Simulation::RetryUnlucky() {
  if (coordinator_->up()) {
    for (const auto& [roadmap, trials] : oracle_.Unfinished()) {
      coordinator_->Control([id = roadmap, trials = trials](Engine& engine) {
        engine.Resume({.roadmap = absl::StrCat(id.value), .trials = trials, .reason = "bad luck"},
                      [](const absl::StatusOr<int64_t>&) {});
      });
    }
  }
  agenda_.After(absl::Seconds(30), [this] { RetryUnlucky(); });
}

void Simulation::Meddle() {
  coordinator_->Control([this](Engine& engine) {
    const int what = dice_.Below(10);
    if (what < 6) return MeddleWithRoadmap(engine, dice_.Below(2) == 0 ? "a" : "b");
    what < 9 ? MeddleWithWorkers(engine) : Look(engine);
  });
}

void Simulation::MeddleWithRoadmap(Engine& engine, const std::string& roadmap) {
  ControlCall call{.roadmap = roadmap, .reason = "by chance"};
  switch (dice_.Below(6)) {
    case 0:
    case 1:
      call.trials = {1 + dice_.Below(12)};
      break;
    case 2:
      call.variants = {absl::StrCat("bits=", 1 + dice_.Below(12))};
      break;
    case 3:
      call.blocks = {dice_.Below(2) == 0 ? "size" : "grown"};
      break;
    default:
      break;
  }
  const auto ignore = [](const auto&) {};
  switch (dice_.Below(6)) {
    case 0:
      return engine.Cancel(call, ignore);
    case 1:
      return engine.Resume(call, ignore);
    case 2: {
      RetryCall retry{.what = call};
      if (dice_.Below(2) == 0) retry.what = {.roadmap = roadmap, .reason = "by chance"};
      if (dice_.Below(3) == 0) retry.classes = {static_cast<FailureClass>(dice_.Below(5))};
      if (dice_.Below(2) == 0) retry.memory_bytes = int64_t{1} << 30;
      return engine.Retry(retry, [this](const absl::StatusOr<RetryAnswer>& answer) {
        if (answer.ok() && answer->changed > 0) ++marks_["failures were retried by selector"];
      });
    }
    case 3:
      return engine.SetPriority(roadmap, dice_.Below(2) == 0 ? 3 : 0.5, ignore);
    default:
      return engine.Pause(
          roadmap, dice_.Below(2) == 0 ? std::optional<std::string>("wait") : std::nullopt, ignore);
  }
}

void Simulation::MeddleWithWorkers(Engine& engine) {
  using Action = WorkerControlCall::Action;
  const Action actions[] = {Action::kDrain, Action::kDrain, Action::kRelease, Action::kTrust};
  WorkerControlCall call{.worker = "", .action = actions[dice_.Below(4)], .reason = "by chance"};
  switch (dice_.Below(4)) {
    case 0:
      call.worker = absl::StrCat("m", dice_.Below(2));
      break;
    case 1:
      call.worker = "all";
      if (call.action == Action::kDrain) call.action = Action::kRelease;
      break;
    default:
      call.worker = AnyWorker().name();
  }
  // A machine that nobody may judge is not quarantined.
  if (workload_.bad_machine && call.action == Action::kTrust) call.action = Action::kRelease;
  engine.ControlWorker(call, [](const absl::StatusOr<WorkerControlAnswer>&) {});
}

void Simulation::Look(Engine& engine) {
  const auto judge = [this](const auto& answer) {
    if (absl::IsInternal(answer.status())) oracle_.Violate(answer.status().ToString());
  };
  engine.Explain(TrialId{1 + dice_.Below(12)}, judge);
  engine.Status("last", judge);
  engine.ListWorkers(judge);
  engine.Metrics(judge);
}

// ---- Misfortune

// A worker that ended is started again, sooner or later.
void Simulation::Supervise(SimWorker& worker) {
  if (!worker.up()) worker.Start();
  agenda_.After(dice_.Between(0.1, 15), [this, &worker] { Supervise(worker); });
}

void Simulation::Strike() {
  SimCoordinator& c = *coordinator_;
  SimWorker& w = AnyWorker();
  switch (dice_.Below(20)) {
    case 0:
    case 1:
      return w.Kill(SimWorker::Death::kProcess);
    case 2:
      for (auto& worker : workers_) {
        if (worker->machine() == w.machine()) worker->Kill(SimWorker::Death::kMachine);
      }
      return;
    case 3:
    case 4:
      return w.Freeze(dice_.Between(1, 35));
    case 5:
      if (w.up()) w.Leave();
      return;
    case 6:
      return c.Cut(w.machine(), dice_.Between(1, 25));
    case 7:
      c.Cut(0, dice_.Between(8, 14));
      return c.Cut(1, dice_.Between(8, 14));
    case 8:
      return c.Kill();
    case 9:
    case 10:
    case 11:
      return c.DieWhileWriting(dice_.Below(40), false);
    case 12:
      return c.DieWhileWriting(dice_.Below(40), true);
    case 13:
      return dice_.Below(2) == 0 ? c.CutPower() : c.Stop();
    case 14:
      ++marks_["the coordinator was frozen"];
      return c.Freeze(dice_.Between(1, 30));
    case 15:
      return dice_.Below(2) == 0 ? c.FillDisk(dice_.Between(0.1, 8))
                                 : c.BreakWrites(dice_.Between(0.1, 8));
    case 16:
      return c.BreakSyncs(dice_.Between(0.1, 8));
    default:
      return Meddle();
  }
}

void Simulation::Faults() {
  if (calm_) return;
  Strike();
  agenda_.After(dice_.Between(0.3, absl::ToDoubleSeconds(pace_)), [this] { Faults(); });
}

void Simulation::StopFaults() {
  calm_ = true;
  dice_.unlucky = false;
  // Nothing that was set to happen later does, but recovery.
  coordinator_->DieWhileWriting(-1, false);
  agenda_.After(kSettling, [this] {
    for (size_t i = 0; i < people_.size(); ++i) SetRight(i);
    RetryUnlucky();
  });
  // Until then a bad machine is alone to blame for what fails.
  agenda_.After(kSettling + (machine_is_bad_ ? kJudging : absl::ZeroDuration()),
                [this] { ReleaseWorkers(); });
}

// ---- The run

bool Simulation::EverythingEnded() {
  if (!coordinator_->up() || !released_ || looked_at_ == coordinator_->steps()) return false;
  for (size_t i = 0; i < people_.size(); ++i) {
    const Scheduler::RoadmapCounts* counts =
        coordinator_->engine()->scheduler().Counts(RoadmapId{static_cast<int64_t>(i) + 1});
    if (!people_[i].resumed || counts == nullptr || counts->queued + counts->leased > 0)
      return false;
  }
  looked_at_ = coordinator_->steps();
  return oracle_.Unfinished().empty();
}

std::vector<std::string> Simulation::Run() {
  if (options_.dies_after) coordinator_->DieWhileWriting(*options_.dies_after, options_.cut_power);
  // Closing the database and opening it again are part of its life.
  if (!options_.faults) agenda_.After(absl::Seconds(4), [this] { coordinator_->Stop(); });
  coordinator_->Start();
  for (auto& worker : workers_) Supervise(*worker);
  for (size_t i = 0; i < people_.size(); ++i) SubmitNext(i);
  const absl::Duration trouble = options_.faults ? dice_.Between(20, 60) : absl::Seconds(1);
  if (options_.faults) agenda_.After(dice_.Between(0.1, 3), [this] { Faults(); });
  agenda_.After(trouble, [this] { StopFaults(); });
  while (oracle_.violations().empty() && !EverythingEnded()) {
    if (agenda_.empty() || agenda_.now() > kStart + trouble + kPatience) {
      oracle_.Violate("not every trial ends once faults have stopped");
    } else if (coordinator_->steps() > kStepsMax) {
      oracle_.Violate("the coordinator turns in circles");
    } else {
      agenda_.Next();
    }
  }
  if (oracle_.violations().empty()) {
    oracle_.CheckDatabase();
    oracle_.CountEvents(&marks_);
    results_ = oracle_.ResultsTable();
  }
  marks_["coordinator steps"] += coordinator_->steps();
  return oracle_.violations();
}

}  // namespace saffron
