#pragma once
// Where a server listens.

#include <string>

#include "absl/status/statusor.h"

namespace saffron {

struct ListenAddress {
  std::string host;  // name or address, an IPv6 address without brackets
  int port = 0;

  // "HOST:PORT", "[IPv6]:PORT". INVALID_ARGUMENT otherwise.
  static absl::StatusOr<ListenAddress> Parse(const std::string& text);
  // As parsed, with the port given.
  std::string Text(int port) const;
};

// Whether the address can be bound now. ALREADY_EXISTS: the port is in use. INVALID_ARGUMENT: not
// an address of this machine. PERMISSION_DENIED: a port that needs privileges. gRPC itself only
// says that it failed.
absl::Status CheckFree(const ListenAddress& address);

}  // namespace saffron
