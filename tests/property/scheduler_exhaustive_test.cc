// Every sequence of up to eight events, for two workers, two trials and two roadmaps, checked
// against the scheduler's invariants and against what may be recorded; SAFFRON_EXHAUSTIVE_DEPTH=10
// goes further. Then: each rule of the ledger is broken on purpose, and must notice.

#include <cstdlib>
#include <deque>
#include <functional>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "coordinator/scheduler/invariants.h"
#include "coordinator/scheduler/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr RoadmapId kRoadmap{1}, kOther{2};

// What a worker knows about itself: what it runs and what it has finished without being told that
// the coordinator heard. It acts on answers, or loses them.
struct ModelWorker {
  std::vector<AttemptId> running;
  std::vector<AttemptReport> finished;
  Missing missing;
};

constexpr CorpusId kCorpus{1};  // of the first trial; the second reads none

// Scheduler, workers and record at one node of the search.
struct Model {
  Scheduler scheduler{{.lease = absl::Seconds(10), .backoff = absl::Seconds(1)}};
  EffectLedger ledger;
  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  ModelWorker workers[2];
  bool dependent = false;  // trial 2 starts from trial 1

  Effects Do(const Event& event) {
    Effects effects = scheduler.Apply(event, now);
    ledger.Record(effects);
    ledger.Compare(scheduler);
    return effects;
  }
};

RoadmapChanged TwoTrials(RoadmapId roadmap, bool dependent) {
  RoadmapChanged event{.roadmap = roadmap, .policy = {.retry = {.max = {-1, 1, 0, 0, 0}}}};
  for (int64_t id : {1, 2})
    event.trials.push_back({.trial = TrialId{id}, .position = id, .cost_seconds = 10});
  event.trials[0].needs = kCorpus;
  if (dependent) event.trials[1].parent = TrialId{1};
  return event;
}

// A worker calls, registering first where this coordinator never heard of it; `heard` says whether
// the answer arrives.
void Sync(Model& m, int w, bool heard) {
  const WorkerId id{w + 1};
  const auto known = m.scheduler.ViewWorker(id);  // without slots: from before a restart
  if (!known || known->slots == 0) m.Do(WorkerJoined{id, 1});
  ModelWorker& worker = m.workers[w];
  const Effects effects = m.Do(WorkerSynced{.worker = id,
                                            .running = worker.running,
                                            .finished = worker.finished,
                                            .want = worker.running.empty(),
                                            .missing = worker.missing});
  for (const Effect& effect : effects) {
    const auto* assigned = std::get_if<AttemptAssigned>(&effect);
    if (assigned == nullptr) continue;
    EXPECT_FALSE(worker.missing.Has(m.scheduler.FindTrial(assigned->attempt.trial)->needs))
        << "a worker is given what it says it lacks";
  }
  if (!heard) return;
  for (const Effect& effect : effects) {
    const auto* assigned = std::get_if<AttemptAssigned>(&effect);
    const auto* repeated = std::get_if<AttemptRepeated>(&effect);
    if (assigned != nullptr && assigned->worker == id) worker.running.push_back(assigned->attempt);
    if (repeated != nullptr && repeated->worker == id) worker.running.push_back(repeated->attempt);
    if (const auto* a = std::get_if<AttemptAbandoned>(&effect); a != nullptr && a->worker == id) {
      std::erase(worker.running, a->attempt);
    }
  }
  worker.finished.clear();
}

void Finish(Model& m, int w, Outcome outcome) {
  ModelWorker& worker = m.workers[w];
  if (worker.running.empty()) return;
  worker.finished.push_back(
      {.attempt = worker.running[0], .outcome = outcome, .failure = FailureClass::kError});
  worker.running.erase(worker.running.begin());
}

