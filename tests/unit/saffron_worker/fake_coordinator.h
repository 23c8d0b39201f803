#pragma once
// A coordinator of a page: hands out a list of trials, remembers results, can be stopped and
// started again on its port.

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "saffron/v1/worker.grpc.pb.h"

namespace saffron {

class FakeCoordinator : public v1::WorkerService::Service {
 public:
  FakeCoordinator() { Start(); }
  ~FakeCoordinator() override { Stop(); }

  void Start();
  void Stop();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void Offer(v1::Assignment assignment);
  void Abandon(const v1::AttemptRef& ref);
  // Results so far by trial; waits until there are `count`, ten seconds at most.
  std::map<int64_t, v1::AttemptResult> Results(size_t count);
  // Waits until the trial was in the hands of a worker, ten seconds at most.
  bool WaitUntilRunning(int64_t trial);
  std::set<std::string> workers() const;
  int64_t measurements() const;
  bool heard_draining() const;

  std::string coordinator_id = "fake";
  grpc::Status register_status = grpc::Status::OK;
  // What Sync answers instead of orders.
  grpc::Status sync_status = grpc::Status::OK;
  // Answers to this many calls with results are lost on the way.
  int lose_answers = 0;

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status Sync(grpc::ServerContext* context, const v1::SyncRequest* request,
                    v1::SyncResponse* response) override;

 private:
  bool Answer(const v1::SyncRequest& request, v1::SyncResponse* response);

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::deque<v1::Assignment> queue_;
  std::vector<v1::AttemptRef> abandon_;
  std::map<int64_t, v1::AttemptResult> results_;
  std::set<std::string> known_, ever_known_;
  std::set<int64_t> seen_running_;
  int64_t measurements_ = 0;
  bool heard_draining_ = false;
};

}  // namespace saffron
