// Safetensors on disk: mapped for reading, written atomically.

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/safetensors_types.h"
#include "core/data/files.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

// Maps the regular file `fd`, which the mapping outlives. Empty files map to nothing.
absl::Status MapWhole(int fd, const std::string& path, void** map, size_t* size) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return FileError("stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  *size = static_cast<size_t>(info.st_size);
  if (*size == 0) return absl::OkStatus();
  void* const mapped = ::mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) return FileError("map", path, errno);
  *map = mapped;
  return absl::OkStatus();
}

// The header's length and text, padded so that the data starts on a multiple of eight bytes.
std::string HeaderOf(const std::map<std::string, std::string>& metadata,
                     const std::vector<NamedTensor>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    const int64_t end = begin + static_cast<int64_t>(tensor.bytes.size());
    header[name] = {{"dtype", TensorTypeName(tensor.type)},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError("open", path, errno);
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile());
  const absl::Status mapped = MapWhole(fd, path, &file->map_, &file->size_);
  ::close(fd);
  RETURN_IF_ERROR(mapped);
  ASSIGN_OR_RETURN(file->content_, Safetensors::Parse(file->bytes(), path));
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) ::munmap(map_, size_);
}

absl::StatusOr<WrittenFile> WriteSafetensors(const std::string& path,
                                             const std::map<std::string, std::string>& metadata,
                                             std::vector<NamedTensor> tensors) {
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    CHECK(names.insert(name).second && name != "__metadata__") << "tensor " << name;
    const auto size = TensorSize(tensor.type, tensor.shape);
    CHECK(size == static_cast<int64_t>(tensor.bytes.size())) << name << ": bytes do not fit shape";
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return TensorTypeBytes(a.tensor.type) > TensorTypeBytes(b.tensor.type);
  });
  const std::string header = HeaderOf(metadata, tensors);
  std::vector<std::string_view> parts = {header};
  for (const NamedTensor& named : tensors) parts.push_back(named.tensor.bytes);
  WrittenFile written;
  Sha256 digest;
  for (const std::string_view part : parts) {
    digest.Update(part);
    written.bytes += static_cast<int64_t>(part.size());
  }
  RETURN_IF_ERROR(WriteFileDurably(path, parts));
  written.sha256 = digest.FinishHex();
  return written;
}

}  // namespace saffron
