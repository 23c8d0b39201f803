#pragma once
// One open Watch: asks the engine again and again, and writes what changed.

#include <atomic>
#include <memory>
#include <string>

#include "coordinator/engine/engine.h"
#include "grpcpp/alarm.h"
#include "grpcpp/server_context.h"
#include "saffron/v1/roadmap.grpc.pb.h"

namespace saffron {

// Deletes itself when done. At any time exactly one of its steps is under way (asking, writing,
// sleeping), and only that one may end the call.
class WatchReactor : public grpc::ServerWriteReactor<v1::RoadmapStatus> {
 public:
  WatchReactor(Engine* engine, std::string roadmap, absl::Duration interval);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  void Ask();
  void Take(absl::StatusOr<RoadmapStatus> status);
  void Sleep(absl::Duration left);

  Engine* const engine_;
  std::string roadmap_;
  const absl::Duration interval_;
  std::atomic<bool> cancelled_ = false;
  v1::RoadmapStatus message_;
  std::string last_written_;
  std::unique_ptr<grpc::Alarm>
      alarm_;  // a new one each time: one cannot be set in its own callback
};

}  // namespace saffron
