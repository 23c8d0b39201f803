#pragma once
// ArtifactService: bytes between the wire and the artifact store, with the engine's word on what is
// wanted. Reads the next message only once the one before is on disk, so that a fast sender waits
// instead of filling memory; the same towards a slow reader.

#include "coordinator/artifacts/artifact_store.h"
#include "coordinator/engine/engine.h"
#include "grpcpp/server_context.h"
#include "saffron/v1/artifact.grpc.pb.h"

namespace saffron {

class ArtifactEdge : public v1::ArtifactService::CallbackService {
 public:
  ArtifactEdge(Engine* engine, ArtifactStore* store) : engine_(engine), store_(store) {}

  grpc::ServerUnaryReactor* Offer(grpc::CallbackServerContext* context,
                                  const v1::OfferArtifactRequest* request,
                                  v1::OfferArtifactResponse* response) override;
  grpc::ServerReadReactor<v1::PutArtifactRequest>* Put(grpc::CallbackServerContext* context,
                                                       v1::PutArtifactResponse* response) override;
  grpc::ServerWriteReactor<v1::GetArtifactResponse>* Get(
      grpc::CallbackServerContext* context, const v1::GetArtifactRequest* request) override;

 private:
  Engine* const engine_;
  ArtifactStore* const store_;
};

}  // namespace saffron
