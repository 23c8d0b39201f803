#include "fake_coordinator.h"

#include <chrono>

#include "absl/time/clock.h"

namespace saffron {

void FakeCoordinator::Start() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = false;
    known_.clear();
  }
  for (int tries = 0; server_ == nullptr && tries < 100; ++tries) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port_),
                             grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) absl::SleepFor(absl::Milliseconds(20));
  }
}

void FakeCoordinator::Stop() {
  if (server_ == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

void FakeCoordinator::Offer(v1::Assignment assignment) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(assignment));
  changed_.notify_all();
}

void FakeCoordinator::Abandon(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  abandon_.push_back(ref);
  changed_.notify_all();
}

std::map<int64_t, v1::AttemptResult> FakeCoordinator::Results(size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(10), [&] { return results_.size() >= count; });
  return results_;
}

bool FakeCoordinator::WaitUntilRunning(int64_t trial) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10),
                           [&] { return seen_running_.contains(trial); });
}

std::set<std::string> FakeCoordinator::workers() const {
  std::lock_guard lock(mutex_);
  return ever_known_;
}

int64_t FakeCoordinator::measurements() const {
  std::lock_guard lock(mutex_);
  return measurements_;
}

bool FakeCoordinator::heard_draining() const {
  std::lock_guard lock(mutex_);
  return heard_draining_;
}

grpc::Status FakeCoordinator::Register(grpc::ServerContext* context,
                                       const v1::RegisterRequest* request,
                                       v1::RegisterResponse* response) {
  std::lock_guard lock(mutex_);
  if (!register_status.ok()) return register_status;
  known_.insert(request->worker_id());
  ever_known_.insert(request->worker_id());
  response->set_coordinator_id(coordinator_id);
  response->mutable_lease()->set_seconds(30);
  changed_.notify_all();
  return grpc::Status::OK;
}

// Whether there is anything to answer with.
bool FakeCoordinator::Answer(const v1::SyncRequest& request, v1::SyncResponse* response) {
  for (int i = 0; i < request.want() && !queue_.empty(); ++i) {
    *response->add_assignments() = std::move(queue_.front());
    queue_.pop_front();
  }
  for (const v1::AttemptRef& ref : abandon_) *response->add_abandon() = ref;
  abandon_.clear();
  return response->assignments_size() > 0 || response->abandon_size() > 0 ||
         response->results_acknowledged_size() > 0 || response->measurements_durable_size() > 0;
}

grpc::Status FakeCoordinator::Sync(grpc::ServerContext* context, const v1::SyncRequest* request,
                                   v1::SyncResponse* response) {
  std::unique_lock lock(mutex_);
  if (!known_.contains(request->worker_id())) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "unknown worker");
  }
  if (!sync_status.ok()) return sync_status;
  heard_draining_ = heard_draining_ || request->draining();
  response->mutable_next_sync()->set_seconds(10);
  for (const v1::AttemptProgress& progress : request->running()) {
    seen_running_.insert(progress.ref().trial_id());
    if (progress.measurements_size() == 0) continue;
    measurements_ += progress.measurements_size();
    v1::MeasurementsDurable* durable = response->add_measurements_durable();
    *durable->mutable_ref() = progress.ref();
    durable->set_next_sequence(progress.first_sequence() + progress.measurements_size());
  }
  for (const v1::AttemptResult& result : request->finished()) {
    results_.emplace(result.ref().trial_id(), result);
    *response->add_results_acknowledged() = result.ref();
  }
  changed_.notify_all();
  if (request->finished_size() > 0 && lose_answers > 0) {
    --lose_answers;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost");
  }
  const absl::Time until = absl::Now() + absl::Seconds(request->wait().seconds());
  while (!Answer(*request, response) && absl::Now() < until && !stopping_ &&
         !context->IsCancelled()) {
    changed_.wait_for(lock, std::chrono::milliseconds(10));
  }
  return stopping_ ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "shutting down")
                   : grpc::Status::OK;
}

}  // namespace saffron
