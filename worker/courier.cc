#include "worker/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

constexpr absl::Duration kAnswerWithin = absl::Seconds(20);
// Without progress for so long, a fetch is given up.
constexpr absl::Duration kFetchWithin = absl::Minutes(10);
constexpr absl::Duration kRetryMin = absl::Milliseconds(100);
constexpr absl::Duration kRetryMax = absl::Seconds(5);
constexpr int kFetchTries = 6;
constexpr size_t kChunkBytes = 512 << 10;
constexpr char kResumeSuffix[] = ".resume", kInitSuffix[] = ".init";

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

bool Same(const v1::AttemptRef& a, const v1::AttemptRef& b) {
  return a.trial_id() == b.trial_id() && a.attempt() == b.attempt();
}

// The coordinator will not change its mind.
bool IsFinal(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnimplemented(status) || absl::IsPermissionDenied(status);
}

bool IsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

void Remove(const std::string& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
}

}  // namespace

Courier::Courier(Options options)
    : options_(std::move(options)),
      stub_(v1::ArtifactService::NewStub(options_.channel)),
      folder_(options_.dir, options_.worker_id) {}

Courier::~Courier() {
  {
    std::lock_guard lock(mutex_);
    closing_ = hurrying_ = true;
    for (grpc::ClientContext* context : fetches_) context->TryCancel();
    for (grpc::ClientContext* context : deliveries_) context->TryCancel();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Courier::Log(const std::string& line) const {
  if (options_.log) options_.log(line);
}

void Courier::Open(const std::string& coordinator_id) {
  if (options_.dir.empty()) return;
  std::vector<LeftBehind> adopted;
  {
    std::lock_guard lock(mutex_);
    // The numbers of its trials mean other trials there.
    if (!folder_.IsOf(coordinator_id)) DropAll([](const Parcel&) { return true; });
    if (const absl::Status status = folder_.Open(coordinator_id); !status.ok()) {
      Log(absl::StrCat("trials leave no checkpoints: ", status.message()));
      return;
    }
    adopted = folder_.Adopt();
  }
  for (LeftBehind& left : adopted) Send(left.ref, std::move(left.checkpoint));
}

v1::SlotFiles Courier::FilesFor(const v1::Assignment& assignment) {
  v1::SlotFiles files;
  {
    std::lock_guard lock(mutex_);
    if (!folder_.is_open()) {
      files.set_init_missing("this worker has no folder for the files that it fetches");
      return files;
    }
    files.set_checkpoint_prefix(folder_.PrefixOf(assignment.ref()));
    files.set_checkpoint_every_s(options_.checkpoint_every_s);
    *files.mutable_keep() = assignment.keep_checkpoints();
  }
  const std::string& prefix = files.checkpoint_prefix();
  if (assignment.has_init_from()) FetchParent(assignment, prefix + kInitSuffix, &files);
  if (!assignment.has_resume_from()) return files;
  const std::string path = prefix + kResumeSuffix;
  const absl::Status fetched = Fetch(assignment.resume_from(), path, absl::ZeroDuration());
  if (fetched.ok()) {
    files.set_resume_from(path);
  } else if (!absl::IsCancelled(fetched)) {
    Log(absl::StrCat(
        "trial ", assignment.ref().trial_id(),
        " runs from the start, for its checkpoint cannot be had: ", fetched.message()));
  }
  return files;
}

void Courier::FetchParent(const v1::Assignment& assignment, const std::string& path,
                          v1::SlotFiles* files) {
  // Of parents whose checkpoint is not kept and that are made again, what the first one starts
  // from.
  const v1::Assignment* child = &assignment;
  while (child->init_from().sha256().empty() && child->has_parent()) child = &child->parent();
  if (!child->has_init_from()) return;
  const v1::Artifact& artifact = child->init_from();
  const std::string what = absl::StrCat("the ", artifact.role(), " checkpoint of trial ",
                                        child->init_trial(), ", its parent,");
  if (artifact.sha256().empty()) {
    return files->set_init_missing(absl::StrCat(what, " is not kept"));
  }
  const absl::Status fetched = Fetch(artifact, path, options_.init_patience);
  if (fetched.ok()) return files->set_init_from(path);
  files->set_init_missing(absl::StrCat(what, " cannot be fetched: ", fetched.message(),
                                       "; `saffron retry` tries again"));
}

void Courier::Send(const v1::AttemptRef& ref, v1::SlotCheckpoint checkpoint) {
  std::lock_guard lock(mutex_);
  const v1::Artifact& artifact = checkpoint.artifact();
  // The one that is being delivered goes on: it may be all that is left should we die now.
  DropWaiting([&](const Parcel& waiting) {
    const v1::Artifact& older = waiting.checkpoint.artifact();
    return Same(waiting.ref, ref) && older.kind() == artifact.kind() &&
           older.role() == artifact.role();
  });
  parcels_.push_back({ref, std::move(checkpoint)});
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  changed_.notify_all();
}

void Courier::AwaitDelivery(const v1::AttemptRef& ref, absl::Time until) {
  std::unique_lock lock(mutex_);
  const auto delivered = [&] {
    return closing_ || std::none_of(parcels_.begin(), parcels_.end(), [&](const Parcel& p) {
             return Same(p.ref, ref) && !p.forgotten;
           });
  };
  while (!delivered() && absl::Now() < until) {
    changed_.wait_until(lock, absl::ToChronoTime(std::min(until, absl::Now() + absl::Hours(1))));
  }
}

template <typename Which>
void Courier::DropWaiting(Which which) {
  for (size_t i = 1; i < parcels_.size();) {
    if (!which(parcels_[i])) {
      ++i;
      continue;
    }
    Remove(parcels_[i].checkpoint.path());
    parcels_.erase(parcels_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

template <typename Which>
void Courier::DropAll(Which which) {
  DropWaiting(which);
  if (!parcels_.empty() && which(parcels_.front())) parcels_.front().forgotten = true;
  changed_.notify_all();
}

void Courier::Forget(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  if (!folder_.is_open()) return;
  for (const char* suffix : {kResumeSuffix, kInitSuffix}) Remove(folder_.PrefixOf(ref) + suffix);
}

void Courier::DropStates(const v1::AttemptRef& ref) {
  std::lock_guard lock(mutex_);
  DropAll([&](const Parcel& parcel) {
    return Same(parcel.ref, ref) && parcel.checkpoint.artifact().kind() == "state";
  });
}

void Courier::Drop(const v1::AttemptRef& ref) {
  Forget(ref);
  std::lock_guard lock(mutex_);
  DropAll([&](const Parcel& parcel) { return Same(parcel.ref, ref); });
}

void Courier::Hurry() {
  std::lock_guard lock(mutex_);
  hurrying_ = true;
  for (grpc::ClientContext* context : fetches_) context->TryCancel();
  changed_.notify_all();
}

template <typename Call>
absl::Status Courier::Cancellable(bool fetch, Call call) {
  grpc::ClientContext context;
  std::set<grpc::ClientContext*>& open = fetch ? fetches_ : deliveries_;
  {
    std::lock_guard lock(mutex_);
    if (closing_ || (fetch && hurrying_)) return absl::CancelledError("the worker is leaving");
    open.insert(&context);
  }
  const absl::Status status = call(context);
  std::lock_guard lock(mutex_);
  open.erase(&context);
  return status;
}

void Courier::Run() {
  std::unique_lock lock(mutex_);
  absl::Duration pause = kRetryMin;
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !parcels_.empty(); });
    if (closing_) return;
    const Parcel parcel = parcels_.front();
    lock.unlock();
    const absl::Status status = Deliver(parcel);
    lock.lock();
    const bool done = status.ok() || IsFinal(status) || parcels_.front().forgotten;
    if (done) {
      if (IsFinal(status) && !absl::IsUnimplemented(status)) {
        Log(absl::StrCat("a checkpoint of trial ", parcel.ref.trial_id(),
                         " was refused: ", status.message()));
      }
      Remove(parcel.checkpoint.path());
      parcels_.pop_front();
      changed_.notify_all();
      pause = kRetryMin;
      continue;
    }
    changed_.wait_for(lock, absl::ToChronoNanoseconds(pause), [&] { return closing_; });
    pause = std::min(2 * pause, kRetryMax);
  }
}

absl::Status Courier::Deliver(const Parcel& parcel) {
  v1::OfferArtifactRequest offer;
  *offer.mutable_artifact() = parcel.checkpoint.artifact();
  *offer.mutable_attempt() = parcel.ref;
  offer.set_path(parcel.checkpoint.path());
  v1::OfferArtifactResponse answer;
  RETURN_IF_ERROR(Cancellable(false, [&](grpc::ClientContext& context) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + kAnswerWithin));
    return FromGrpc(stub_->Offer(&context, offer, &answer));
  }));
  if (answer.answer() != v1::OfferArtifactResponse::SEND) return absl::OkStatus();
  const absl::Status sent = Put(offer, answer.offset());
  // The coordinator threw away what it had: from the start, once more.
  return absl::IsDataLoss(sent) ? absl::UnavailableError(sent.message()) : sent;
}

