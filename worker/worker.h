#pragma once
// A worker process: keeps N slots busy with what the coordinator hands out, through outages of any
// length. Puts session (what to say), trial_runner (who trains) and spool (what must not be lost)
// together with gRPC and time.

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "worker/slot_process.h"

namespace saffron {

class Worker {
 public:
  struct Options {
    std::shared_ptr<grpc::Channel> channel;  // ConnectToCoordinator
    std::string address;                     // for messages
    int slots = 1;
    SlotProcess::Options slot;
    // Where the slots find corpora. One that they could not open is looked for there until it is
    // found; meanwhile the coordinator gives this worker no trials of it. Empty: it is never found.
    std::string data_root = {};
    std::string spool_dir = {};  // empty: results are kept in memory only
    // Seconds of training between the states that trials leave; 0: they leave none, and none is
    // handed back. Kept in `spool_dir` on their way.
    double checkpoint_every_s = 120;
    std::string build = {};
    // How long a leaving worker waits for the coordinator to take back what is in hand.
    absl::Duration leave_within = absl::Seconds(10);
    // Says what happens, one line each, on any thread, not concurrently; only what went wrong when
    // `quiet`.
    bool quiet = false;
    std::function<void(const std::string&)> log = {};
  };
  explicit Worker(Options options);
  ~Worker();

  // Works until told to leave; OK then. FAILED_PRECONDITION: other numerics than the coordinator's.
  // UNAUTHENTICATED, PERMISSION_DENIED: refused. UNIMPLEMENTED: there is another service at the
  // address. All other errors are waited out.
  absl::Status Run();

  // Hands everything back and lets Run return, within Options::leave_within and a slot's
  // stop_grace. Any thread.
  void Leave();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A channel that reconnects within seconds, however long the coordinator was away. Connects lazily.
std::shared_ptr<grpc::Channel> ConnectToCoordinator(const std::string& address);

}  // namespace saffron
