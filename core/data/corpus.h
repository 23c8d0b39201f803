#pragma once
// One corpus on disk: its manifest (`corpus.json`) and its documents, one after another, in
// `documents.bin`. A document of an image corpus is a label byte and the pixels' bytes.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/data_store.h"

namespace saffron {

struct Manifest {
  CorpusInfo info;
  std::vector<int64_t> lengths;  // of each document, in bytes
  int64_t modified_ns = 0;       // of documents.bin when it was written
};

// SHA-256 over the kind, the number of documents, and each document's length and bytes.
std::string CorpusFingerprint(CorpusKind kind, const std::vector<std::string_view>& documents);

// Writes a corpus to the folder `fresh`, then moves it to `folder`, so that a reader finds the old
// one or the new one, never a mixture. `info` gives name, kind, origin and time; the rest is filled
// in. The corpus that was in `folder` is removed, encodings included; on error it stays. `fresh`
// must not exist. One caller at a time.
absl::StatusOr<CorpusInfo> WriteCorpus(const std::string& fresh, const std::string& folder,
                                       CorpusInfo info,
                                       const std::vector<std::string_view>& documents);

// NOT_FOUND when there is no manifest; DATA_LOSS when it cannot be read as one.
absl::StatusOr<Manifest> ReadManifest(const std::string& folder);

// The documents of a corpus, checked against its fingerprint (DATA_LOSS naming both).
class Documents {
 public:
  static absl::StatusOr<Documents> Open(const std::string& folder, const Manifest& manifest);
  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  std::string_view operator[](int64_t i) const { return texts_[i]; }
  const std::vector<std::string_view>& all() const { return texts_; }

 private:
  Documents(std::unique_ptr<const std::string> bytes, std::vector<std::string_view> texts);
  std::unique_ptr<const std::string> bytes_;  // what the views point into
  std::vector<std::string_view> texts_;
};

// When documents.bin was last changed. DATA_LOSS when it is gone or has another size: then no look
// inside is needed.
absl::StatusOr<int64_t> ModifiedNs(const std::string& folder, const Manifest& manifest);

std::string DocumentsPath(const std::string& folder);

}  // namespace saffron
