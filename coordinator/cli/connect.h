#pragma once
// How commands reach a roadmap: a coordinator named by the user, the one that is serving the
// database, or the database file itself.

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/cli/command.h"
#include "coordinator/report/read_source.h"
#include "grpcpp/grpcpp.h"
#include "saffron/v1/roadmap.grpc.pb.h"

namespace saffron {

inline constexpr char kDefaultAddress[] = "127.0.0.1:7411";

// gRPC's status as ours; the codes are the same.
absl::Status StatusFromGrpc(const grpc::Status& status);

// Says in a small file beside the database where its coordinator listens, so that commands need no
// address; takes it back when destroyed. Failing to write it is no error.
class AddressFile {
 public:
  AddressFile(const std::string& database, const std::string& address);
  ~AddressFile();
  AddressFile(const AddressFile&) = delete;
  AddressFile& operator=(const AddressFile&) = delete;

 private:
  std::string path_;
};

// Where the coordinator that serves `database` now listens; nullopt when none does.
std::optional<std::string> ServingAddress(const std::string& database);

// A coordinator's RoadmapService.
struct Coordinator {
  std::string address;
  std::unique_ptr<v1::RoadmapService::Stub> stub;

  // A context for one call. Streams that may stay silent for long have no deadline.
  static std::unique_ptr<grpc::ClientContext> Context(absl::Duration within = absl::Seconds(60));
  // The status of a call to it; UNAVAILABLE says what to do.
  absl::Status StatusOf(const grpc::Status& status) const;
};

// The one named by --coordinator, else the one that serves --db, else, where no database was named
// either, the one at the default address. One that is just starting is waited for. UNAVAILABLE:
// nobody answers there. FAILED_PRECONDITION: the named --db cannot be a database that one serves.
absl::StatusOr<Coordinator> ConnectToCoordinatorOf(const Cli& cli,
                                                   absl::Duration within = absl::Seconds(5));

// Rows for commands that look: from --coordinator when it was given, else from the file --db, which
// may be read while a coordinator writes it. Errors of OpenLocalSource, or UNAVAILABLE.
absl::StatusOr<std::unique_ptr<ReadSource>> OpenSource(const Cli& cli);

// What to add to a `saffron` command to mean the same place as `cli`: "", "--db FILE" or
// "--coordinator HOST:PORT".
std::string PlaceFlags(const Cli& cli);

}  // namespace saffron