// What the worker runs of the corpus turns out not to be there, nor what it is given later; or it
// is there again.
void LoseCorpus(Model& m, int w) {
  ModelWorker& worker = m.workers[w];
  worker.missing = {.named = {kCorpus}};
  for (AttemptId attempt : worker.running) {
    if (!worker.missing.Has(m.scheduler.FindTrial(attempt.trial)->needs)) continue;
    worker.finished.push_back({.attempt = attempt, .outcome = Outcome::kFailed, .no_corpus = true});
  }
  for (const AttemptReport& report : worker.finished) std::erase(worker.running, report.attempt);
}

// The coordinator dies and comes back with what was recorded.
void Restart(Model& m) {
  Scheduler::Snapshot snapshot;
  for (int64_t id : {1, 2}) {
    const Scheduler::Trial& t = *m.scheduler.FindTrial(TrialId{id});
    TrialState state = t.state;
    if (Queued* queued = std::get_if<Queued>(&state)) queued->ready_at = absl::InfinitePast();
    snapshot.trials.push_back({TrialId{id}, t.cost_seconds, t.attempts, t.failures, state, t.parent,
                               t.lost_with, t.needs});
  }
  for (RoadmapId roadmap : {kRoadmap, kOther}) {
    const RoadmapChanged event = TwoTrials(roadmap, m.dependent);
    Scheduler::Snapshot::Roadmap r{.id = roadmap, .policy = event.policy};
    r.priority = m.scheduler.Control(roadmap).priority;
    r.paused = m.scheduler.Control(roadmap).paused;
    for (const WantedTrial& w : event.trials) {
      for (const Scheduler::Want& want : m.scheduler.FindTrial(w.trial)->wants) {
        if (want.roadmap != roadmap) continue;
        r.trials.push_back(w);
        if (!want.active) r.given_up.push_back(w.trial);
      }
    }
    if (m.scheduler.Counts(roadmap) != nullptr) snapshot.roadmaps.push_back(r);
  }
  for (const WorkerId worker : {WorkerId{1}, WorkerId{2}}) {
    const auto view = m.scheduler.ViewWorker(worker);
    if (view && view->drained) snapshot.drained[worker] = *view->drained;
  }
  m.scheduler = Scheduler(m.scheduler.options(), snapshot, m.now);
}

using Step = std::pair<const char*, std::function<void(Model&)>>;

std::vector<Step> Steps() {
  std::vector<Step> steps;
  steps.push_back({"A syncs", [](Model& m) { Sync(m, 0, true); }});
  steps.push_back({"B syncs", [](Model& m) { Sync(m, 1, true); }});
  steps.push_back({"A syncs, answer lost", [](Model& m) { Sync(m, 0, false); }});
  steps.push_back({"A succeeds", [](Model& m) { Finish(m, 0, Outcome::kSucceeded); }});
  steps.push_back({"B succeeds", [](Model& m) { Finish(m, 1, Outcome::kSucceeded); }});
  steps.push_back({"A fails", [](Model& m) { Finish(m, 0, Outcome::kFailed); }});
  steps.push_back({"A's process dies", [](Model& m) { m.workers[0] = {}; }});
  steps.push_back({"A's process dies and that is noticed", [](Model& m) {
                     m.workers[0] = {};
                     m.Do(WorkerGone{WorkerId{1}});
                   }});
  steps.push_back({"a lease passes", [](Model& m) {
                     m.now += absl::Seconds(12);
                     m.Do(Tick{});
                   }});
  steps.push_back({"cancel", [](Model& m) { m.Do(CancelRequested{.roadmap = kRoadmap}); }});
  steps.push_back({"resume", [](Model& m) { m.Do(ResumeRequested{.roadmap = kRoadmap}); }});
  steps.push_back({"another roadmap", [](Model& m) { m.Do(TwoTrials(kOther, m.dependent)); }});
  steps.push_back({"a trial dropped", [](Model& m) {
                     // The first; or the one that starts from it: a roadmap names parents too.
                     RoadmapChanged smaller = TwoTrials(kRoadmap, m.dependent);
                     smaller.trials.erase(smaller.trials.begin() + m.dependent);
                     m.Do(smaller);
                   }});
  steps.push_back({"restart", Restart});
  return steps;
}

