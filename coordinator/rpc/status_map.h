#pragma once
// The one place where statuses become gRPC's.

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace saffron {

// The codes are the same on both sides; messages are kept. The details tell the other end that a
// coordinator answered: an UNAVAILABLE without any comes from gRPC, which reached nobody.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      "coordinator");
}

}  // namespace saffron
