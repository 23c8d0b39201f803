#pragma once
// The safetensors format: named tensors in one file that can be read without trusting it.
//
//   8 bytes   N, the length of the header, little-endian
//   N bytes   JSON: {"NAME": {"dtype": "F32", "shape": [rows, cols], "data_offsets": [begin, end]},
//             ..., "__metadata__": {"KEY": "TEXT", ...}}, may end in spaces
//   the rest  the tensors' bytes, row-major, little-endian; offsets count from here
// Every byte of the rest belongs to exactly one tensor.
//
// https://huggingface.co/docs/safetensors, section "Format". Thread-safe once parsed.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace saffron {

enum class TensorType : uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64,
};

// As in the header: "F32".
std::string_view TensorTypeName(TensorType type);
int64_t TensorTypeBytes(TensorType type);  // of one element

// A tensor in bytes that somebody else owns. Nothing is known of their alignment in files of
// others.
struct TensorBytes {
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape = {};  // empty: one element
  std::string_view bytes = {};
};

// The header of a file, checked.
class Safetensors {
 public:
  // Reads the header of `file`, the whole file, which must outlive the result; costs time and
  // memory in proportion to the header alone. INVALID_ARGUMENT, opening with `where` and naming the
  // tensor, for anything but the format: too short, a header longer than the file or than 100 MB,
  // no JSON, unknown dtype, names or keys that occur twice, missing or unknown keys, negative or
  // overflowing sizes, a size that is not shape times dtype, holes, overlaps, bytes left over.
  static absl::StatusOr<Safetensors> Parse(std::string_view file, const std::string& where);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::map<std::string, TensorBytes>& tensors() const { return tensors_; }

  // NOT_FOUND naming the file and the tensor or key.
  absl::StatusOr<TensorBytes> Tensor(const std::string& name) const;
  absl::StatusOr<std::string> Metadata(const std::string& key) const;

 private:
  std::string where_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorBytes> tensors_;
};

// A file mapped into memory: pages are read when they are looked at. Somebody who shortens the
// file meanwhile kills the process that reads it (SIGBUS): files are replaced, never rewritten.
class SafetensorsFile {
 public:
  // Errors of Parse and of opening: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (no regular
  // file), each with the path.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const Safetensors& content() const { return content_; }
  std::string_view bytes() const { return {static_cast<const char*>(map_), size_}; }

 private:
  SafetensorsFile() = default;
  void* map_ = nullptr;
  size_t size_ = 0;
  Safetensors content_;
};

struct NamedTensor {
  std::string name;
  TensorBytes tensor;
};

// What was written: enough to address it by content.
struct WrittenFile {
  std::string sha256;  // hex
  int64_t bytes = 0;
};

// Writes the tensors in order of falling element size (so that all are aligned), then as given.
// A reader sees all of the file or none of it, and once this returns no power cut loses it.
// Byte for byte the same for the same arguments. CHECK-fails when names repeat or bytes do not fit
// shape and dtype: our mistake. Errors of WriteFileDurably.
absl::StatusOr<WrittenFile> WriteSafetensors(const std::string& path,
                                             const std::map<std::string, std::string>& metadata,
                                             std::vector<NamedTensor> tensors);

}  // namespace saffron
