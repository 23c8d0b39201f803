#pragma once
// This program: its version, and where it is.

#include <unistd.h>

#include <climits>
#include <fstream>
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

// What the user typed to call it: "saffron", "build/release/saffron". For command lines that we
// print and that are to work where we were called.
inline std::string ProgramAsCalled() {
  std::string name;
  std::ifstream file("/proc/self/cmdline");
  std::getline(file, name, '\0');
  return name.empty() ? "saffron" : name;
}

}  // namespace saffron
