#pragma once
// Running another program: found on the PATH, arguments passed as they are, no shell between.

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace saffron {

struct ProcessResult {
  int exit_code = 0;   // when `signal` is 0
  int signal = 0;      // that ended it, or 0
  std::string output;  // the last 64 KiB of what it wrote to stdout
  std::string errors;  // likewise stderr

  bool ok() const { return exit_code == 0 && signal == 0; }
  // "exit code 3" or "killed by signal 9", and the last lines of `errors`.
  std::string Explain() const;
};

// Runs argv[0] with `argv` in the folder `directory` (empty: this one) with an empty stdin and
// default signals, and waits for it to end. NOT_FOUND when there is no such program. Thread-safe.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         const std::string& directory = "");

// A folder of its own under $TMPDIR (else /tmp), removed with all that is in it.
class TemporaryFolder {
 public:
  static absl::StatusOr<TemporaryFolder> Make();
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace saffron
