#include "worker/owned_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace saffron {
namespace {

constexpr int kTriesMax = 100;

bool StillNamed(int fd, const std::string& path) {
  struct stat opened = {}, named = {};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

}  // namespace

int OpenOwned(const std::string& path, int flags) {
  for (int i = 0; i < kTriesMax; ++i) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0) return -1;
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {
    }
    if (StillNamed(fd, path)) return fd;
    close(fd);
  }
  errno = EBUSY;
  return -1;
}

int OpenOrphan(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && StillNamed(fd, path)) return fd;
  close(fd);
  return -1;
}

}  // namespace saffron
