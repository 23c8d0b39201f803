#pragma once
// The coordinator as a gRPC server: store, engine and edges put together. `saffron serve` and
// `saffron run` start one; tests start one on a free port or talk to it in process.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"

namespace saffron {

class CoordinatorServer {
 public:
  struct Options {
    std::string db_path;                       // created when it does not exist; its folder must
    std::string listen = "127.0.0.1:0";        // HOST:PORT; port 0: any free one
    std::string data_root;                     // corpora; empty: DataStore::DefaultRoot()
    absl::Duration lease = absl::Seconds(30);  // silence after which a worker is taken to be lost
    // True: what was acknowledged survives a power cut (one fsync a commit, about 3 ms on a
    // laptop's SSD; commits are shared by whatever arrived meanwhile). False: it survives the end
    // of every process, kill -9 included, and a power cut may take back the last moments, which are
    // then run again; the database stays consistent either way.
    bool survive_power_loss = true;
    // Most bytes of checkpoints kept in FILE.artifacts; 0: any.
    int64_t artifact_bytes_max = int64_t{20} << 30;
    // Which checkpoints every trial with a result leaves there: "best", "last".
    std::vector<std::string> keep_checkpoints = {};
    // HOST:PORT to serve metrics at over HTTP; empty: not served. Port 0: any free one.
    std::string metrics = "";
    // Trust a network file system to hold the database (store/filesystem.h).
    bool allow_network_filesystem = false;
  };

  // Opens or creates the database, takes its lock, recovers, and serves WorkerService,
  // RoadmapService, health and reflection until Shutdown.
  //
  // FAILED_PRECONDITION: the database belongs to a running coordinator (names its process), is of a
  // newer schema (names both versions), is not a database or not Saffron's, or may not be written.
  // ALREADY_EXISTS: the port is in use. INVALID_ARGUMENT: `listen` is not HOST:PORT or not an
  // address of this machine. UNAVAILABLE: I/O.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(const Options& options);

  // Shutdown()s.
  ~CoordinatorServer();

  int port() const;
  std::string address() const;  // HOST:PORT to connect to
  int metrics_port() const;     // 0: not served

  // A channel to this server that does not touch the network.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Ends open calls (UNAVAILABLE), commits what was accepted, closes the database. Idempotent;
  // waits. Workers keep what they hold and find the next coordinator of the same database.
  void Shutdown();

 private:
  struct Impl;
  explicit CoordinatorServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
