#include "coordinator/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {

absl::StatusOr<ListenAddress> ListenAddress::Parse(const std::string& text) {
  const size_t colon = text.rfind(':');
  ListenAddress address;
  if (colon != std::string::npos && absl::SimpleAtoi(text.substr(colon + 1), &address.port) &&
      address.port >= 0 && address.port <= 65535) {
    address.host = text.substr(0, colon);
    const bool bracketed =
        address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']';
    if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
    const bool is_ipv6 = address.host.find(':') != std::string::npos;
    if (!address.host.empty() && is_ipv6 == bracketed) return address;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "listen address: want HOST:PORT, for example 127.0.0.1:7411, got \"", text, "\""));
}

std::string ListenAddress::Text(int port) const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::Status CheckFree(const ListenAddress& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* raw = nullptr;
  const int code =
      ::getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &raw);
  if (code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot listen on ", address.Text(address.port), ": ", gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> found(raw, &freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return absl::UnavailableError(absl::StrCat("cannot make a socket: ", strerror(errno)));
  const int on = 1;  // connections of a server that just ended do not count
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = ::bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, 1) == 0;
  const int error = errno;
  ::close(fd);
  if (bound) return absl::OkStatus();
  const std::string text = address.Text(address.port);
  if (error == EADDRINUSE) {
    return absl::AlreadyExistsError(absl::StrCat(
        "port ", address.port, " is in use on ", address.host,
        ": end the program that listens there, or choose another port (0 is any free one)"));
  }
  if (error == EACCES) {
    return absl::PermissionDeniedError(absl::StrCat("not allowed to listen on ", text));
  }
  return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", text, ": ", strerror(error)));
}

}  // namespace saffron
