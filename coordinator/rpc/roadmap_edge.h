#pragma once
// RoadmapService: what people ask. Sweeps are expanded and queries answered on a few threads of
// their own; the engine only hears of what is ready for it.

#include <map>
#include <string>

#include "coordinator/engine/engine.h"
#include "coordinator/engine/prepare_submission.h"
#include "coordinator/rpc/work_pool.h"
#include "core/data/data_store.h"
#include "grpcpp/server_context.h"
#include "saffron/v1/roadmap.grpc.pb.h"

namespace saffron {

class RoadmapEdge : public v1::RoadmapService::CallbackService {
 public:
  // `database` is the path that queries read.
  RoadmapEdge(Engine* engine, DataStore* data, std::string database, int numerics)
      : engine_(engine), data_(data), database_(std::move(database)), numerics_(numerics) {}
  // Finishes what was begun.
  void Stop();

  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context,
                                   const v1::SubmitRequest* request,
                                   v1::SubmitResponse* response) override;
  grpc::ServerUnaryReactor* Plan(grpc::CallbackServerContext* context,
                                 const v1::SubmitRequest* request,
                                 v1::PlanResponse* response) override;
  grpc::ServerWriteReactor<v1::RoadmapStatus>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::ControlRequest* request,
                                   v1::ControlResponse* response) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const v1::ControlRequest* request,
                                   v1::ControlResponse* response) override;
  grpc::ServerUnaryReactor* Retry(grpc::CallbackServerContext* context,
                                  const v1::RetryRequest* request,
                                  v1::RetryResponse* response) override;
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const v1::PauseRequest* request,
                                  v1::PauseResponse* response) override;
  grpc::ServerUnaryReactor* SetPriority(grpc::CallbackServerContext* context,
                                        const v1::PriorityRequest* request,
                                        v1::PriorityResponse* response) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* ControlWorker(grpc::CallbackServerContext* context,
                                          const v1::ControlWorkerRequest* request,
                                          v1::ControlWorkerResponse* response) override;
  grpc::ServerWriteReactor<v1::QueryRows>* Query(grpc::CallbackServerContext* context,
                                                 const v1::QueryRequest* request) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;

 private:
  absl::StatusOr<PreparedSubmission> Prepare(const v1::SweepSpec& spec) const;
  absl::StatusOr<v1::PlanResponse> PlanOf(const v1::SweepSpec& spec) const;

  Engine* const engine_;
  DataStore* const data_;
  const std::string database_;
  const int numerics_;
  WorkPool sweeps_{2, 64};
  WorkPool queries_{2, 64};
};

}  // namespace saffron
