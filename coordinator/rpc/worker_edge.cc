#include "coordinator/rpc/worker_edge.h"

#include <atomic>
#include <memory>
#include <utility>

#include "coordinator/rpc/status_map.h"
#include "coordinator/rpc/translate.h"

namespace saffron {
namespace {

constexpr char kRetryAfterMs[] = "250";

// An open Sync. The worker may give it up at any time, from another thread than the engine's.
class SyncReactor : public grpc::ServerUnaryReactor {
 public:
  SyncReactor(Engine* engine, grpc::CallbackServerContext* context, v1::SyncResponse* response)
      : engine_(engine), context_(context), response_(response) {}

  void Start(SyncCall call) {
    // The call may be answered, and this deleted, before Sync returns.
    const std::shared_ptr<Cancellation> cancellation = cancellation_;
    Engine* const engine = engine_;
    const Engine::CallId id =
        engine->Sync(std::move(call), [this](absl::StatusOr<SyncAnswer> answer) {
          if (answer.ok()) ToProto(*answer, response_);
          FinishWith(context_, this, answer.status());
        });
    cancellation->id = id;
    if (cancellation->wanted) engine->Forget(id);
  }

  void OnCancel() override {
    cancellation_->wanted = true;
    if (const Engine::CallId id = cancellation_->id) engine_->Forget(id);
  }
  void OnDone() override { delete this; }

 private:
  struct Cancellation {
    std::atomic<Engine::CallId> id = 0;
    std::atomic<bool> wanted = false;
  };
  Engine* const engine_;
  grpc::CallbackServerContext* const context_;
  v1::SyncResponse* const response_;
  const std::shared_ptr<Cancellation> cancellation_ = std::make_shared<Cancellation>();
};

}  // namespace

void FinishWith(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor,
                const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) {
    context->AddTrailingMetadata("retry-after-ms", kRetryAfterMs);
  }
  reactor->Finish(ToGrpc(status));
}

grpc::ServerUnaryReactor* WorkerEdge::Register(grpc::CallbackServerContext* context,
                                               const v1::RegisterRequest* request,
                                               v1::RegisterResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->Register(FromProto(*request),
                    [context, reactor, response](absl::StatusOr<RegisterAnswer> answer) {
                      if (answer.ok()) *response = ToProto(*answer);
                      FinishWith(context, reactor, answer.status());
                    });
  return reactor;
}

grpc::ServerUnaryReactor* WorkerEdge::Sync(grpc::CallbackServerContext* context,
                                           const v1::SyncRequest* request,
                                           v1::SyncResponse* response) {
  auto* reactor = new SyncReactor(engine_, context, response);
  absl::StatusOr<SyncCall> call = FromProto(*request);
  if (call.ok()) {
    reactor->Start(*std::move(call));
  } else {
    reactor->Finish(ToGrpc(call.status()));
  }
  return reactor;
}

}  // namespace saffron
