#pragma once
// This program: its version, and where it is.

#include <unistd.h>

#include <climits>
#include <string>

namespace saffron {

inline constexpr char kVersion[] = "0.1.0";

// The executable's path, to start more of it; still good when the file was replaced meanwhile.
inline std::string ProgramPath() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (n <= 0) return "/proc/self/exe";
  path[n] = '\0';
  return access(path, X_OK) == 0 ? path : "/proc/self/exe";
}

}  // namespace saffron
