#include "tests/sim/sim_coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/rpc/translate.h"
#include "core/base/check.h"

namespace saffron {

// Reaches a private member of the scheduler, to damage it (Bug::kIndexDrifts): naming one is
// allowed in an explicit instantiation.
int& SlotsOf(Scheduler& scheduler);
NodeRecords& NodesOf(Scheduler& scheduler);
template <int Scheduler::*slots, NodeRecords Scheduler::*nodes>
struct Reach {
  friend int& SlotsOf(Scheduler& scheduler) { return scheduler.*slots; }
  friend NodeRecords& NodesOf(Scheduler& scheduler) { return scheduler.*nodes; }
};
template struct Reach<&Scheduler::slots_, &Scheduler::nodes_>;

namespace {

constexpr absl::Duration kAnswerWithin = absl::Seconds(20);
constexpr absl::Duration kRetryAfter = absl::Milliseconds(250);
// What a call costs the engine, so that time passes even when it is always busy.
constexpr absl::Duration kStepTime = absl::Microseconds(50);

const char* TriggerOf(Bug bug) {
  switch (bug) {
    case Bug::kTrialCountsTwice:
      return "CREATE TRIGGER bug AFTER UPDATE OF outcome ON attempts WHEN NEW.outcome = "
             "'succeeded' "
             "BEGIN UPDATE attempts SET outcome = 'succeeded', failure_class = NULL "
             "WHERE trial = NEW.trial AND number < NEW.number; END";
    case Bug::kResultForgotten:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'joined' "
             "BEGIN UPDATE trials SET state = 'queued' WHERE state = 'succeeded'; END";
    case Bug::kBudgetForgotten:
      return "CREATE TRIGGER bug AFTER UPDATE OF state ON trials WHEN NEW.state = 'queued' "
             "BEGIN UPDATE trials SET budget_from = attempts WHERE id = NEW.id; END";
    case Bug::kBudgetIgnored:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'queued' "
             "BEGIN UPDATE trials SET state = 'failed', failure_class = 'worker_lost' "
             "WHERE id = NEW.trial AND EXISTS (SELECT 1 FROM attempts WHERE trial = NEW.trial); "
             "END";
    case Bug::kFailureMisfiled:
      return "CREATE TRIGGER bug AFTER UPDATE OF failure_class ON attempts "
             "WHEN NEW.failure_class = 'worker_lost' BEGIN UPDATE attempts "
             "SET failure_class = 'timeout' WHERE trial = NEW.trial AND number = NEW.number; END";
    case Bug::kAttemptLeftOpen:
      return "CREATE TRIGGER bug AFTER UPDATE OF outcome ON attempts "
             "WHEN NEW.failure_class = 'preempted' BEGIN UPDATE attempts "
             "SET outcome = NULL WHERE trial = NEW.trial AND number = NEW.number; END";
    case Bug::kResultWithoutMetrics:
      return "CREATE TRIGGER bug BEFORE INSERT ON results BEGIN SELECT RAISE(IGNORE); END";
    case Bug::kMeasurementNotStored:
      return "CREATE TRIGGER bug BEFORE INSERT ON metrics WHEN NEW.step = 3 "
             "BEGIN SELECT RAISE(IGNORE); END";
    case Bug::kCancelNotStored:
      return "CREATE TRIGGER bug AFTER UPDATE OF state ON trials WHEN NEW.state = 'cancelled' "
             "BEGIN UPDATE trials SET state = 'queued' WHERE id = NEW.id; END";
    case Bug::kStateNotStored:
      return "CREATE TRIGGER bug BEFORE UPDATE OF attempts ON trials WHEN NEW.attempts = 2 "
             "BEGIN SELECT RAISE(IGNORE); END";
    case Bug::kPriorityNotStored:
      return "CREATE TRIGGER bug AFTER UPDATE OF priority ON roadmaps "
             "BEGIN UPDATE roadmaps SET priority = 1 WHERE id = NEW.id; END";
    case Bug::kPauseIgnored:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'submitted' "
             "BEGIN INSERT INTO events (at_us, kind, roadmap, reason) "
             "VALUES (NEW.at_us, 'pause', NEW.roadmap, ''); END";
    case Bug::kDrainIgnored:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'joined' "
             "BEGIN INSERT INTO events (at_us, kind, worker, reason) "
             "VALUES (NEW.at_us, 'drain', NEW.worker, ''); END";
    case Bug::kQuarantineIgnored:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'joined' "
             "BEGIN INSERT INTO events (at_us, kind, reason) "
             "VALUES (NEW.at_us, 'node_quarantined', 'm0: '); END";
    case Bug::kPoisonIgnored:
      return "CREATE TRIGGER bug AFTER INSERT ON revisions BEGIN UPDATE revisions "
             "SET retry_poison = 0 WHERE roadmap = NEW.roadmap AND revision = NEW.revision; END";
    case Bug::kParentNotAwaited:
      return "CREATE TRIGGER bug AFTER INSERT ON events WHEN NEW.kind = 'submitted' "
             "BEGIN UPDATE trials SET parent = (SELECT max(id) FROM trials) WHERE id = 1; END";
    case Bug::kOrphanNotCleared:
      return "CREATE TRIGGER bug AFTER UPDATE OF state ON trials WHEN NEW.state = 'succeeded' "
             "BEGIN UPDATE trials SET orphaned = 1 WHERE id = NEW.id; END";
    case Bug::kMissingCorpusCharged:
      return "CREATE TRIGGER bug AFTER UPDATE OF outcome ON attempts "
             "WHEN NEW.message = 'no such corpus here' AND NEW.outcome = 'cancelled' "
             "BEGIN UPDATE attempts SET outcome = 'failed', failure_class = 'error' "
             "WHERE trial = NEW.trial AND number = NEW.number; END";
    default:
      return nullptr;
  }
}

}  // namespace

SimCoordinator::SimCoordinator(const Options& options, MemoryDisk* disk, Agenda* agenda, Dice* dice,
                               SimOracle* oracle, Marks* marks)
    : options_(options), disk_(disk), agenda_(agenda), dice_(dice), oracle_(oracle), marks_(marks) {
  disk_->LieAboutSyncs(options.bug == Bug::kDiskLiesAboutSyncs);
}

SimCoordinator::~SimCoordinator() { oracle_->Closed(); }

// ---- Its life

void SimCoordinator::PlantTrigger() {
  const char* trigger = TriggerOf(options_.bug);
  if (trigger == nullptr || epoch_ > 1) return;
  auto db = Database::Open(options_.database, Database::Mode::kReadWriteCreate);
  CHECK(db.ok() && db->Execute(trigger).ok());
}

void SimCoordinator::Start() {
  ++epoch_;
  if (epoch_ > 1 && dice_->Chance(0.3)) {
    clock_error_ = dice_->Between(-3600, 3600);
    ++(*marks_)[clock_error_ < absl::ZeroDuration() ? "the clock was behind after a restart"
                                                    : "the clock was ahead after a restart"];
  }
  PlantTrigger();
  auto store = RunStore::Open(
      {.path = options_.database, .survive_power_loss = options_.survive_power_loss}, Now());
  if (!store.ok()) return FailToStart();
  store_ = *std::move(store);
  if (!TidyFiles().ok()) return FailToStart();
  auto engine = Engine::Start(EngineOptions(), store_.get(), Now());
  if (!engine.ok()) return FailToStart();
  engine_ = *std::move(engine);
  engine_->SetWaker([this] { StepAt(agenda_->now() + kStepTime); });
  frozen_until_ = absl::InfinitePast();
  oracle_->Opened(engine_->scheduler());
  StepAt(agenda_->now());
}

Engine::Options SimCoordinator::EngineOptions() {
  Engine::Options options = options_.engine;
  options.delete_artifact = [this](const std::string& sha256) {
    ++(*marks_)["a stored file was deleted"];
    files_.erase(sha256);
    oracle_->FilesChanged();
  };
  return options;
}

absl::Status SimCoordinator::TidyFiles() {
  absl::StatusOr<std::set<std::string>> kept = store_->KeptDigests();
  if (!kept.ok()) return kept.status();
  if (options_.bug == Bug::kFileDeletedTooEarly && !kept->empty()) kept->erase(kept->begin());
  std::erase_if(files_, [&](const auto& file) { return kept->count(file.first) == 0; });
  oracle_->FilesChanged();
  return absl::OkStatus();
}

// The disk is full or broken, or it died once more.
void SimCoordinator::FailToStart() {
  ++(*marks_)["the coordinator could not start"];
  if (disk_->dead()) return Die(power_fails_);
  store_.reset();
  ComeBack();
}

void SimCoordinator::ComeBack() {
  agenda_->After(dice_->Between(0.1, 15), [this] {
    if (!up()) Start();
  });
}

void SimCoordinator::Die(bool cut_power) {
  disk_->DieAfter(0);
  oracle_->Closed();
  engine_.reset();
  store_.reset();
  if (!cut_power) {
    disk_->RestartProcess();
  } else if (disk_->RestartMachine([this] { return dice_->Uniform(); }) > 0) {
    ++(*marks_)["a power cut lost or tore unsynced writes"];
  }
  disk_->LieAboutSyncs(options_.bug == Bug::kDiskLiesAboutSyncs);
  power_fails_ = false;
  // Most clients see their connection break, some only that no answer comes.
  for (const auto& [id, call] : calls_) {
    if (call.epoch != epoch_ || !(dice_->Uniform() < 0.8)) continue;
    agenda_->After(dice_->Between(0, 0.1), [this, id = id] {
      auto it = calls_.find(id);
      if (it == calls_.end()) return;
      const auto fail = std::move(it->second.fail);
      calls_.erase(it);
      fail(absl::UnavailableError("connection reset"));
    });
  }
  ComeBack();
}

void SimCoordinator::Kill() {
  if (up()) Die(false);
}

void SimCoordinator::CutPower() {
  if (up()) Die(true);
}

void SimCoordinator::Stop() {
  if (!up()) return;
  engine_->RunOnce(Now());
  engine_->Shutdown();
  oracle_->Closed();
  engine_.reset();
  store_.reset();
  ++(*marks_)["the coordinator was stopped and started again"];
  if (disk_->dead()) return Die(power_fails_);
  ComeBack();
}

void SimCoordinator::DieWhileWriting(int64_t operations, bool cut_power) {
  disk_->DieAfter(operations);
  power_fails_ = cut_power;
}

void SimCoordinator::Freeze(absl::Duration length) {
  frozen_until_ = std::max(frozen_until_, agenda_->now() + length);
}

void SimCoordinator::FillDisk(absl::Duration length) {
  ++(*marks_)["the disk was full"];
  disk_->FailWrites(SQLITE_FULL);
  agenda_->After(length, [this] { disk_->FailWrites(SQLITE_OK); });
}

void SimCoordinator::BreakWrites(absl::Duration length) {
  ++(*marks_)["the disk refused writes"];
  disk_->FailWrites(SQLITE_IOERR_WRITE);
  agenda_->After(length, [this] { disk_->FailWrites(SQLITE_OK); });
}

void SimCoordinator::BreakSyncs(absl::Duration length) {
  ++(*marks_)["the disk refused to sync"];
  disk_->FailSyncs(true);
  agenda_->After(length, [this] { disk_->FailSyncs(false); });
}

void SimCoordinator::StepAt(absl::Time time) {
  agenda_->At(time, [this, token = ++step_token_] {
    if (token == step_token_ && up()) Step();
  });
}

void SimCoordinator::Step() {
  if (agenda_->now() < frozen_until_) return StepAt(frozen_until_);
  ++steps_;
  if (options_.bug == Bug::kIndexDrifts && steps_ == 100) {
    ++SlotsOf(const_cast<Scheduler&>(engine_->scheduler()));
  }
  if (options_.bug == Bug::kFailuresLeftOnBadMachine) {
    const Scheduler& scheduler = engine_->scheduler();
    for (TrialId trial : scheduler.nodes().FailedOnlyOn("m0")) {
      if (TrialStateName(scheduler.FindTrial(trial)->state) != "failed") continue;
      NodesOf(const_cast<Scheduler&>(scheduler)).SetStanding("m0", Standing::kQuarantined, "bug");
    }
  }
  const absl::Time next = engine_->RunOnce(Now()) - clock_error_;
  if (disk_->dead()) {
    ++(*marks_)["the coordinator died while writing"];
    return Die(power_fails_);
  }
  oracle_->Stepped(engine_->scheduler());
  oracle_->CheckFiles(files_);
  // As its thread does.
  StepAt(std::clamp(next, agenda_->now() + kStepTime, agenda_->now() + absl::Seconds(1)));
}

void SimCoordinator::Control(const std::function<void(Engine&)>& call) {
  agenda_->After(dice_->Between(0.001, 0.5), [this, call] {
    if (up()) call(*engine_);
  });
}

// ---- The network

void SimCoordinator::Cut(int machine, absl::Duration length) {
  absl::Time& until = cut_until_.try_emplace(machine, absl::InfinitePast()).first->second;
  until = std::max(until, agenda_->now() + length);
}

bool SimCoordinator::IsCut(int machine) const {
  auto it = cut_until_.find(machine);
  return it != cut_until_.end() && agenda_->now() < it->second;
}

SimNetwork::CallId SimCoordinator::Open(int machine, absl::Duration within,
                                        std::function<void(absl::Status)> fail) {
  const CallId id = ++last_call_;
  calls_[id] = {.machine = machine, .epoch = 0, .id = 0, .fail = std::move(fail)};
  agenda_->After(within, [this, id] {
    auto it = calls_.find(id);
    if (it == calls_.end()) return;
    const auto fail = std::move(it->second.fail);
    calls_.erase(it);
    ++(*marks_)["no answer came in time"];
    fail(absl::DeadlineExceededError(""));
  });
  return id;
}

void SimCoordinator::Carry(CallId call, std::function<void(Engine&)> arrive) {
  const auto travel = [this] { return dice_->Between(0.0005, dice_->Chance(0.05) ? 8 : 0.02); };
  const int machine = calls_.at(call).machine;
  if (dice_->Chance(0.03) || IsCut(machine)) return;
  const int copies = dice_->Chance(0.03) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    agenda_->After(travel(), [this, call, machine, arrive] {
      if (IsCut(machine)) return;
      if (up()) return arrive(*engine_);
      auto it = calls_.find(call);
      if (it == calls_.end() || dice_->Chance(0.2)) return;
      const auto fail = std::move(it->second.fail);
      calls_.erase(it);
      fail(absl::UnavailableError("connection refused"));
    });
  }
}

