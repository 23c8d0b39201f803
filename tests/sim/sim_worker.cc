#include "tests/sim/sim_worker.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "worker/attempt.h"

namespace saffron {
namespace {

constexpr absl::Duration kLeaveWithin = absl::Seconds(10);

SimTrial TrialOf(const v1::Assignment& assignment) {
  SimTrial trial{.bits = 0, .seed = assignment.seed()};
  for (const v1::Param& param : assignment.variant().params()) {
    if (param.key() == "model.bits") trial.bits = param.value().integer();
  }
  return trial;
}

v1::Measurement MeasurementOf(const char* key, int64_t step, double value) {
  v1::Measurement m;
  m.set_key(key);
  m.set_step(step);
  m.set_value(value);
  return m;
}

void SetTime(absl::Time time, google::protobuf::Timestamp* out) {
  out->set_seconds(absl::ToUnixSeconds(time));
  out->set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(absl::ToUnixSeconds(time)))));
}

bool Same(const v1::AttemptRef& a, const v1::AttemptRef& b) {
  return a.trial_id() == b.trial_id() && a.attempt() == b.attempt();
}

// What follows `prefix` in the file.
template <typename Number, typename Read>
std::optional<Number> NumberAfter(const std::optional<std::string>& file, std::string_view prefix,
                                  Read read) {
  Number number;
  if (!file || !file->starts_with(prefix)) return std::nullopt;
  return read(file->substr(prefix.size()), &number) ? std::optional<Number>(number) : std::nullopt;
}

}  // namespace

std::string SimTrial::Checkpoint(const std::string& role) const {
  return absl::StrFormat("model %.17g", Model(role));
}

std::string SimTrial::State(int64_t step) const {
  return absl::StrFormat("state of %d %d %.17g: %d", bits, seed, start, step);
}

SimWorker::SimWorker(const Options& options, Agenda* agenda, Dice* dice, SimNetwork* network,
                     Marks* marks)
    : options_(options), agenda_(agenda), dice_(dice), network_(network), marks_(marks) {}

std::string SimWorker::name() const { return absl::StrCat("w", options_.number, ".", life_); }

std::string SimWorker::SpoolPath() const {
  return absl::StrCat(options_.spool_dir, "/", session_->coordinator_id(), ".", name(), ".spool");
}

void SimWorker::InLife(absl::Duration wait, std::function<void()> what) {
  agenda_->After(wait, [this, life = life_, what = std::move(what)] {
    if (life_ != life || !up()) return;
    // In order also after several freezes.
    frozen_ ? deferred_.push_back(what) : what();
  });
}

// ---- The process

void SimWorker::Start() {
  CHECK(!up());
  ++life_;
  session_ =
      std::make_unique<Session>(Session::Options{.worker_id = name(),
                                                 .hostname = absl::StrCat("m", options_.machine),
                                                 .pid = 1,
                                                 .process_space = "sim",
                                                 .slots = options_.slots,
                                                 .numerics_version = 1});
  spool_ = std::make_unique<Spool>(options_.spool_dir, name());
  spool_synced_ = 0;
  frozen_ = false;
  deferred_.clear();
  mode_ = Mode::kIdle;
  leaving_ = false;
  sending_ = false;
  InLife(dice_->Between(0.001, 0.1), [this] { Go(); });
}

void SimWorker::Kill(Death death) {
  if (!up()) return;
  if (mode_ == Mode::kCalling) network_->GiveUp(call_);
  // A destroyed Spool tidies up, which a killed process does not: it looks for its file elsewhere.
  const std::string path = SpoolPath(), aside = path + ".aside";
  const bool exists = ::rename(path.c_str(), aside.c_str()) == 0;
  spool_.reset();
  if (exists) {
    if (death == Death::kMachine) {
      const auto size = static_cast<int64_t>(std::filesystem::file_size(aside));
      const int64_t least = std::min(spool_synced_, size);
      const int64_t left = least + static_cast<int64_t>((size - least) * dice_->Uniform());
      if (left < size) ++(*marks_)["a spool's end was torn"];
      std::filesystem::resize_file(aside, left);
    }
    CHECK(::rename(aside.c_str(), path.c_str()) == 0);
  }
  if (death == Death::kMachine) parcels_.clear();
  session_.reset();
  waiting_.clear();
  running_.clear();
}