absl::Status Courier::Put(const v1::OfferArtifactRequest& offer, int64_t offset) {
  std::ifstream file(offer.path(), std::ios::binary);
  if (!file.seekg(offset)) return absl::NotFoundError(absl::StrCat(offer.path(), " is gone"));
  return Cancellable(false, [&](grpc::ClientContext& context) {
    v1::PutArtifactResponse response;
    const auto writer = stub_->Put(&context, &response);
    v1::PutArtifactRequest message;
    *message.mutable_artifact() = offer;
    message.set_offset(offset);
    bool more = true;
    while (more) {
      std::string& data = *message.mutable_data();
      data.resize(kChunkBytes);
      file.read(data.data(), static_cast<std::streamsize>(data.size()));
      data.resize(static_cast<size_t>(file.gcount()));
      more = !file.eof() && file.good() && writer->Write(message);
      if (!more && file.eof()) writer->Write(message);
      message.clear_artifact();
      message.clear_offset();
    }
    writer->WritesDone();
    return FromGrpc(writer->Finish());
  });
}

absl::Status Courier::Fetch(const v1::Artifact& artifact, const std::string& path,
                            absl::Duration patience) {
  const absl::Time until = absl::Now() + patience;
  absl::Duration pause = kRetryMin;
  absl::Status status;
  const std::string part = path + ".part";
  for (int attempt = 0; attempt < kFetchTries || (IsAway(status) && absl::Now() < until);
       ++attempt) {
    status = Receive(artifact, part);
    if (status.ok()) {
      const absl::StatusOr<std::string> digest = Sha256HexOfFile(part);
      status = digest.status();
      if (digest.ok() && *digest != artifact.sha256()) {
        status = absl::DataLossError("it came with another digest");
        Remove(part);
      }
    }
    if (status.ok()) {
      if (::rename(part.c_str(), path.c_str()) == 0) return absl::OkStatus();
      status = FileError("rename to", path, errno);
    }
    if (IsFinal(status) || absl::IsCancelled(status)) break;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(pause), [&] { return hurrying_; });
    pause = std::min(4 * pause, kRetryMax);
  }
  Remove(part);
  return status;
}

