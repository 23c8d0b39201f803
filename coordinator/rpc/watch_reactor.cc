#include "coordinator/rpc/watch_reactor.h"

#include <algorithm>
#include <utility>

#include "coordinator/rpc/status_map.h"
#include "coordinator/rpc/translate.h"

namespace saffron {
namespace {

// A sleep is cut in pieces, so that a call that was given up soon ends.
constexpr absl::Duration kPiece = absl::Milliseconds(100);

bool IsOver(const v1::RoadmapStatus& status) { return status.queued() + status.running() == 0; }

}  // namespace

WatchReactor::WatchReactor(Engine* engine, std::string roadmap, absl::Duration interval)
    : engine_(engine),
      roadmap_(std::move(roadmap)),
      interval_(std::clamp(interval, absl::Milliseconds(20), absl::Hours(1))) {
  Ask();
}

void WatchReactor::Ask() {
  engine_->Status(roadmap_,
                  [this](absl::StatusOr<RoadmapStatus> status) { Take(std::move(status)); });
}

void WatchReactor::Take(absl::StatusOr<RoadmapStatus> status) {
  if (absl::IsResourceExhausted(status.status())) return Sleep(interval_);
  if (!status.ok()) return Finish(ToGrpc(status.status()));
  // "last" means what it meant when the watch began.
  roadmap_ = status->roadmap.name;
  message_ = ToProto(*status);
  std::string text = message_.SerializeAsString();
  if (text == last_written_) return Sleep(interval_);
  last_written_ = std::move(text);
  StartWrite(&message_);
}

void WatchReactor::OnWriteDone(bool ok) {
  if (!ok) return Finish(grpc::Status::CANCELLED);
  if (IsOver(message_)) return Finish(grpc::Status::OK);
  Sleep(interval_);
}

void WatchReactor::Sleep(absl::Duration left) {
  const absl::Duration piece = std::min(left, kPiece);
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(absl::ToChronoTime(absl::Now() + piece), [this, left = left - piece](bool) {
    if (cancelled_) return Finish(grpc::Status::CANCELLED);
    left > absl::ZeroDuration() ? Sleep(left) : Ask();
  });
}

}  // namespace saffron
