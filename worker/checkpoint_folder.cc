#include "worker/checkpoint_folder.h"

#include <errno.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/safetensors.h"
#include "core/data/files.h"
#include "core/train/training_state.h"
#include "worker/owned_file.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;
constexpr char kSuffix[] = ".checkpoints";
constexpr char kLock[] = "/lock";
constexpr int kTriesMax = 100;
constexpr char kFileSuffix[] = ".safetensors";

// "t12-a3-400.safetensors", "t12-a3-best.safetensors" or "t12-a3-routing.safetensors" as an attempt
// and what it left; nullopt for other names.
std::optional<LeftBehind> ParseName(const std::string& name) {
  if (!absl::EndsWith(name, kFileSuffix)) return std::nullopt;
  const std::vector<std::string> parts =
      absl::StrSplit(name.substr(0, name.size() - sizeof(kFileSuffix) + 1), '-');
  int64_t trial = 0;
  int32_t attempt = 0;
  if (parts.size() != 3 || !absl::StartsWith(parts[0], "t") || !absl::StartsWith(parts[1], "a") ||
      !absl::SimpleAtoi(parts[0].substr(1), &trial) ||
      !absl::SimpleAtoi(parts[1].substr(1), &attempt)) {
    return std::nullopt;
  }
  LeftBehind left;
  left.ref.set_trial_id(trial);
  left.ref.set_attempt(attempt);
  const bool is_trace = parts[2] == "routing";
  const bool for_good = is_trace || parts[2] == "best" || parts[2] == "last";
  left.checkpoint.mutable_artifact()->set_kind(is_trace   ? "trace"
                                               : for_good ? "checkpoint"
                                                          : "state");
  if (for_good) left.checkpoint.mutable_artifact()->set_role(parts[2]);
  return left;
}

// Removes a folder whose lock is held: the lock last, so that one who makes it anew at the same
// moment keeps what he makes.
void RemoveFolder(const std::string& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path() != path + kLock) fs::remove_all(entry.path(), error);
  }
  fs::remove(path + kLock, error);
  fs::remove(path, error);
}

// The step that the file says it is of; nullopt when it is no checkpoint.
std::optional<int64_t> StepOf(const std::string& path) {
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return std::nullopt;
  const auto header = ReadCheckpointHeader((*file)->content());
  if (!header.ok()) return std::nullopt;
  return header->step;
}

// Moves what is worth it from `orphan` to `folder`.
std::vector<LeftBehind> MoveFrom(const std::string& orphan, const std::string& folder) {
  std::vector<LeftBehind> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(orphan, error)) {
    const std::string name = entry.path().filename().string();
    std::optional<LeftBehind> left = ParseName(name);
    if (!left.has_value()) continue;
    const std::string path = absl::StrCat(folder, "/", name);
    const absl::StatusOr<std::string> digest = Sha256HexOfFile(entry.path().string());
    const auto bytes = entry.file_size(error);
    const std::optional<int64_t> step = StepOf(entry.path().string());
    if (!digest.ok() || !step.has_value() || error) continue;
    fs::rename(entry.path(), path, error);
    if (error) continue;
    left->checkpoint.set_path(path);
    left->checkpoint.mutable_artifact()->set_step(*step);
    left->checkpoint.mutable_artifact()->set_sha256(*digest);
    left->checkpoint.mutable_artifact()->set_bytes(static_cast<int64_t>(bytes));
    all.push_back(*std::move(left));
  }
  return all;
}

}  // namespace

CheckpointFolder::~CheckpointFolder() { Close(); }

std::string CheckpointFolder::Path() const {
  return absl::StrCat(dir_, "/", coordinator_id_, ".", worker_id_, kSuffix);
}

std::string CheckpointFolder::PrefixOf(const v1::AttemptRef& ref) const {
  return absl::StrCat(Path(), "/t", ref.trial_id(), "-a", ref.attempt());
}

void CheckpointFolder::Close() {
  if (lock_ < 0) return;
  std::error_code error;
  // Only where nothing else is in it: what was not delivered is for the next worker.
  if (std::distance(fs::directory_iterator(Path(), error), fs::directory_iterator()) == 1) {
    RemoveFolder(Path());
  }
  ::close(lock_);
  lock_ = -1;
}

absl::Status CheckpointFolder::Open(const std::string& coordinator_id) {
  if (is_open() && coordinator_id == coordinator_id_) return absl::OkStatus();
  if (coordinator_id.empty() || coordinator_id.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("coordinator id '", coordinator_id, "'"));
  }
  Close();
  coordinator_id_ = coordinator_id;
  const std::string path = Path() + kLock;
  int error = ENOENT;
  // Until it is locked another worker may take the folder for a dead one's, and remove it.
  for (int i = 0; i < kTriesMax && error == ENOENT; ++i) {
    RETURN_IF_ERROR(MakeFolders(Path()));
    lock_ = OpenOwned(path);
    if (lock_ >= 0) return absl::OkStatus();
    error = errno;
  }
  return FileError("create", path, error);
}

std::vector<LeftBehind> CheckpointFolder::Adopt() {
  std::vector<LeftBehind> adopted;
  std::error_code error;
  if (!is_open()) return adopted;
  for (const auto& entry : fs::directory_iterator(dir_, error)) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (path == Path() || !absl::StartsWith(name, coordinator_id_ + ".") ||
        !absl::EndsWith(name, kSuffix)) {
      continue;
    }
    const int lock = OpenOrphan(path + kLock);
    if (lock < 0) continue;
    for (LeftBehind& left : MoveFrom(path, Path())) adopted.push_back(std::move(left));
    RemoveFolder(path);
    ::close(lock);
  }
  return adopted;
}

}  // namespace saffron
