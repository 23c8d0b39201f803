#pragma once
// WorkerService: decode, post to the engine, await, encode. No thread waits while a call is open.

#include "coordinator/engine/engine.h"
#include "grpcpp/server_context.h"
#include "saffron/v1/worker.grpc.pb.h"

namespace saffron {

class WorkerEdge : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerEdge(Engine* engine) : engine_(engine) {}

  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context,
                                     const v1::RegisterRequest* request,
                                     v1::RegisterResponse* response) override;
  grpc::ServerUnaryReactor* Sync(grpc::CallbackServerContext* context,
                                 const v1::SyncRequest* request,
                                 v1::SyncResponse* response) override;

 private:
  Engine* const engine_;
};

// Ends the call; one that is refused as busy is told when to come back.
void FinishWith(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor,
                const absl::Status& status);

}  // namespace saffron