bool SimCoordinator::MaySpeak(int64_t epoch) {
  if (epoch == epoch_ && up() && !disk_->dead()) return true;
  return false;
}

template <typename Response>
void SimCoordinator::Answer(CallId call,
                            std::function<void(absl::StatusOr<Response>, absl::Duration)> done,
                            absl::StatusOr<Response> response) {
  auto it = calls_.find(call);
  if (it == calls_.end() || IsCut(it->second.machine) || dice_->Chance(0.03)) return;
  const absl::Duration retry =
      absl::IsResourceExhausted(response.status()) ? kRetryAfter : absl::ZeroDuration();
  if (retry > absl::ZeroDuration()) ++(*marks_)["the coordinator was busy"];
  const absl::Duration travel = dice_->Between(0.0005, dice_->Chance(0.05) ? 8 : 0.02);
  agenda_->After(travel,
                 [this, call, done = std::move(done), response = std::move(response), retry] {
                   if (calls_.erase(call) > 0) done(response, retry);
                 });
}

SimNetwork::CallId SimCoordinator::Register(
    const v1::RegisterRequest& request, int machine,
    std::function<void(absl::StatusOr<v1::RegisterResponse>, absl::Duration)> done) {
  const CallId call = Open(machine, kAnswerWithin,
                           [done](absl::Status s) { done(std::move(s), absl::ZeroDuration()); });
  Carry(call, [this, call, request, done](Engine& engine) {
    if (auto it = calls_.find(call); it != calls_.end()) it->second.epoch = epoch_;
    engine.Register(FromProto(request),
                    [this, call, done, epoch = epoch_](absl::StatusOr<RegisterAnswer> answer) {
                      if (!MaySpeak(epoch)) return;
                      if (answer.ok())
                        return Answer<v1::RegisterResponse>(call, done, ToProto(*answer));
                      Answer<v1::RegisterResponse>(call, done, answer.status());
                    });
  });
  return call;
}