std::vector<Step> CorpusSteps() {
  std::vector<Step> steps = Steps();
  steps.push_back({"A's corpus goes", [](Model& m) { LoseCorpus(m, 0); }});
  steps.push_back({"A's corpus comes", [](Model& m) { m.workers[0].missing = {}; }});
  steps.push_back({"B's corpus goes", [](Model& m) { LoseCorpus(m, 1); }});
  steps.push_back({"A's connection breaks for a while", [](Model& m) {
                     m.Do(WorkerUnreachable{WorkerId{1}});
                     m.now += absl::Seconds(4);
                     m.Do(Tick{});
                   }});
  return steps;
}

// What people do to roadmaps, workers and single trials, where one trial starts from the other.
std::vector<Step> ControlSteps() {
  std::vector<Step> steps = Steps();
  steps.push_back({"A diverges", [](Model& m) { Finish(m, 0, Outcome::kDiverged); }});
  steps.push_back({"pause", [](Model& m) { m.Do(PauseRequested{kRoadmap, "pause"}); }});
  steps.push_back({"unpause", [](Model& m) { m.Do(PauseRequested{kRoadmap, std::nullopt}); }});
  steps.push_back({"drain A", [](Model& m) {
                     if (!m.scheduler.HasWorker(WorkerId{1})) return;
                     m.Do(DrainRequested{WorkerId{1}, "drain"});
                   }});
  steps.push_back({"A's connection breaks for a while", [](Model& m) {
                     m.Do(WorkerUnreachable{WorkerId{1}});
                     m.now += absl::Seconds(4);
                     m.Do(Tick{});
                   }});
  steps.push_back({"cancel 1", [](Model& m) {
                     m.Do(CancelRequested{.roadmap = kRoadmap, .trials = {{TrialId{1}}}});
                   }});
  steps.push_back({"resume 2", [](Model& m) {
                     m.Do(ResumeRequested{.roadmap = kRoadmap, .trials = {{TrialId{2}}}});
                   }});
  return steps;
}

// Everything that decides what may follow: two models that share it need only one visit.
std::string Fingerprint(const Model& m) {
  std::string text = Fingerprint(m.scheduler, m.now) + "|" + m.ledger.Fingerprint();
  for (const ModelWorker& worker : m.workers) {
    for (const AttemptId& a : worker.running)
      absl::StrAppend(&text, "r", a.trial.value, ",", a.number);
    for (const AttemptReport& r : worker.finished) {
      absl::StrAppend(&text, "f", r.attempt.trial.value, ",", r.attempt.number, ",", int(r.outcome),
                      r.no_corpus ? "n" : "");
    }
    if (!worker.missing.empty()) text += "m";
    text += ";";
  }
  return text;
}

// All sequences of so many steps, in the order of their length. Sequences that lead to the same
// state go on together. Stops at the first violation, naming a sequence that leads to it.
class Search {
 public:
  explicit Search(std::vector<Step> steps) : steps_(std::move(steps)) {}
  void Run(const Model& root, int depth) {
    states_ = {{root, -1, -1}};
    size_t begin = 0;
    for (int length = 1; length <= depth; ++length) {
      const size_t end = states_.size();
      for (size_t i = begin; i < end; ++i) {
        for (size_t step = 0; step < steps_.size(); ++step) {
          if (!Visit(static_cast<int>(i), static_cast<int>(step), length == depth)) return;
        }
        states_[i].model.reset();  // what it was is known by its successors
      }
      begin = end;
    }
  }
  int64_t visited() const { return visited_; }
  size_t states() const { return seen_.size(); }

 private:
  struct State {
    std::optional<Model> model;
    int from, step;
  };

