#include "core/base/process.h"

#include <limits.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace saffron {

std::string ProcessSpace() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  char space[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/ns/pid", space, sizeof(space));
  if (boot.empty() || n <= 0) return "";
  return absl::StrCat(boot, " ", absl::string_view(space, n));
}

bool IsProcessGone(int64_t pid) {
  if (pid <= 0 || ::access("/proc/self/stat", R_OK) != 0) return false;
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  if (!file) return true;
  const std::string stat((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // "PID (NAME) STATE ...": the name may hold anything.
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return false;
  const char state = stat[name_end + 2];
  return state == 'Z' || state == 'X';
}

}  // namespace saffron