SimNetwork::CallId SimCoordinator::Sync(
    const v1::SyncRequest& request, int machine,
    std::function<void(absl::StatusOr<v1::SyncResponse>, absl::Duration)> done) {
  const absl::Duration within = FromProto(request.wait()) + absl::Seconds(1) + kAnswerWithin;
  const CallId call =
      Open(machine, within, [done](absl::Status s) { done(std::move(s), absl::ZeroDuration()); });
  Carry(call, [this, call, request, done](Engine& engine) {
    absl::StatusOr<SyncCall> decoded = FromProto(request);
    CHECK(decoded.ok()) << decoded.status();
    if (options_.bug == Bug::kMissingCorpusUnheard) decoded->missing_corpora.clear();
    auto it = calls_.find(call);
    if (it != calls_.end()) it->second.epoch = epoch_;
    const Engine::CallId id =
        engine.Sync(*std::move(decoded),
                    [this, call, request, done, epoch = epoch_](absl::StatusOr<SyncAnswer> answer) {
                      if (!MaySpeak(epoch)) {
                        if (answer.ok() && !answer->acknowledged.empty() && disk_->dead()) {
                          ++(*marks_)["a result was committed that nobody heard of"];
                        }
                        return;
                      }
                      absl::StatusOr<v1::SyncResponse> response(v1::SyncResponse{});
                      if (answer.ok()) {
                        ToProto(*answer, &*response);
                      } else {
                        response = answer.status();
                      }
                      Corrupt(request, &response);
                      if (response.ok()) NoteWhatIsTold(request, *response);
                      Answer<v1::SyncResponse>(call, done, std::move(response));
                    });
    if (it = calls_.find(call); it != calls_.end()) it->second.id = id;
  });
  return call;
}

