#pragma once
// Content-addressed files beside the database: ROOT/ab/cdef... is the file whose SHA-256 is
// abcdef..., complete and durable. ROOT/incoming holds what is still arriving.
//
// Which of them are wanted is the database's to say (table artifacts); this only keeps bytes.
// Thread-safe.

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

struct ArtifactId {
  std::string sha256;
  int64_t bytes = 0;
};

class ArtifactStore {
 public:
  struct Options {
    std::string root;                       // made when first written to
    int64_t bytes_max = int64_t{16} << 30;  // of one file
  };
  explicit ArtifactStore(Options options) : options_(std::move(options)) {}

  // INVALID_ARGUMENT: not a SHA-256 in lower-case hex, or a size out of range.
  absl::Status Check(const ArtifactId& id) const;

  // Where the file is, or would be.
  std::string PathOf(const std::string& sha256) const;
  bool Has(const ArtifactId& id) const;
  // Whether it certainly is not there, or not whole; not merely unreadable just now.
  bool IsLost(const ArtifactId& id) const;

  // Takes in the file at `path` of this machine, by a hard link where it can and else by copying.
  // NOT_FOUND: there is no such regular file of that size, or it may not be read. DATA_LOSS: it has
  // another digest.
  absl::Status Adopt(const ArtifactId& id, const std::string& path);

  // How many bytes of it arrived before an upload broke off.
  int64_t Received(const ArtifactId& id) const;

  // A file that is arriving. What was written stays when it is destroyed unfinished.
  class Upload {
   public:
    ~Upload();
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;
    // RESOURCE_EXHAUSTED: the disk is full. INVALID_ARGUMENT: more bytes than the file has.
    absl::Status Write(std::string_view data);
    // DATA_LOSS when bytes are missing or are not those of the digest (they are thrown away then).
    absl::Status Finish();

   private:
    friend class ArtifactStore;
    Upload(ArtifactStore* store, ArtifactId id, int fd, int64_t size)
        : store_(store), id_(std::move(id)), fd_(fd), size_(size) {}
    ArtifactStore* const store_;
    const ArtifactId id_;
    int fd_;
    int64_t size_;
  };
  // Goes on at `offset`. OUT_OF_RANGE: not what Received says. ABORTED: it is being uploaded.
  absl::StatusOr<std::unique_ptr<Upload>> Begin(const ArtifactId& id, int64_t offset);

  // No error when it is not there.
  absl::Status Delete(const std::string& sha256);
  // Deletes all but `wanted`; of what was arriving, what stopped more than a day ago. Returns how
  // many files went.
  absl::StatusOr<int64_t> KeepOnly(const std::set<std::string>& wanted);

 private:
  std::string IncomingPath(const std::string& sha256) const;
  // Moves a complete file into its place.
  absl::Status Place(const std::string& incoming, const ArtifactId& id);

  const Options options_;
  std::mutex mutex_;
  std::set<std::string> uploading_;  // guarded by mutex_
};

}  // namespace saffron
