#pragma once
// Messages over a stream socket: a 4-byte little-endian length, then the bytes.

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace saffron {

inline constexpr size_t kFrameBytesMax = 64u << 20;

// Writes one frame, whole. UNAVAILABLE: the other end is gone (never raises SIGPIPE).
// INVALID_ARGUMENT: longer than kFrameBytesMax. One writer at a time.
absl::Status WriteFrame(int fd, std::string_view bytes);

// Reads frames from a socket, keeping what arrived of the next one. Not thread-safe.
class FrameReader {
 public:
  explicit FrameReader(int fd) : fd_(fd) {}
  // The next frame. DEADLINE_EXCEEDED: none was complete by `deadline`; call again. UNAVAILABLE:
  // the other end closed or died. DATA_LOSS: a length over kFrameBytesMax.
  absl::StatusOr<std::string> Next(absl::Time deadline);

 private:
  int fd_;
  std::string buffer_;
};

}  // namespace saffron
