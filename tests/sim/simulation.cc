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
// By then every trial must have ended.
constexpr absl::Duration kPatience = absl::Minutes(20);
constexpr int64_t kStepsMax = 100'000;

Submission Revision(const std::string& name, const std::set<int64_t>& values, int seeds,
                    const RetryBudgets& retry) {
  Submission s;
  s.name = name;
  s.spec = absl::StrCat("name: ", name, " seeds: ", seeds);
  s.metric = "test/perplexity";
  s.numerics = 1;
  s.seed_count = seeds;
  s.retry = retry;
  s.blocks = {"baseline", "size"};
  for (int64_t value : values) {
    absl::StrAppend(&s.spec, " ", value);
    const bool first = s.variants.empty();
    SubmittedVariant v{.digest = absl::StrCat("bits ", value),
                       .params = {{"model.type", std::string("noop")}, {"model.bits", value}},
                       .label = absl::StrCat("bits=", value),
                       .origins = {{first ? 0 : 1, static_cast<int64_t>(s.variants.size()),
                                    first ? "baseline" : "grid", ""}},
                       .corpus = "sotu",
                       .fingerprint = "f00d"};
    v.seconds = static_cast<double>(value % 5);
    s.variants.push_back(std::move(v));
  }
  s.spec_digest = absl::StrCat("digest of ", s.spec);
  return s;
}

}  // namespace

SimWorkload::SimWorkload(int number) {
  Dice dice(1000 + number);
  const int64_t budgets[] = {0, 1, 2};
  retry.max = {-1, budgets[dice.Below(3)] + 1, budgets[dice.Below(3)], budgets[dice.Below(2)], 0};
  for (const char* name : {"a", "b"}) {
    std::set<int64_t> values;
    while (std::ssize(values) < 3 + dice.Below(2)) values.insert(1 + dice.Below(12));
    const int seeds = 1 + dice.Below(2);
    std::vector<Submission> revisions;
    const int edits = dice.Below(3);
    for (int edit = 0; edit <= edits; ++edit) {
      revisions.push_back(Revision(name, values, seeds, retry));
      if (number % 4 == 1) revisions.back().total_time = absl::Seconds(5 + dice.Below(20));
      // The next one names others, and perhaps again what this one dropped.
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
      oracle_(stage->database(), workload_.retry),
      people_(workload_.roadmaps.size()) {
  dice_.unlucky = options.faults;
  stage->disk.Load(options.new_database ? MemoryDisk::Files() : stage->empty_database);
  SimCoordinator::Options o{.database = stage->database(),
                            .engine = {.scheduler = {.lease = kLease}, .numerics = 1},
                            .bug = options.bug};
  if (options.bug == Bug::kLeaseNeverExpires) o.engine.scheduler.lease = absl::Hours(10'000);
  if (dice_.Chance(0.3)) o.engine.inbox_max = 3;
  if (dice_.Chance(0.3)) o.engine.batch_max = 1 + dice_.Below(3);
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
                         .bug = options.bug};
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

void Simulation::ResumeUntilAnswered(size_t roadmap) {
  if (people_[roadmap].resumed) return;
  if (people_[roadmap].next == workload_.roadmaps[roadmap].size()) {
    const std::string name = workload_.roadmaps[roadmap][0].name;
    coordinator_->Control([this, roadmap, name](Engine& engine) {
      engine.Resume({.roadmap = name, .trials = {}, .reason = "in the end"},
                    [this, roadmap](const absl::StatusOr<int64_t>& answer) {
                      if (answer.ok()) people_[roadmap].resumed = true;
                    });
    });
  }
  agenda_.After(absl::Seconds(5), [this, roadmap] { ResumeUntilAnswered(roadmap); });
}

void Simulation::Meddle() {
  const std::string roadmap = dice_.Below(2) == 0 ? "a" : "b";
  const bool all = dice_.Below(3) == 0, resume = dice_.Below(2) == 0;
  std::vector<int64_t> trials;
  if (!all) trials = {1 + dice_.Below(12)};
  coordinator_->Control([roadmap, resume, trials](Engine& engine) {
    const auto ignore = [](const absl::StatusOr<int64_t>&) {};
    const ControlCall call{.roadmap = roadmap, .trials = trials, .reason = "by chance"};
    resume ? engine.Resume(call, ignore) : engine.Cancel(call, ignore);
  });
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
  agenda_.After(dice_.Between(0.3, 5), [this] { Faults(); });
}

void Simulation::StopFaults() {
  calm_ = true;
  dice_.unlucky = false;
  // Nothing that was set to happen later does, but recovery.
  coordinator_->DieWhileWriting(-1, false);
  agenda_.After(kSettling, [this] {
    for (size_t i = 0; i < people_.size(); ++i) ResumeUntilAnswered(i);
  });
}

// ---- The run

bool Simulation::EverythingEnded() {
  if (!coordinator_->up()) return false;
  for (size_t i = 0; i < people_.size(); ++i) {
    const Scheduler::RoadmapCounts* counts =
        coordinator_->engine()->scheduler().Counts(RoadmapId{static_cast<int64_t>(i) + 1});
    if (!people_[i].resumed || counts == nullptr || counts->queued + counts->leased > 0)
      return false;
  }
  return true;
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
    oracle_.CheckFile();
    oracle_.CountEvents(&marks_);
    results_ = oracle_.ResultsTable();
  }
  marks_["coordinator steps"] += coordinator_->steps();
  return oracle_.violations();
}

}  // namespace saffron
