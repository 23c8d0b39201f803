#pragma once
// The ids of a whole text corpus under one tokeniser, and their form on disk.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/corpus.h"
#include "core/data/split.h"

namespace saffron {

// The part of the training stream that vocabularies and subword models are made from, so that they
// are the same at every size of data.
inline constexpr int64_t kVocabularyTokens = 1'000'000;

struct Streams {
  std::vector<std::string> types;  // [N] by id
  int32_t eod = 0;
  std::vector<int32_t> train, valid, test;
  // Bytes of text behind each id of valid and test: those since the end of the token before, so
  // that white space counts and a document's add up to its length (<eod> takes what follows the
  // last).
  std::vector<uint32_t> valid_bytes, test_bytes;
};

// How much of each stream is wanted.
struct StreamLimits {
  int64_t train = INT64_MAX;
  int64_t eval = INT64_MAX;
};

// Word tokens. Ids of all types of the first kVocabularyTokens of training: 0 <unk>, then by
// descending count, ties by string, <eod> counted like a word. The ids of a vocabulary of V are
// these with every id >= V replaced by 0, so one encoding serves all sizes.
Streams EncodeWords(const Documents& documents, const Split& split);

// Bytes: ids 0..255 are the bytes, 256 is <eod>. Only what `limits` asks for is made.
Streams EncodeBytes(const Documents& documents, const Split& split, const StreamLimits& limits);

// Pieces of a model of TrainSubwords, chunk by chunk. Errors of EncodeChunks.
absl::StatusOr<Streams> EncodeSubwords(const Documents& documents, const Split& split,
                                       const std::string& model);

// The text (of training documents in their shuffled order) behind the first kVocabularyTokens word
// tokens of training; the last document may be cut.
std::vector<std::string_view> VocabularyText(const Documents& documents, const Split& split);

// The content of a stream file (to be sealed, files.h), in the machine's little-endian order:
// header, types (u32 length and bytes each), train, valid, test ids of 2 bytes (4 when N > 65536),
// valid and test byte counts of 4. ParseStreams returns nothing for another format; streams are cut
// at `limits`.
std::string StreamsFile(const Streams& streams);
std::optional<Streams> ParseStreams(std::string_view file, const StreamLimits& limits);

}  // namespace saffron
