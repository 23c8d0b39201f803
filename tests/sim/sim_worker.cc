#include "tests/sim/sim_worker.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
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

}  // namespace

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
  session_ = std::make_unique<Session>(Session::Options{.worker_id = name(),
                                                        .hostname = "sim",
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
    for (const auto& [key, trial] : running_) {
      InLife(dice_->Between(0, 1), [this, key] {
        if (running_.erase(key) == 0) return;
        v1::AttemptRef ref;
        ref.set_trial_id(key.first);
        ref.set_attempt(key.second);
        HandBack(ref, "the worker is leaving");
      });
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
  const v1::SyncRequest request = session_->NextSync();
  owes_ = request.finished_size() > 0 || request.draining() ||
          std::any_of(request.running().begin(), request.running().end(),
                      [](const auto& r) { return r.measurements_size() > 0; });
  call_ = network_->Sync(request, options_.machine, in_life(&SimWorker::OnSynced));
  WaitForNews();
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

void SimWorker::Begin(const v1::Assignment& assignment) {
  const SimTrial trial = TrialOf(assignment);
  const v1::AttemptRef ref = assignment.ref();
  running_[KeyOf(ref)] = trial;
  const absl::Duration length = options_.length ? options_.length(trial) : dice_->Between(0.3, 20);
  for (int64_t step = 1; step <= SimTrial::kSteps; ++step) {
    InLife(length * step / (SimTrial::kSteps + 1),
           [this, ref, trial, step] { Measure(ref, trial, step); });
  }
  InLife(length, [this, ref, trial] { Finish(ref, trial); });
}

void SimWorker::Measure(const v1::AttemptRef& ref, const SimTrial& trial, int64_t step) {
  if (running_.count(KeyOf(ref)) == 0) return;
  std::vector<v1::Measurement> measurements = {MeasurementOf("train/loss", step, trial.Loss(step))};
  if (options_.bug == Bug::kMeasurementDoubled && step == 2) {
    measurements.push_back(MeasurementOf("train/loss", step + 5, trial.Loss(step)));
  }
  session_->Measured(ref, std::move(measurements), agenda_->now());
  WaitForNews();
}

void SimWorker::Finish(const v1::AttemptRef& ref, const SimTrial& trial) {
  if (running_.erase(KeyOf(ref)) == 0) return;
  v1::AttemptResult result;
  *result.mutable_ref() = ref;
  // A worker's clock may be corrected while a trial runs.
  SetTime(agenda_->now() - dice_->Between(-1, 5), result.mutable_started());
  SetTime(agenda_->now(), result.mutable_ended());
  if (trial.Fails()) {
    result.set_outcome(v1::OUTCOME_FAILED);
    result.set_failure_class(v1::FAILURE_CLASS_ERROR);
    result.set_message("it always fails");
  } else if (dice_->Chance(0.1)) {
    result.set_outcome(v1::OUTCOME_FAILED);
    result.set_failure_class(
        static_cast<v1::FailureClass>(v1::FAILURE_CLASS_PREEMPTED + 1 + dice_->Below(4)));
    result.set_message("by chance");
  } else {
    result.set_outcome(trial.Diverges() ? v1::OUTCOME_DIVERGED : v1::OUTCOME_SUCCEEDED);
    *result.add_final_metrics() =
        MeasurementOf("test/perplexity", SimTrial::kSteps, trial.Perplexity());
  }
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
  const bool keep = result.failure_class() != v1::FAILURE_CLASS_PREEMPTED;
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

}  // namespace saffron
