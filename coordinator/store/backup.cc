#include "coordinator/store/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;

constexpr int kPagesAtOnce = 2000;  // of 4 KiB: 8 MB between two reports

absl::Status SystemError(const std::string& doing, int error) {
  const std::string message = absl::StrCat(doing, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  const bool is_name = error == ENOENT || error == ENOTDIR || error == EACCES || error == EROFS;
  if (is_name) return absl::FailedPreconditionError(message);
  return absl::UnavailableError(message);
}

absl::Status Sync(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return SystemError(absl::StrCat("cannot open ", path), errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  return result == 0 ? absl::OkStatus() : SystemError(absl::StrCat("cannot sync ", path), error);
}

// The copy, under another name until it is whole. Removed unless kept.
class Partial {
 public:
  explicit Partial(const std::string& target)
      : path_(absl::StrCat(target, ".partial.", ::getpid())) {}
  ~Partial() {
    if (!kept_) Remove();
  }
  const std::string& path() const { return path_; }
  absl::Status Become(const std::string& target) {
    RETURN_IF_ERROR(Sync(path_, O_RDONLY));
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      return SystemError(absl::StrCat("cannot rename ", path_, " to ", target), errno);
    }
    kept_ = true;
    return Sync(fs::absolute(target).parent_path().string(), O_RDONLY | O_DIRECTORY);
  }

 private:
  void Remove() {
    for (const char* ending : {"", "-wal", "-shm", "-journal"}) {
      ::unlink(absl::StrCat(path_, ending).c_str());
    }
  }
  const std::string path_;
  bool kept_ = false;
};

absl::Status CopyPages(Database& from, Database& to, const BackupOptions& options) {
  sqlite3_backup* backup = sqlite3_backup_init(to.get(), "main", from.get(), "main");
  if (backup == nullptr) {
    return SqliteStatus(to.get(), sqlite3_extended_errcode(to.get()), "cannot begin a backup");
  }
  int code = SQLITE_OK;
  do {
    code = sqlite3_backup_step(backup, kPagesAtOnce);
    if (options.on_progress) {
      const int64_t all = sqlite3_backup_pagecount(backup);
      options.on_progress(all - sqlite3_backup_remaining(backup), all);
    }
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED) sqlite3_sleep(50);
  } while (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED);
  const int finished = sqlite3_backup_finish(backup);
  if (code == SQLITE_DONE && finished == SQLITE_OK) return absl::OkStatus();
  return SqliteStatus(to.get(), sqlite3_extended_errcode(to.get()),
                      absl::StrCat("cannot write ", options.to));
}

absl::Status CheckCopy(Database& copy, const BackupOptions& options) {
  ASSIGN_OR_RETURN(Statement check, copy.Prepare("PRAGMA quick_check(1)"));
  ASSIGN_OR_RETURN(const bool row, check.Next());
  if (row && check.Text(0) == "ok") return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the copy of ", options.from, " is damaged (",
                                          row ? check.Text(0).data() : "",
                                          "): `saffron check` tells whether the original is"));
}

absl::Status CheckNames(const BackupOptions& options) {
  ASSIGN_OR_RETURN(const bool is_there, FindDatabaseFile(options.from));
  if (!is_there) {
    return absl::NotFoundError(absl::StrCat(options.from, ": there is no such database"));
  }
  RETURN_IF_ERROR(CheckOutsideDatabase(options.to, options.from));
  return CheckTarget(options.from, "the database", options.to, options.overwrite);
}

}  // namespace

absl::Status CheckOutsideDatabase(const std::string& to, const std::string& database) {
  std::error_code error;
  const std::string whole = fs::weakly_canonical(fs::absolute(database, error), error).string();
  const std::string other = fs::weakly_canonical(fs::absolute(to, error), error).string();
  if (other == whole) {
    return absl::FailedPreconditionError(
        absl::StrCat(to, " is the database itself: name another file"));
  }
  bool belongs = absl::StartsWith(other, absl::StrCat(whole, ".artifacts/"));
  // A file under such a name would be read as a part of the database, or end it.
  for (const char* ending : {"-wal", "-shm", "-journal", ".lock", ".address", ".artifacts"}) {
    belongs = belongs || other == whole + ending;
  }
  if (!belongs) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(to, " belongs to the database: name another file"));
}

absl::StatusOr<int64_t> BackupDatabase(const BackupOptions& options) {
  RETURN_IF_ERROR(CheckNames(options));
  ASSIGN_OR_RETURN(Database from, Database::Open(options.from, Database::Mode::kReadOnly));
  ASSIGN_OR_RETURN(const int version, ReadSchemaVersion(from, options.from));
  if (version == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.from, ": empty, not a Saffron database"));
  }
  // One snapshot: a backup of a database that changes would start over again and again.
  RETURN_IF_ERROR(from.Execute("BEGIN; SELECT count(*) FROM schema_version"));
  Partial partial(options.to);
  {
    ASSIGN_OR_RETURN(Database to, Database::Open(partial.path(), Database::Mode::kReadWriteCreate));
    RETURN_IF_ERROR(to.Execute("PRAGMA synchronous = OFF"));  // synced as a whole, below
    RETURN_IF_ERROR(CopyPages(from, to, options));
    RETURN_IF_ERROR(CheckCopy(to, options));
    // A file of its own, without a log beside it: a coordinator makes one when it opens it.
    RETURN_IF_ERROR(to.Execute("PRAGMA journal_mode = DELETE"));
  }
  std::error_code error;
  const auto bytes = static_cast<int64_t>(fs::file_size(partial.path(), error));
  RETURN_IF_ERROR(partial.Become(options.to));
  return bytes;
}

}  // namespace saffron
