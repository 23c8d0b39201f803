#include "coordinator/store/filesystem.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace saffron {
namespace {

constexpr int64_t kFuse = 0x65735546;

struct Known {
  int64_t type;
  std::string_view name;
};
// statfs(2), "f_type".
constexpr Known kNetwork[] = {{0x6969, "NFS"},        {0x517B, "SMB"},      {0xFE534D42, "SMB"},
                              {0xFF534D42, "CIFS"},   {0x5346414F, "AFS"},  {0x6B414653, "AFS"},
                              {0x73757245, "Coda"},   {0x00C36400, "Ceph"}, {0x0BD00BD0, "Lustre"},
                              {0x47504653, "GPFS"},   {0x01161970, "GFS2"}, {0x7461636F, "OCFS2"},
                              {0x19830326, "BeeGFS"}, {0xAAD7AAEA, "PanFS"}};
// FUSE itself says nothing: many of its file systems are local.
constexpr std::string_view kNetworkFuse[] = {
    "fuse.sshfs",   "fuse.glusterfs", "fuse.ceph-fuse", "fuse.ceph",      "fuse.s3fs",
    "fuse.gcsfuse", "fuse.rclone",    "fuse.juicefs",   "fuse.JuiceFS",   "fuse.davfs2",
    "fuse.goofys",  "fuse.beegfs",    "fuse.lustre",    "fuse.curlftpfs", "fuse.hdfs"};

// The type of the mount of the device, as /proc/self/mountinfo has it (proc(5)): "ID PARENT
// MAJOR:MINOR ROOT POINT OPTIONS [...] - TYPE SOURCE ...".
std::string MountType(dev_t device) {
  const std::string wanted = absl::StrCat(major(device), ":", minor(device));
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, numbers, word;
    words >> id >> parent >> numbers;
    if (numbers != wanted) continue;
    while (words >> word && word != "-") {
    }
    words >> word;
    return word;
  }
  return "";
}

}  // namespace

std::string_view NetworkFilesystemName(int64_t type, std::string_view mount_type) {
  for (const Known& known : kNetwork) {
    if ((type & 0xFFFFFFFF) == known.type) return known.name;
  }
  if ((type & 0xFFFFFFFF) != kFuse) return "";
  for (std::string_view name : kNetworkFuse) {
    if (mount_type == name) return name;
  }
  return "";
}

absl::Status CheckFilesystem(const std::string& path) {
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  struct statfs system = {};
  struct stat folder_stat = {};
  if (::statfs(folder.c_str(), &system) != 0 || ::stat(folder.c_str(), &folder_stat) != 0) {
    return absl::OkStatus();
  }
  const std::string_view name =
      NetworkFilesystemName(static_cast<int64_t>(system.f_type), MountType(folder_stat.st_dev));
  if (name.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path, " is on ", std::string(name),
      ", a network file system: SQLite's locks and shared memory do not hold there, and a database "
      "can be damaged without an error. Put it on a disk of this machine with --db; or, if no "
      "other "
      "machine ever opens it, say --allow-network-filesystem"));
}

absl::StatusOr<bool> FindDatabaseFile(const std::string& path) {
  const auto refuse = [](const auto&... words) {
    return absl::FailedPreconditionError(absl::StrCat(words...));
  };
  struct stat found = {};
  if (::stat(path.c_str(), &found) == 0) {
    if (S_ISDIR(found.st_mode)) return refuse(path, " is a folder: name a file with --db");
    if (!S_ISREG(found.st_mode)) return refuse(path, " is not a file: name another with --db");
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) {
      return refuse("cannot read ", path, ": ", strerror(errno));
    }
    return true;
  }
  const int error = errno;
  if (error != ENOENT && error != ENOTDIR) {
    return refuse("cannot open ", path, ": ", strerror(error));
  }
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::absolute(path, ignored).parent_path();
  if (!std::filesystem::is_directory(folder, ignored)) {
    return refuse("cannot open ", path, ": there is no folder ", folder.string());
  }
  return false;
}

}  // namespace saffron