void SimCoordinator::GiveUp(CallId call) {
  auto it = calls_.find(call);
  if (it == calls_.end()) return;
  const Call given_up = std::move(it->second);
  calls_.erase(it);
  if (given_up.epoch != epoch_ || given_up.id == 0 || IsCut(given_up.machine)) return;
  agenda_->After(dice_->Between(0.0005, 0.02), [this, given_up] {
    if (up() && given_up.epoch == epoch_) engine_->Forget(given_up.id);
  });
}

// Offer and Put, as ArtifactEdge serves them.
SimNetwork::CallId SimCoordinator::Store(const v1::AttemptRef& ref, const v1::Artifact& artifact,
                                         const std::string& content, int machine,
                                         std::function<void(absl::Status)> done) {
  const CallId call = Open(machine, kAnswerWithin, done);
  const auto answer = [this, call, done](const absl::Status& status) {
    Answer<bool>(
        call, [done](const absl::StatusOr<bool>& s, absl::Duration) { done(s.status()); },
        status.ok() ? absl::StatusOr<bool>(true) : status);
  };
  ArtifactCall offer{.attempt = {TrialId{ref.trial_id()}, ref.attempt()},
                     .artifact = {.sha256 = artifact.sha256(),
                                  .bytes = artifact.bytes(),
                                  .kind = artifact.kind(),
                                  .role = artifact.role(),
                                  .step = artifact.step()}};
  Carry(call, [this, call, offer, content, answer](Engine& engine) {
    if (auto it = calls_.find(call); it != calls_.end()) it->second.epoch = epoch_;
    engine.Artifact(offer, [=, this, epoch = epoch_](const absl::StatusOr<ArtifactAnswer>& first) {
      if (!MaySpeak(epoch)) return;
      if (first.ok() && !first->wanted) ++(*marks_)["a file was not wanted"];
      if (!first.ok() || !first->wanted) return answer(first.status());
      files_[offer.artifact.sha256] = content;
      ArtifactCall put = offer;
      put.stored = true;
      engine_->Artifact(put, [=, this](const absl::StatusOr<ArtifactAnswer>& second) {
        oracle_->FilesChanged();
        if (MaySpeak(epoch)) answer(second.status());
      });
    });
  });
  return call;
}