void SimWorker::Freeze(absl::Duration length) {
  if (!up() || frozen_) return;
  frozen_ = true;
  agenda_->After(length, [this, life = life_] {
    if (life_ != life || !up()) return;
    frozen_ = false;
    // What happens now may end the process, and with it the rest.
    for (const auto& what : std::exchange(deferred_, {})) {
      if (up()) what();
    }
  });
}

void SimWorker::Leave() {
  InLife(absl::ZeroDuration(), [this] {
    if (leaving_) return;
    leaving_ = true;
    session_->Drain();
    for (const v1::Assignment& assignment : std::exchange(waiting_, {})) {
      HandBack(assignment.ref(), "handed back before it began");
    }
    // A slot ends its trial at the next step, or that trial ends by itself first.
    for (const auto& [key, running] : running_) {
      v1::AttemptRef ref;
      ref.set_trial_id(key.first);
      ref.set_attempt(key.second);
      InLife(dice_->Between(0, 1), [this, ref] { Preempt(ref); });
    }
    InLife(kLeaveWithin, [this] { Exit(); });
    if (mode_ == Mode::kPausing || mode_ == Mode::kBackingOff) {
      Go();
    } else {
      NewsMayWake();
    }
  });
}

void SimWorker::Exit() {
  if (mode_ == Mode::kCalling) network_->GiveUp(call_);
  ++(*marks_)[session_->Done() ? "a worker left with everything delivered"
                               : "a worker left before it had delivered"];
  spool_.reset();
  session_.reset();
  waiting_.clear();
  running_.clear();
}

// ---- Calls: the loop of Worker::Run

void SimWorker::Go() {
  if (session_->Done()) return Exit();
  mode_ = Mode::kCalling;
  ++turn_;
  call_begun_ = agenda_->now();
  // Answers reach a frozen process when it thaws.
  const auto in_life = [this](auto handle) {
    return [this, handle, life = life_](auto response, absl::Duration retry) {
      if (life_ != life || !up()) return;
      InLife(absl::ZeroDuration(), [this, handle, call = call_, response, retry] {
        if (mode_ != Mode::kCalling || call_ != call) return;
        mode_ = Mode::kIdle;
        (this->*handle)(response, retry);
      });
    };
  };
  if (!session_->registered()) {
    owes_ = true;
    call_ = network_->Register(session_->Registration(), options_.machine,
                               in_life(&SimWorker::OnRegistered));
    return;
  }
  LookForCorpora();
  const v1::SyncRequest request = session_->NextSync();
  owes_ = request.finished_size() > 0 || request.draining() ||
          std::any_of(request.running().begin(), request.running().end(),
                      [](const auto& r) { return r.measurements_size() > 0; });
  call_ = network_->Sync(request, options_.machine, in_life(&SimWorker::OnSynced));
  WaitForNews();
}

bool SimWorker::Lacks(const std::string& fingerprint) const {
  return options_.lacks && options_.lacks(fingerprint);
}

void SimWorker::LookForCorpora() {
  if (agenda_->now() < look_at_) return;
  look_at_ = agenda_->now() + absl::Seconds(3);
  const std::vector<v1::CorpusRef> missing = session_->missing_corpora();
  for (const v1::CorpusRef& corpus : missing) {
    if (Lacks(corpus.fingerprint())) continue;
    ++(*marks_)["a missing corpus was found"];
    session_->Found(corpus);
  }
}

void SimWorker::NewsMayWake() {
  if (!session_->HasNews(agenda_->now())) return;
  if (mode_ == Mode::kPausing) return Go();
  // A call that only waits for something to happen is given up.
  if (mode_ != Mode::kCalling || owes_) return;
  ++(*marks_)["a held call was given up for news"];
  network_->GiveUp(call_);
  Go();
}

void SimWorker::WaitForNews() {
  NewsMayWake();
  if (!up()) return;
  const absl::Time at = session_->NewsAt();
  if (at > agenda_->now() && at != absl::InfiniteFuture()) {
    InLife(at - agenda_->now(), [this] { NewsMayWake(); });
  }
}

void SimWorker::Pause(Mode mode, absl::Duration length) {
  mode_ = mode;
  InLife(length, [this, turn = ++turn_] {
    if (turn_ == turn) Go();
  });
  if (mode == Mode::kPausing) WaitForNews();
}

