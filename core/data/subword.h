#pragma once
// BPE (Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units",
// ACL 2016) and unigram (Kudo, "Subword regularization", ACL 2018) tokenisers, through
// SentencePiece.
//
// This header and its .cc keep clear of Abseil: SentencePiece's own headers declare another
// absl::string_view. Hence errors as strings here; text_loader.cc makes statuses of them.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/data/utf8.h"

namespace saffron {

enum class SubwordKind { kBpe, kUnigram };

inline constexpr int32_t kSubwordUnknown = 0, kSubwordEod = 1;

// Calls sink(begin, end) with the byte range of every chunk of `text`: what stands between white
// space, cut every kChunkBytesMax bytes (between code points). Pieces never reach over a chunk's
// ends, so equal chunks have equal ids; the cut keeps SentencePiece from the hours it takes over,
// or the abort it answers with, a megabyte without a blank.
inline constexpr size_t kChunkBytesMax = 512;
template <typename Sink>
void ForEachChunk(std::string_view text, Sink&& sink) {
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeUtf8(text.substr(i));
    const bool space = IsUnicodeSpace(point.value);
    if (i > begin && (space || i + point.bytes > begin + kChunkBytesMax)) {
      sink(begin, i);
      begin = i;
    }
    i += point.bytes;
    if (space) begin = i;
  }
  if (begin < text.size()) sink(begin, text.size());
}

// Trains on the chunks of `texts`, on the calling thread alone, without a random choice: the same
// input gives the same model. Text is normalised (NFKC; case kept). The model has `vocab` pieces,
// <unk> and <eod> among them, or fewer where the text has no more. Returns an empty string and sets
// `model` (SentencePiece's serialised form), or says why not; where `vocab` is too small for the
// text's characters, `vocab_min` is set to what they need.
std::string TrainSubwords(SubwordKind kind, int vocab, const std::vector<std::string_view>& texts,
                          std::string* model, int* vocab_min);

// A trained model. Thread-safe once loaded.
class Subwords {
 public:
  Subwords();
  ~Subwords();
  // An error message, or empty when `model` was loaded.
  std::string Load(std::string_view model);

  std::vector<std::string> Pieces() const;  // by id

  // Appends the ids of a chunk, and for each the offset in the chunk at which its text ends.
  void Encode(std::string_view chunk, std::vector<int32_t>* ids, std::vector<uint32_t>* ends) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
