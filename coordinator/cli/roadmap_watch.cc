#include "coordinator/cli/roadmap_watch.h"

#include <utility>

#include "absl/time/clock.h"
#include "core/base/status_macros.h"

namespace saffron {

absl::StatusOr<v1::RoadmapStatus> CurrentStatus(const Coordinator& coordinator,
                                                const std::string& roadmap) {
  v1::WatchRequest request;
  request.set_roadmap(roadmap);
  const auto context = Coordinator::Context();
  const auto reader = coordinator.stub->Watch(context.get(), request);
  v1::RoadmapStatus status;
  const bool answered = reader->Read(&status);
  if (answered) context->TryCancel();  // the first state is enough
  const grpc::Status ended = reader->Finish();
  if (!answered) {
    RETURN_IF_ERROR(coordinator.StatusOf(ended));
    return absl::InternalError("the coordinator sent no state");
  }
  return status;
}

RoadmapWatch::RoadmapWatch(v1::RoadmapService::Stub* stub, const std::string& roadmap) {
  v1::WatchRequest request;
  request.set_roadmap(roadmap);
  request.mutable_min_interval()->set_nanos(200'000'000);
  reader_ = stub->Watch(context_.get(), request);
  thread_ = std::thread([this] { Read(); });
}

RoadmapWatch::~RoadmapWatch() {
  context_->TryCancel();
  thread_.join();
}

void RoadmapWatch::Read() {
  v1::RoadmapStatus status;
  while (reader_->Read(&status)) {
    std::lock_guard lock(mutex_);
    newest_ = status;
    changed_.notify_all();
  }
  grpc::Status ended = reader_->Finish();
  std::lock_guard lock(mutex_);
  ended_ = std::move(ended);
  changed_.notify_all();
}

std::optional<v1::RoadmapStatus> RoadmapWatch::Next(absl::Duration within) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, absl::ToChronoTime(absl::Now() + within),
                      [this] { return newest_.has_value() || ended_.has_value(); });
  return std::exchange(newest_, std::nullopt);
}

std::optional<grpc::Status> RoadmapWatch::ended() {
  std::lock_guard lock(mutex_);
  // Not before the last state was taken.
  return newest_.has_value() ? std::nullopt : ended_;
}

}  // namespace saffron
