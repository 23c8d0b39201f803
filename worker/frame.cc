#include "worker/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace saffron {

absl::Status WriteFrame(int fd, std::string_view bytes) {
  if (bytes.size() > kFrameBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", bytes.size(), " bytes; at most ", kFrameBytesMax));
  }
  const uint32_t size = static_cast<uint32_t>(bytes.size());
  unsigned char header[4];
  for (int i = 0; i < 4; ++i) header[i] = static_cast<unsigned char>(size >> (8 * i));
  const size_t total = sizeof(header) + bytes.size();
  for (size_t done = 0; done < total;) {
    iovec parts[2];
    int count = 0;
    if (done < sizeof(header)) parts[count++] = {header + done, sizeof(header) - done};
    const size_t body = done < sizeof(header) ? 0 : done - sizeof(header);
    parts[count++] = {const_cast<char*>(bytes.data()) + body, bytes.size() - body};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(absl::StrCat("send: ", std::strerror(errno)));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FrameReader::Next(absl::Time deadline) {
  for (;;) {
    if (buffer_.size() >= 4) {
      uint32_t size = 0;
      for (int i = 0; i < 4; ++i) size |= uint32_t{static_cast<unsigned char>(buffer_[i])} << 8 * i;
      if (size > kFrameBytesMax) {
        return absl::DataLossError(absl::StrCat("a frame claims ", size, " bytes"));
      }
      if (buffer_.size() >= 4 + size) {
        std::string frame = buffer_.substr(4, size);
        buffer_.erase(0, 4 + size);
        return frame;
      }
    }
    int timeout_ms = -1;
    if (deadline != absl::InfiniteFuture()) {
      const int64_t left =
          absl::ToInt64Milliseconds(absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
      timeout_ms = static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
    }
    pollfd waiting = {fd_, POLLIN, 0};
    const int ready = poll(&waiting, 1, timeout_ms);
    if (ready < 0 && errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (ready == 0 && absl::Now() >= deadline) return absl::DeadlineExceededError("no frame yet");
    if (ready <= 0) continue;
    char chunk[65536];
    const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(absl::StrCat("recv: ", std::strerror(errno)));
    if (n == 0) return absl::UnavailableError("the other end closed");
    buffer_.append(chunk, static_cast<size_t>(n));
  }
}

}  // namespace saffron
