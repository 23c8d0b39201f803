#pragma once
// Carries checkpoints between this worker's disk and the coordinator (artifact.proto), on a thread
// of its own: training never waits for the network, but for the moment of a hand-back.
//
// A checkpoint that cannot be delivered, or not be fetched to resume from, costs the work that it
// would have saved and nothing else. Only what a trial starts from has to be had.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "saffron/v1/artifact.grpc.pb.h"
#include "saffron/v1/worker.pb.h"
#include "worker/checkpoint_folder.h"

namespace saffron {

// Thread-safe.
class Courier {
 public:
  struct Options {
    std::shared_ptr<grpc::Channel> channel;
    std::string dir;  // empty: no checkpoints
    std::string worker_id;
    double checkpoint_every_s = 120;
    // How long to go on asking for a parent's checkpoint while the coordinator is away.
    absl::Duration init_patience = absl::Minutes(10);
    std::function<void(const std::string&)> log;
  };
  explicit Courier(Options options);
  // What has not been delivered stays on disk for another worker.
  ~Courier();

  // From now on for this coordinator; delivers what dead workers left for it.
  void Open(const std::string& coordinator_id);

  // The files of an attempt that is about to run; fetches what it resumes from and what it starts
  // from, for which it takes its time. Without the former it runs from the start; without the
  // latter SlotFiles::init_missing says why.
  v1::SlotFiles FilesFor(const v1::Assignment& assignment);

  // The attempt left a checkpoint. Of its states only the newest is delivered.
  void Send(const v1::AttemptRef& ref, v1::SlotCheckpoint checkpoint);
  // Waits until all that the attempt left is delivered, or not wanted, or `until`.
  void AwaitDelivery(const v1::AttemptRef& ref, absl::Time until);
  // The attempt is over, and what it resumed and started from not needed any more.
  void Forget(const v1::AttemptRef& ref);
  // The attempt has a result: nobody will go on from its states.
  void DropStates(const v1::AttemptRef& ref);
  // The attempt was abandoned, and all that it left with it.
  void Drop(const v1::AttemptRef& ref);

  // The worker leaves: fetches are given up.
  void Hurry();

 private:
  struct Parcel {
    v1::AttemptRef ref;
    v1::SlotCheckpoint checkpoint;
    bool forgotten = false;
  };
  void Run();
  // OK: delivered or not wanted. Other errors than NOT_FOUND and INVALID_ARGUMENT: try again.
  absl::Status Deliver(const Parcel& parcel);
  absl::Status Put(const v1::OfferArtifactRequest& offer, int64_t offset);
  // Tries a few times, and while the coordinator cannot be reached until `patience` has passed.
  absl::Status Fetch(const v1::Artifact& artifact, const std::string& path,
                     absl::Duration patience);
  void FetchParent(const v1::Assignment& assignment, const std::string& path, v1::SlotFiles* files);
  absl::Status Receive(const v1::Artifact& artifact, const std::string& path);
  // With `mutex_` held: removes waiting parcels for which `which` holds, and their files.
  template <typename Which>
  void DropWaiting(Which which);
  template <typename Which>
  void DropAll(Which which);  // the one that is being delivered, too
  // Makes the context one that Hurry or the end cancels while it is in use.
  template <typename Call>
  absl::Status Cancellable(bool fetch, Call call);
  void Log(const std::string& line) const;

  const Options options_;
  const std::unique_ptr<v1::ArtifactService::Stub> stub_;

  std::mutex mutex_;
  std::condition_variable changed_;
  CheckpointFolder folder_;
  std::deque<Parcel> parcels_;  // the first one is being delivered
  std::set<grpc::ClientContext*> fetches_, deliveries_;
  bool hurrying_ = false, closing_ = false;
  std::thread thread_;  // started with the first parcel
};

}  // namespace saffron