  bool Visit(int from, int step, bool last) {
    Model next = *states_[from].model;
    steps_[step].second(next);
    ++visited_;
    std::vector<std::string> violations = next.ledger.violations();
    if (violations.empty() && !seen_.insert(std::hash<std::string>()(Fingerprint(next))).second) {
      return true;
    }
    for (const std::string& v : FindViolations(next.scheduler)) violations.push_back(v);
    if (!violations.empty()) {
      ADD_FAILURE() << PathTo(from) << " > " << steps_[step].first << ": " << violations[0];
      return false;
    }
    if (!last) states_.push_back({std::move(next), from, step});
    return true;
  }
  std::string PathTo(int state) const {
    if (states_[state].from < 0) return "start";
    return absl::StrCat(PathTo(states_[state].from), " > ", steps_[states_[state].step].first);
  }

  const std::vector<Step> steps_;
  std::deque<State> states_;
  absl::flat_hash_set<uint64_t> seen_;
  int64_t visited_ = 0;
};

void ExpectSound(const std::vector<Step>& steps, bool dependent, int depth) {
  Model root;
  root.dependent = dependent;
  root.Do(TwoTrials(kRoadmap, dependent));
  const char* asked = std::getenv("SAFFRON_EXHAUSTIVE_DEPTH");
  Search search(steps);
  search.Run(root, asked == nullptr ? depth : std::atoi(asked));
  testing::Test::RecordProperty("states", static_cast<int>(search.states()));
  EXPECT_GT(search.visited(), 10'000);
}

TEST(SchedulerExhaustive, NoSequenceOfEventsBreaksAnInvariant) { ExpectSound(Steps(), false, 8); }
TEST(SchedulerExhaustive, NoSequenceOfEventsBreaksADependency) {
  ExpectSound(ControlSteps(), true, 8);
}
TEST(SchedulerExhaustive, NoSequenceOfMissingCorporaBreaksAnInvariant) {
  ExpectSound(CorpusSteps(), false, 6);
}

// After any sequence of events, once faults stop and people let it, every trial that is wanted
// ends.
void ExpectFinish(const std::vector<Step>& steps, bool dependent) {
  using Visit = std::function<void(const Model&, int, const std::string&)>;
  const Visit visit = [&](const Model& at, int depth, const std::string& path) {
    Model m = at;
    m.Do(PauseRequested{kRoadmap, std::nullopt});
    m.workers[1].missing = {};  // one is enough
    if (m.scheduler.HasWorker(WorkerId{1})) m.Do(DrainRequested{WorkerId{1}, std::nullopt});
    for (int round = 0; round < 8; ++round) {
      for (int w : {0, 1}) {
        Sync(m, w, true);
        Finish(m, w, Outcome::kSucceeded);
        Sync(m, w, true);
      }
      m.now += absl::Seconds(5);
      m.Do(Tick{});
    }
    for (int64_t id : {1, 2}) {
      ASSERT_TRUE(std::holds_alternative<Ended>(m.scheduler.FindTrial(TrialId{id})->state))
          << "trial " << id << " after" << path;
    }
    if (depth == 0) return;
    for (const auto& [name, step] : steps) {
      Model next = at;
      step(next);
      visit(next, depth - 1, absl::StrCat(path, " > ", name));
    }
  };
  Model root;
  root.dependent = dependent;
  root.Do(TwoTrials(kRoadmap, dependent));
  visit(root, 3, "");
}

TEST(SchedulerExhaustive, EverySequenceCanBeFinished) { ExpectFinish(Steps(), false); }
TEST(SchedulerExhaustive, EverySequenceOfMissingCorporaCanBeFinished) {
  ExpectFinish(CorpusSteps(), false);
}
TEST(SchedulerExhaustive, EverySequenceWithADependencyCanBeFinished) {
  ExpectFinish(ControlSteps(), true);
}

// ---- Planted bugs: the ledger must notice each

const AttemptId kFirst{TrialId{1}, 1}, kSecond{TrialId{1}, 2};
constexpr WorkerId kA{1}, kB{2};
const Effect kQueue = TrialQueued{TrialId{1}, absl::InfinitePast(), "submitted"};
const Effect kLease = AttemptAssigned{kFirst, kA, kRoadmap};
const Effect kEndAttempt = AttemptEnded{kFirst, Outcome::kSucceeded, std::nullopt, ""};
const Effect kEndTrial = TrialEnded{TrialId{1}, Outcome::kSucceeded, std::nullopt, ""};
const Effect kLoseAttempt = AttemptEnded{kFirst, Outcome::kFailed, FailureClass::kWorkerLost, ""};

struct PlantedBug {
  const char* name;
  std::vector<Effects> events;
  const char* rule;
};

class LedgerNotices : public testing::TestWithParam<PlantedBug> {};

TEST_P(LedgerNotices, ThePlantedBug) {
  EffectLedger ledger;
  for (const Effects& effects : GetParam().events) ledger.Record(effects);
  ASSERT_FALSE(ledger.violations().empty());
  EXPECT_THAT(ledger.violations()[0], HasSubstr(GetParam().rule));
}

INSTANTIATE_TEST_SUITE_P(
    Bugs, LedgerNotices,
    testing::Values(
        PlantedBug{"TwoLeases",
                   {{kQueue, kLease}, {AttemptAssigned{kSecond, kB, kRoadmap}}},
                   "only a queued trial"},
        PlantedBug{
            "NumberReused",
            {{kQueue, kLease}, {kLoseAttempt, kQueue}, {AttemptAssigned{kFirst, kB, kRoadmap}}},
            "numbers run"},
        PlantedBug{
            "NumberSkipped", {{kQueue, AttemptAssigned{kSecond, kA, kRoadmap}}}, "numbers run"},
        PlantedBug{"ResultCountedTwice",
                   {{kQueue, kLease}, {kEndAttempt, kEndTrial}, {kEndAttempt, kEndTrial}},
                   "ends once"},
        PlantedBug{"ResultChanged",
                   {{kQueue, kLease},
                    {kEndAttempt, kEndTrial},
                    {TrialEnded{TrialId{1}, Outcome::kDiverged, std::nullopt, ""}}},
                   "ends once"},
        PlantedBug{"ResultWithoutAttempt", {{kQueue}, {kEndTrial}}, "exactly one attempt"},
        PlantedBug{"RunAgainAfterItsResult",
                   {{kQueue, kLease},
                    {kEndAttempt, kEndTrial},
                    {TrialQueued{TrialId{1}, absl::InfinitePast(), "", true}}},
                   "never queued again"},
        PlantedBug{
            "AttemptLeftOpen", {{kQueue, kLease}, {kQueue}}, "an open attempt stands for a lease"},
        PlantedBug{
            "EndedAttemptRepeated",
            {{kQueue, kLease}, {kLoseAttempt, kQueue}, {AttemptRepeated{kFirst, kA, kRoadmap}}},
            "only an open attempt"},
        PlantedBug{"RecoveredByAnother",
                   {{kQueue, kLease}, {kLoseAttempt, kQueue}, {AttemptRecovered{kFirst, kB}}},
                   "is recovered"},
        PlantedBug{
            "FailureWithoutClass",
            {{kQueue, kLease}, {AttemptEnded{kFirst, Outcome::kFailed, std::nullopt, ""}, kQueue}},
            "has a class"},
        PlantedBug{"OwnAttemptAbandoned",
                   {{kQueue, kLease}, {AttemptAbandoned{kFirst, kA}}},
                   "not told to drop"},
        PlantedBug{
            "LeaverKeepsItsLease", {{kQueue, kLease}, {WorkerLeft{kA, false}}}, "holds nothing"},
        PlantedBug{"UnknownAttempt", {{kQueue}, {kEndAttempt}}, "never made"}),
    [](const testing::TestParamInfo<PlantedBug>& info) { return info.param.name; });

}  // namespace
}  // namespace saffron