void SimWorker::OnRegistered(const absl::StatusOr<v1::RegisterResponse>& response,
                             absl::Duration retry) {
  if (!response.ok()) return OnFailure(response.status(), retry);
  Apply(session_->Registered(*response));
  absl::StatusOr<std::vector<v1::SpoolRecord>> adopted = spool_->Open(response->coordinator_id());
  CHECK(adopted.ok()) << adopted.status();
  spool_synced_ = std::max(spool_synced_, spool_->file_bytes());
  for (v1::SpoolRecord& record : *adopted) {
    ++(*marks_)["a result was adopted from a dead worker's spool"];
    session_->Restore(std::move(record));
  }
  SendNext();
  Go();
}

void SimWorker::OnSynced(const absl::StatusOr<v1::SyncResponse>& response, absl::Duration retry) {
  if (absl::IsCancelled(response.status()) || absl::IsAborted(response.status())) {
    ++(*marks_)["a call was overtaken by a newer one"];
    return Pause(Mode::kBackingOff, absl::Milliseconds(1));
  }
  if (!response.ok()) return OnFailure(response.status(), retry);
  const Session::Orders orders = session_->Synced(*response, agenda_->now() - call_begun_);
  Apply(orders);
  Pause(Mode::kPausing, std::max(orders.pause, absl::Milliseconds(1)));
}

void SimWorker::OnFailure(const absl::Status& status, absl::Duration retry_after) {
  if (absl::IsNotFound(status)) ++(*marks_)["a worker had to register again"];
  const absl::Duration pause = session_->Failed(status, retry_after);
  if (session_->failures() == 1 && spool_->Sync().ok()) spool_synced_ = spool_->file_bytes();
  Pause(Mode::kBackingOff, pause);
}

void SimWorker::Apply(const Session::Orders& orders) {
  for (const v1::AttemptRef& ref : orders.delivered) spool_->Forget(ref);
  spool_synced_ = std::min(spool_synced_, spool_->file_bytes());
  for (const v1::AttemptRef& ref : orders.abandon) {
    ++(*marks_)["a running attempt was abandoned"];
    running_.erase(KeyOf(ref));
    DropParcels(ref, /*states_only=*/false);
    std::erase_if(waiting_, [&](const auto& a) { return KeyOf(a.ref()) == KeyOf(ref); });
  }
  for (const v1::Assignment& assignment : orders.start) {
    if (leaving_) {
      HandBack(assignment.ref(), "handed back before it began");
    } else {
      waiting_.push_back(assignment);
    }
  }
  FillSlots();
}

// ---- Slots

void SimWorker::FillSlots() {
  while (!waiting_.empty() && std::ssize(running_) < options_.slots) {
    Begin(waiting_.front());
    waiting_.pop_front();
  }
}

SimWorker::Running* SimWorker::Find(const v1::AttemptRef& ref) {
  auto it = running_.find(KeyOf(ref));
  return it == running_.end() || it->second.has_ended ? nullptr : &it->second;
}

std::optional<double> SimWorker::StartOf(const v1::Assignment& assignment) {
  if (!assignment.has_init_from()) return 0;
  const v1::Artifact& checkpoint = assignment.init_from();
  if (!assignment.has_parent()) {
    ++(*marks_)["a trial started from another's checkpoint"];
    return NumberAfter<double>(
        network_->Fetch(checkpoint.sha256(), options_.machine), "model ",
        [](const std::string& s, double* n) { return absl::SimpleAtod(s, n); });
  }
  ++(*marks_)["a parent was trained again for its model"];
  SimTrial parent = TrialOf(assignment.parent());
  const std::optional<double> start = StartOf(assignment.parent());
  if (!start) return std::nullopt;
  parent.start = *start;
  return parent.Model(checkpoint.role());
}

void SimWorker::Begin(const v1::Assignment& assignment) {
  running_[KeyOf(assignment.ref())] = {
      .trial = TrialOf(assignment),
      .keep = {assignment.keep_checkpoints().begin(), assignment.keep_checkpoints().end()}};
  Run(assignment, /*fetches_left=*/20);
}

