#pragma once
// BPE (Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units",
// ACL 2016) and unigram (Kudo, "Subword regularization", ACL 2018) tokenisers, trained and applied
// by SentencePiece in the program `saffron-subword` (core/subword/main.cc says why it is one).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/utf8.h"

namespace saffron {

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

// The serialised model trained on the chunks of `texts`: one thread, no random choice, so the same
// input gives the same model. Text is normalised (NFKC; case kept). `kind` is "bpe" or "unigram".
// The model has `vocab` pieces, <unk> and <eod> among them, or fewer where the text has no more.
// INVALID_ARGUMENT when `vocab` has no room for the text's characters (says how many they need) or
// the text does not do; NOT_FOUND when the program is missing.
absl::StatusOr<std::string> TrainSubwords(const std::string& kind, int vocab,
                                          const std::vector<std::string_view>& texts);

// Chunks in pieces: chunk i has those numbered firsts[i] to firsts[i + 1] - 1.
struct EncodedChunks {
  std::vector<std::string> types;  // the model's pieces by id
  std::vector<size_t> firsts;
  std::vector<int32_t> ids;
  std::vector<uint32_t> ends;  // offset in the chunk at which the piece's text ends
};

// INTERNAL when `model` cannot be loaded; errors as above.
absl::StatusOr<EncodedChunks> EncodeChunks(const std::string& model,
                                           const std::vector<std::string>& chunks);

}  // namespace saffron