std::optional<std::string> SimCoordinator::Fetch(const std::string& sha256, int machine) {
  auto it = files_.find(sha256);
  if (!up() || IsCut(machine) || it == files_.end() || dice_->Chance(0.1)) return std::nullopt;
  return it->second;
}

void SimCoordinator::NoteWhatIsTold(const v1::SyncRequest& request,
                                    const v1::SyncResponse& response) {
  const auto id_of = [](const v1::AttemptRef& ref) {
    return AttemptId{TrialId{ref.trial_id()}, ref.attempt()};
  };
  for (const v1::AttemptRef& ref : response.results_acknowledged()) {
    for (const v1::AttemptResult& result : request.finished()) {
      if (id_of(result.ref()) == id_of(ref) && result.outcome() != v1::OUTCOME_FAILED) {
        oracle_->ToldResultIsKept(id_of(ref));
      }
    }
  }
  for (const v1::MeasurementsDurable& durable : response.measurements_durable()) {
    oracle_->ToldMeasurementsAreKept(id_of(durable.ref()), durable.next_sequence());
  }
}

// The bugs of the network.
void SimCoordinator::Corrupt(const v1::SyncRequest& request,
                             absl::StatusOr<v1::SyncResponse>* response) {
  switch (options_.bug) {
    case Bug::kAcknowledgesDespiteFailedCommit:
      if (!absl::IsUnavailable(response->status())) return;
      *response = v1::SyncResponse();
      for (const v1::AttemptResult& result : request.finished()) {
        *(*response)->add_results_acknowledged() = result.ref();
      }
      return;
    case Bug::kMeasurementSkipped:
      if (!response->ok()) return;
      for (v1::MeasurementsDurable& durable : *(*response)->mutable_measurements_durable()) {
        durable.set_next_sequence(durable.next_sequence() + 1);
      }
      return;
    case Bug::kVariantsSwapped:
      if (!response->ok() || (*response)->assignments_size() < 2) return;
      (*response)->mutable_assignments(0)->mutable_variant()->Swap(
          (*response)->mutable_assignments(1)->mutable_variant());
      return;
    case Bug::kModelsSwapped:
      if (!response->ok()) return;
      for (v1::Assignment& assignment : *(*response)->mutable_assignments()) {
        for (const auto& [sha256, content] : files_) {
          if (content.starts_with("model") && assignment.has_init_from()) {
            assignment.mutable_init_from()->set_sha256(sha256);
          }
        }
      }
      return;
    default:
      return;
  }
}

}  // namespace saffron
