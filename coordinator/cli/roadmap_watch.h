#pragma once
// The state of a roadmap as the coordinator streams it, read on a thread of its own.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "coordinator/cli/connect.h"

namespace saffron {

// The state at present. NOT_FOUND: no such roadmap.
absl::StatusOr<v1::RoadmapStatus> CurrentStatus(const Coordinator& coordinator,
                                                const std::string& roadmap);

class RoadmapWatch {
 public:
  // `stub` must outlive the watch.
  RoadmapWatch(v1::RoadmapService::Stub* stub, const std::string& roadmap);
  ~RoadmapWatch();
  RoadmapWatch(const RoadmapWatch&) = delete;
  RoadmapWatch& operator=(const RoadmapWatch&) = delete;

  // The newest state; waits for a newer one than last time, `within` at most. nullopt: none came.
  std::optional<v1::RoadmapStatus> Next(absl::Duration within);

  // Set once the stream has ended: OK when every trial is terminal.
  std::optional<grpc::Status> ended();

 private:
  void Read();

  std::unique_ptr<grpc::ClientContext> context_ = Coordinator::Context(absl::InfiniteDuration());
  std::unique_ptr<grpc::ClientReader<v1::RoadmapStatus>> reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<v1::RoadmapStatus> newest_;
  std::optional<grpc::Status> ended_;
  std::thread thread_;
};

}  // namespace saffron