void SimWorker::Run(const v1::Assignment& assignment, int fetches_left) {
  const v1::AttemptRef ref = assignment.ref();
  if (Find(ref) == nullptr) return;
  if (Lacks(assignment.data_fingerprint())) {
    ++(*marks_)["a worker lacked a trial's corpus"];
    v1::AttemptResult result = FailedResult(ref, v1::FAILURE_CLASS_ERROR, kNoCorpusMessage);
    *result.mutable_missing_corpus() = CorpusOf(assignment);
    return InLife(dice_->Between(0.001, 0.1),
                  [this, result] { End(result, absl::ZeroDuration()); });
  }
  SimTrial& trial = Find(ref)->trial;
  const std::optional<double> start = StartOf(assignment);
  if (!start && fetches_left == 0) {
    ++(*marks_)["a trial had nothing to start from"];
    return End(FailedResult(ref, v1::FAILURE_CLASS_ERROR, "its parent's model is not to be had"),
               absl::ZeroDuration());
  }
  if (!start) {
    return InLife(dice_->Between(0.5, 3),
                  [this, assignment, fetches_left] { Run(assignment, fetches_left - 1); });
  }
  trial.start = *start;
  int64_t from = 0;
  if (assignment.has_resume_from()) {
    const std::string state = trial.State(0);
    from = NumberAfter<int64_t>(
               network_->Fetch(assignment.resume_from().sha256(), options_.machine),
               state.substr(0, state.size() - 1),
               [](const std::string& s, int64_t* n) { return absl::SimpleAtoi(s, n); })
               .value_or(0);
    ++(*marks_)[from > 0 ? "a trial went on from another attempt's state"
                         : "a state could not be had"];
  }
  const bool is_bad = options_.is_bad && options_.is_bad();
  absl::Duration length = options_.length ? options_.length(trial) : dice_->Between(0.3, 20);
  if (is_bad) length = std::min(length, absl::Seconds(1));
  if (trial.EndsWorker()) {
    InLife(length / (2 * (SimTrial::kSteps + 1)), [this, ref] {  // before it measured anything
      if (Find(ref) == nullptr) return;
      ++(*marks_)["a trial ended its worker"];
      Kill(Death::kProcess);
    });
  }
  length = length * (SimTrial::kSteps + 1 - from) / (SimTrial::kSteps + 1);
  // A state brings the learning curve so far with it.
  for (int64_t step = 1; step <= SimTrial::kSteps; ++step) {
    const double part = std::max<double>(0, step - from) / (SimTrial::kSteps + 1 - from);
    InLife(length * part, [this, ref, step] { Measure(ref, step); });
  }
  InLife(length, [this, ref] { Finish(ref); });
}

void SimWorker::Measure(const v1::AttemptRef& ref, int64_t step) {
  Running* running = Find(ref);
  if (running == nullptr) return;
  running->step = step;
  const SimTrial& trial = running->trial;
  std::vector<v1::Measurement> measurements = {MeasurementOf("train/loss", step, trial.Loss(step))};
  if (options_.bug == Bug::kMeasurementDoubled && step == 2) {
    measurements.push_back(MeasurementOf("train/loss", step + 5, trial.Loss(step)));
  }
  session_->Measured(ref, std::move(measurements), agenda_->now());
  if (options_.checkpoints) Send(ref, "state", "", step, trial.State(step));
  WaitForNews();
}

void SimWorker::Finish(const v1::AttemptRef& ref) {
  Running* running = Find(ref);
  if (running == nullptr) return;
  const SimTrial& trial = running->trial;
  v1::AttemptResult result;
  *result.mutable_ref() = ref;
  // A worker's clock may be corrected while a trial runs.
  SetTime(agenda_->now() - dice_->Between(-1, 5), result.mutable_started());
  SetTime(agenda_->now(), result.mutable_ended());
  const auto fail = [&](v1::FailureClass failure, const char* message) {
    result.set_outcome(v1::OUTCOME_FAILED);
    result.set_failure_class(failure);
    result.set_message(message);
  };
  if (trial.Fails()) {
    fail(v1::FAILURE_CLASS_ERROR, "it always fails");
  } else if (options_.is_bad && options_.is_bad()) {
    fail(v1::FAILURE_CLASS_ERROR, "the machine is bad");
  } else if (dice_->Chance(0.1)) {
    fail(static_cast<v1::FailureClass>(v1::FAILURE_CLASS_PREEMPTED + 1 + dice_->Below(4)),
         "by chance");
  } else {
    result.set_outcome(trial.Diverges() ? v1::OUTCOME_DIVERGED : v1::OUTCOME_SUCCEEDED);
    *result.add_final_metrics() =
        MeasurementOf("test/perplexity", SimTrial::kSteps, trial.Perplexity());
    DropParcels(ref, /*states_only=*/true);
    for (const std::string& role : running->keep) {
      Send(ref, "checkpoint", role, SimTrial::kSteps, trial.Checkpoint(role));
    }
  }
  End(std::move(result), 0.7 * kLeaveWithin);
}

