#include "coordinator/rpc/artifact_edge.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/rpc/status_map.h"
#include "coordinator/rpc/worker_edge.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

constexpr size_t kMessageBytesMax = 1 << 20;
constexpr size_t kChunkBytes = 256 << 10;

absl::StatusOr<ArtifactCall> CallOf(const v1::OfferArtifactRequest& request) {
  const v1::Artifact& artifact = request.artifact();
  const bool known = artifact.kind() == kStateArtifact || artifact.kind() == kCheckpointArtifact ||
                     artifact.kind() == kTraceArtifact;
  if (!known || artifact.step() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("artifact: want the kind ", kStateArtifact, ", ",
                                                   kCheckpointArtifact, " or ", kTraceArtifact,
                                                   " and a step of at least 0"));
  }
  return ArtifactCall{
      .attempt = {TrialId{request.attempt().trial_id()}, request.attempt().attempt()},
      .artifact = {.sha256 = artifact.sha256(),
                   .bytes = artifact.bytes(),
                   .kind = artifact.kind(),
                   .role = artifact.role(),
                   .step = artifact.step()}};
}

ArtifactId IdOf(const v1::Artifact& artifact) { return {artifact.sha256(), artifact.bytes()}; }

absl::Status Error(const char* what, int error) {
  return absl::UnavailableError(
      absl::StrCat("artifact: ", FileError(what, "its file", error).message()));
}

class PutReactor : public grpc::ServerReadReactor<v1::PutArtifactRequest> {
 public:
  PutReactor(Engine* engine, ArtifactStore* store) : engine_(engine), store_(store) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Conclude();
    const absl::Status status = Take();
    if (!status.ok()) return Finish(ToGrpc(status));
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Take() {
    if (upload_ == nullptr) {
      ASSIGN_OR_RETURN(call_, CallOf(request_.artifact()));
      ASSIGN_OR_RETURN(upload_,
                       store_->Begin(IdOf(request_.artifact().artifact()), request_.offset()));
    }
    if (request_.data().size() > kMessageBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("artifact: want messages of at most ",
                                                     kMessageBytesMax, " bytes, got ",
                                                     request_.data().size()));
    }
    return upload_->Write(request_.data());
  }

  void Conclude() {
    absl::Status status = upload_ == nullptr
                              ? absl::InvalidArgumentError("artifact: want at least one message")
                              : upload_->Finish();
    upload_.reset();
    if (!status.ok()) return Finish(ToGrpc(status));
    call_.stored = true;
    engine_->Artifact(call_, [this](absl::StatusOr<ArtifactAnswer> answer) {
      // Unwanted by now: as good as stored, for nobody asks for it.
      Finish(ToGrpc(answer.status()));
    });
  }

  Engine* const engine_;
  ArtifactStore* const store_;
  v1::PutArtifactRequest request_;
  ArtifactCall call_;
  std::unique_ptr<ArtifactStore::Upload> upload_;
};

class GetReactor : public grpc::ServerWriteReactor<v1::GetArtifactResponse> {
 public:
  GetReactor(const ArtifactStore& store, const v1::GetArtifactRequest& request) {
    const absl::Status status = Open(store, request);
    if (!status.ok()) {
      Finish(ToGrpc(status));
      return;
    }
    response_.set_path(store.PathOf(request.sha256()));
    WriteNext();
  }
  ~GetReactor() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the reader went away"));
    response_.clear_path();
    if (left_ == 0) return Finish(grpc::Status::OK);
    WriteNext();
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Open(const ArtifactStore& store, const v1::GetArtifactRequest& request) {
    RETURN_IF_ERROR(store.Check({request.sha256(), 0}));
    fd_ = ::open(store.PathOf(request.sha256()).c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info = {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
      return absl::NotFoundError(absl::StrCat("artifact ", request.sha256(), " is not stored"));
    }
    if (request.offset() < 0 || request.offset() > info.st_size) {
      return absl::OutOfRangeError(absl::StrCat("artifact: want an offset within ", info.st_size,
                                                " bytes, got ", request.offset()));
    }
    if (::lseek(fd_, request.offset(), SEEK_SET) < 0) return Error("seek in", errno);
    response_.set_bytes(info.st_size);
    left_ = info.st_size - request.offset();
    return absl::OkStatus();
  }

  void WriteNext() {
    std::string& data = *response_.mutable_data();
    data.resize(std::min<size_t>(kChunkBytes, static_cast<size_t>(left_)));
    ssize_t got = 0;
    do {
      got = ::read(fd_, data.data(), data.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0 || (got == 0 && left_ > 0)) return Finish(ToGrpc(Error("read", errno)));
    data.resize(static_cast<size_t>(got));
    left_ -= got;
    StartWrite(&response_);
  }

  int fd_ = -1;
  int64_t left_ = 0;
  v1::GetArtifactResponse response_;
};

}  // namespace

grpc::ServerUnaryReactor* ArtifactEdge::Offer(grpc::CallbackServerContext* context,
                                              const v1::OfferArtifactRequest* request,
                                              v1::OfferArtifactResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const ArtifactId id = IdOf(request->artifact());
  absl::StatusOr<ArtifactCall> call = CallOf(*request);
  if (absl::Status checked = store_->Check(id); call.ok() && !checked.ok()) call = checked;
  if (!call.ok()) {
    FinishWith(context, reactor, call.status());
    return reactor;
  }
  // On this thread, not the engine's: hashing a large file takes its time.
  const bool had = store_->Has(id);
  call->stored = had || (!request->path().empty() && store_->Adopt(id, request->path()).ok());
  ArtifactStore* const store = store_;
  engine_->Artifact(*call, [=, stored = call->stored](absl::StatusOr<ArtifactAnswer> answer) {
    // Taken in for nothing; when the call may be repeated, it is not for nothing.
    const bool refused =
        absl::IsNotFound(answer.status()) || absl::IsInvalidArgument(answer.status());
    if (refused && stored && !had) store->Delete(id.sha256).IgnoreError();
    if (answer.ok()) {
      response->set_answer(!answer->wanted ? v1::OfferArtifactResponse::UNWANTED
                           : stored        ? v1::OfferArtifactResponse::STORED
                                           : v1::OfferArtifactResponse::SEND);
      response->set_reason(answer->reason);
      if (answer->wanted && !stored) response->set_offset(store->Received(id));
    }
    FinishWith(context, reactor, answer.status());
  });
  return reactor;
}

grpc::ServerReadReactor<v1::PutArtifactRequest>* ArtifactEdge::Put(grpc::CallbackServerContext*,
                                                                   v1::PutArtifactResponse*) {
  return new PutReactor(engine_, store_);
}

grpc::ServerWriteReactor<v1::GetArtifactResponse>* ArtifactEdge::Get(
    grpc::CallbackServerContext*, const v1::GetArtifactRequest* request) {
  return new GetReactor(*store_, *request);
}

}  // namespace saffron
