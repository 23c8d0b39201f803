#pragma once
// SHA-256 content digests (FIPS 180-4, through OpenSSL), as 64 lower-case hex characters.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace saffron {

// Digest of `bytes`. Thread-safe, never fails.
std::string Sha256Hex(std::string_view bytes);

// Digest of a file's bytes, read in pieces. NOT_FOUND or UNAVAILABLE (with the path) on I/O errors.
absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path);

// Incremental digest. Not thread-safe. `Finish` may be called once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(std::string_view bytes);
  std::string FinishHex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