absl::Status Courier::Receive(const v1::Artifact& artifact, const std::string& path) {
  std::error_code error;
  const auto have = std::filesystem::file_size(path, error);
  const int64_t offset = error ? 0 : static_cast<int64_t>(have);
  return Cancellable(true, [&](grpc::ClientContext& context) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + kFetchWithin));
    v1::GetArtifactRequest request;
    request.set_sha256(artifact.sha256());
    request.set_offset(offset);
    v1::GetArtifactResponse message;
    const auto reader = stub_->Get(&context, request);
    std::ofstream file(path, std::ios::binary | std::ios::app);
    while (reader->Read(&message)) {
      // The same disk: no need to send it.
      if (!message.path().empty() && offset == 0 &&
          (Remove(path), ::link(message.path().c_str(), path.c_str()) == 0)) {
        context.TryCancel();
        reader->Finish();
        return absl::OkStatus();
      }
      if (!message.path().empty() && offset == 0) file = std::ofstream(path, std::ios::binary);
      if (!file.write(message.data().data(), static_cast<std::streamsize>(message.data().size()))) {
        context.TryCancel();
        reader->Finish();
        return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path));
      }
    }
    const absl::Status status = FromGrpc(reader->Finish());
    if (!file.flush() && status.ok()) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path));
    }
    return status;
  });
}

}  // namespace saffron