void SimWorker::Preempt(const v1::AttemptRef& ref) {
  Running* running = Find(ref);
  if (running == nullptr) return;
  if (running->step > 0) Send(ref, "state", "", running->step, running->trial.State(running->step));
  ++(*marks_)["an attempt was handed back"];
  End(FailedResult(ref, v1::FAILURE_CLASS_PREEMPTED, "the worker is leaving"), 0.6 * kLeaveWithin);
}

void SimWorker::End(v1::AttemptResult result, absl::Duration within) {
  const v1::AttemptRef ref = result.ref();
  auto it = running_.find(KeyOf(ref));
  if (it == running_.end()) return;  // abandoned
  it->second.has_ended = true;
  const bool owes = std::any_of(parcels_.begin(), parcels_.end(),
                                [&](const Parcel& parcel) { return Same(parcel.ref, ref); });
  if (owes && within > absl::ZeroDuration()) {
    constexpr absl::Duration kLook = absl::Milliseconds(100);
    return InLife(kLook, [this, result, within] { End(result, within - kLook); });
  }
  if (owes) ++(*marks_)["a result went before its checkpoint"];
  running_.erase(it);
  Deliver(std::move(result));
  FillSlots();
}

void SimWorker::HandBack(const v1::AttemptRef& ref, const std::string& message) {
  ++(*marks_)["an attempt was handed back"];
  Deliver(FailedResult(ref, v1::FAILURE_CLASS_PREEMPTED, message));
}

// As Worker does when a slot has finished.
void SimWorker::Deliver(v1::AttemptResult result) {
  const v1::AttemptRef ref = result.ref();
  const bool keep =
      result.failure_class() != v1::FAILURE_CLASS_PREEMPTED && !result.has_missing_corpus();
  const bool sync = result.ended().seconds() - result.started().seconds() >= 1;
  session_->Finished(std::move(result));
  if (keep) {
    const v1::SpoolRecord record = session_->RecordOf(ref);
    if (record.has_result()) CHECK(spool_->Append(record, false).ok());
    if (sync || session_->failures() > 0) {
      CHECK(spool_->Sync().ok());
      spool_synced_ = spool_->file_bytes();
    }
  }
  WaitForNews();
}

// ---- Files

void SimWorker::Send(const v1::AttemptRef& ref, const std::string& kind, const std::string& role,
                     int64_t step, const std::string& content) {
  Parcel parcel{.ref = ref, .artifact = {}, .content = content, .number = ++parcel_number_};
  parcel.artifact.set_sha256(Sha256Hex(content));
  parcel.artifact.set_bytes(static_cast<int64_t>(content.size()));
  parcel.artifact.set_kind(kind);
  parcel.artifact.set_role(role);
  parcel.artifact.set_step(step);
  // An older one of its kind is not needed any more, unless it is on its way.
  for (auto it = parcels_.begin(); it != parcels_.end();) {
    const bool is_older = Same(it->ref, ref) && it->artifact.kind() == kind &&
                          it->artifact.role() == role && (it != parcels_.begin() || !sending_);
    it = is_older ? parcels_.erase(it) : std::next(it);
  }
  parcels_.push_back(std::move(parcel));
  SendNext();
}

void SimWorker::SendNext() {
  if (sending_ || parcels_.empty() || !session_->registered()) return;
  sending_ = true;
  const Parcel& parcel = parcels_.front();
  const auto done = [this, number = parcel.number, life = life_](absl::Status status) {
    if (life_ != life || !up()) return;
    InLife(absl::ZeroDuration(), [this, number, status] {
      sending_ = false;
      const bool is_final =
          status.ok() || absl::IsNotFound(status) || absl::IsInvalidArgument(status);
      if (is_final && !parcels_.empty() && parcels_.front().number == number) parcels_.pop_front();
      if (is_final) return SendNext();
      InLife(dice_->Between(0.5, 3), [this] { SendNext(); });
    });
  };
  network_->Store(parcel.ref, parcel.artifact, parcel.content, options_.machine, done);
}

void SimWorker::DropParcels(const v1::AttemptRef& ref, bool states_only) {
  std::erase_if(parcels_, [&](const Parcel& parcel) {
    return Same(parcel.ref, ref) && (!states_only || parcel.artifact.kind() == "state");
  });
}

}  // namespace saffron
