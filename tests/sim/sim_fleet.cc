#include "tests/sim/sim_fleet.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/rpc/translate.h"
#include "core/base/check.h"

namespace saffron {
namespace {

constexpr absl::Duration kRetryAfter = absl::Milliseconds(250);

double CpuSeconds() {
  timespec t = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

SimFleet::SimFleet(Options options) : options_(std::move(options)), clients_(options_.workers) {
  auto store = RunStore::Open({.path = options_.database}, agenda_.now());
  CHECK(store.ok()) << store.status();
  store_ = *std::move(store);
  auto engine =
      Engine::Start({.scheduler = {}, .numerics = options_.numerics}, store_.get(), agenda_.now());
  CHECK(engine.ok()) << engine.status();
  engine_ = *std::move(engine);
  engine_->Submit(std::make_shared<Submission>(options_.submission),
                  [](const auto& answer) { CHECK(answer.ok()) << answer.status(); });
  while (engine_->RunOnce(agenda_.now()) <= agenda_.now()) {
  }
  engine_->SetWaker([this] { StepAt(agenda_.now()); });
  for (size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].session = std::make_unique<Session>(
        Session::Options{.worker_id = absl::StrCat("w", i), .numerics_version = options_.numerics});
  }
}

double SimFleet::SettleSeconds(double most) {
  const absl::Time start = agenda_.now();
  for (size_t i = 0; i < clients_.size(); ++i) agenda_.After({}, [this, i] { Call(i); });
  while (settled_ < clients_.size() && agenda_.now() < start + absl::Seconds(most)) agenda_.Next();
  return absl::ToDoubleSeconds(agenda_.now() - start);
}

std::vector<double> SimFleet::LatenciesMs(absl::Duration length) {
  latencies_ms_.clear();
  const absl::Time until = agenda_.now() + length;
  while (agenda_.now() < until) agenda_.Next();
  return latencies_ms_;
}

// The engine's thread: it handles what has arrived as soon as it is free.
void SimFleet::StepAt(absl::Time time) {
  agenda_.At(std::max(time, free_at_), [this, token = ++token_] {
    if (token == token_) Step();
  });
}

void SimFleet::Step() {
  const int64_t operations = disk_.operations();
  const double start = CpuSeconds();
  in_step_ = true;
  const absl::Time next = engine_->RunOnce(agenda_.now());
  in_step_ = false;
  const double cpu = CpuSeconds() - start;
  engine_cpu_ += cpu;
  free_at_ =
      agenda_.now() + options_.cost(cpu, std::ssize(answers_), disk_.operations() > operations);
  // Answers arrive when the engine is done.
  for (auto& answer : std::exchange(answers_, {})) agenda_.At(free_at_, answer);
  StepAt(std::clamp(next, free_at_, free_at_ + absl::Seconds(1)));
}

// What is answered at once, because the engine is busy, does not wait for it.
void SimFleet::Deliver() {
  if (in_step_) return;
  for (auto& answer : std::exchange(answers_, {})) agenda_.After({}, answer);
}

void SimFleet::Register(size_t i, int64_t turn) {
  engine_->Register(FromProto(clients_[i].session->Registration()),
                    [this, i, turn](absl::StatusOr<RegisterAnswer> answer) {
                      answers_.push_back([this, i, turn, answer] {
                        if (!answer.ok()) return Fail(i, turn, answer.status());
                        clients_[i].session->Registered(ToProto(*answer));
                        Call(i);
                      });
                      Deliver();
                    });
}

void SimFleet::Call(size_t i) {
  Client& client = clients_[i];
  const int64_t turn = ++client.turn;
  const absl::Time begun = agenda_.now();
  client.open = true;
  ++calls_;
  if (!client.session->registered()) {
    client.owes = true;
    return Register(i, turn);
  }
  const v1::SyncRequest request = client.session->NextSync();
  client.owes = request.finished_size() > 0;
  for (const v1::AttemptProgress& p : request.running()) {
    client.owes = client.owes || p.measurements_size() > 0;
  }
  const bool owes = client.owes;
  engine_->Sync(*FromProto(request), [=, this](absl::StatusOr<SyncAnswer> answer) {
    answers_.push_back([=, this] {
      if (owes) latencies_ms_.push_back(absl::ToDoubleMilliseconds(agenda_.now() - begun));
      if (absl::IsAborted(answer.status()) || clients_[i].turn != turn) return;
      if (!answer.ok()) return Fail(i, turn, answer.status());
      v1::SyncResponse response;
      ToProto(*answer, &response);
      Take(i, response, agenda_.now() - begun);
    });
    Deliver();
  });
}

void SimFleet::Fail(size_t i, int64_t turn, const absl::Status& status) {
  if (clients_[i].turn != turn) return;
  clients_[i].open = false;
  const bool busy = absl::IsResourceExhausted(status);
  busy_ += busy;
  CallAfter(i, clients_[i].session->Failed(status, busy ? kRetryAfter : absl::ZeroDuration()));
}

void SimFleet::CallAfter(size_t i, absl::Duration wait) {
  agenda_.After(wait, [this, i, turn = clients_[i].turn] {
    if (clients_[i].turn == turn) Call(i);
  });
}

void SimFleet::Take(size_t i, const v1::SyncResponse& response, absl::Duration held) {
  Client& client = clients_[i];
  client.open = false;
  if (!client.settled) ++settled_;
  client.settled = true;
  const Session::Orders orders = client.session->Synced(response, held);
  for (const v1::Assignment& assignment : orders.start) Begin(i, assignment.ref());
  CallAfter(i, orders.pause);
}

void SimFleet::Begin(size_t i, const v1::AttemptRef& ref) {
  const absl::Duration length = absl::Seconds(options_.trial_seconds) * (0.5 + dice_.Uniform());
  for (int step = 1; step <= 4; ++step) {
    agenda_.After(length * step / 5, [this, i, ref, step] {
      v1::Measurement m;
      m.set_key("train/loss");
      m.set_step(step);
      clients_[i].session->Measured(ref, {m}, agenda_.now());
      News(i, absl::Seconds(1));
    });
  }
  agenda_.After(length, [this, i, ref] {
    v1::AttemptResult result;
    *result.mutable_ref() = ref;
    result.set_outcome(v1::OUTCOME_SUCCEEDED);
    clients_[i].session->Finished(result);
    News(i, {});
  });
}

// A held call makes way for news.
void SimFleet::News(size_t i, absl::Duration wait) {
  agenda_.After(wait, [this, i] {
    Client& client = clients_[i];
    if (client.session->HasNews(agenda_.now()) && (!client.open || !client.owes)) Call(i);
  });
}

}  // namespace saffron
