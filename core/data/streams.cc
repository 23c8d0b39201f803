#include "core/data/streams.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/base/status_macros.h"
#include "core/data/interner.h"
#include "core/data/subword.h"
#include "core/data/word_tokenizer.h"

namespace saffron {
namespace {

constexpr char kUnknown[] = "<unk>", kEndOfDocument[] = "<eod>";

// Appends the tokens of `documents[parts...]`, each document closed by `eod`, and the bytes behind.
template <typename Number>
void TokeniseWords(const Documents& documents, const std::vector<int64_t>& parts, uint32_t eod,
                   Number&& number, std::vector<int32_t>* ids, std::vector<uint32_t>* bytes) {
  for (const int64_t i : parts) {
    const std::string text = LowerAscii(documents[i]);
    size_t last_end = 0;
    ForEachWord(text, [&](size_t begin, size_t end) {
      ids->push_back(static_cast<int32_t>(number({text.data() + begin, end - begin})));
      if (bytes != nullptr) bytes->push_back(static_cast<uint32_t>(end - last_end));
      last_end = end;
    });
    ids->push_back(static_cast<int32_t>(eod));
    if (bytes != nullptr) bytes->push_back(static_cast<uint32_t>(text.size() - last_end));
  }
}

// The numbers with a count, by descending count, then by string.
std::vector<uint32_t> Ranked(const std::vector<int64_t>& counts,
                             const std::vector<std::string>& strings) {
  std::vector<uint32_t> ranked;
  for (uint32_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) ranked.push_back(i);
  }
  std::sort(ranked.begin(), ranked.end(), [&](uint32_t a, uint32_t b) {
    return counts[a] != counts[b] ? counts[a] > counts[b] : strings[a] < strings[b];
  });
  return ranked;
}

// Appends the pieces of `documents[parts...]`, each document closed by <eod>, and the bytes behind.
void AppendPieces(const Documents& documents, const std::vector<int64_t>& parts, Interner& chunks,
                  const EncodedChunks& encoded, std::vector<int32_t>* ids,
                  std::vector<uint32_t>* bytes) {
  for (const int64_t i : parts) {
    const std::string_view text = documents[i];
    size_t last_end = 0;
    const auto append = [&](int32_t id, size_t end) {
      end = std::max(end, last_end);
      ids->push_back(id);
      if (bytes != nullptr) bytes->push_back(static_cast<uint32_t>(end - last_end));
      last_end = end;
    };
    ForEachChunk(text, [&](size_t begin, size_t end) {
      const uint32_t chunk = chunks.Intern(text.substr(begin, end - begin));
      for (size_t piece = encoded.firsts[chunk]; piece < encoded.firsts[chunk + 1]; ++piece) {
        append(encoded.ids[piece], begin + encoded.ends[piece]);
      }
    });
    append(kSubwordEod, text.size());
  }
}

void AppendBytes(const Documents& documents, const std::vector<int64_t>& parts, int32_t eod,
                 int64_t limit, std::vector<int32_t>* ids) {
  for (const int64_t i : parts) {
    const std::string_view text = documents[i];
    const int64_t room = limit - static_cast<int64_t>(ids->size());
    if (room <= 0) return;
    for (const char c : text.substr(0, room)) ids->push_back(static_cast<unsigned char>(c));
    if (room > static_cast<int64_t>(text.size())) ids->push_back(eod);
  }
}

}  // namespace

Streams EncodeWords(const Documents& documents, const Split& split) {
  Interner interner;
  const uint32_t eod = interner.Intern(kEndOfDocument);  // no text token has two brackets
  const auto number = [&](std::string_view token) { return interner.Intern(token); };
  Streams streams;
  TokeniseWords(documents, split.train, eod, number, &streams.train, nullptr);
  std::vector<int64_t> counts(interner.strings().size(), 0);
  const int64_t counted = std::min<int64_t>(kVocabularyTokens, streams.train.size());
  for (int64_t t = 0; t < counted; ++t) ++counts[streams.train[t]];
  TokeniseWords(documents, split.valid, eod, number, &streams.valid, &streams.valid_bytes);
  TokeniseWords(documents, split.test, eod, number, &streams.test, &streams.test_bytes);

  const std::vector<uint32_t> ranked = Ranked(counts, interner.strings());
  std::vector<int32_t> id_of(interner.strings().size(), 0);
  streams.types.push_back(kUnknown);
  for (const uint32_t number_of_type : ranked) {
    id_of[number_of_type] = static_cast<int32_t>(streams.types.size());
    streams.types.push_back(std::move(interner.strings()[number_of_type]));
  }
  for (auto* ids : {&streams.train, &streams.valid, &streams.test}) {
    for (int32_t& id : *ids) id = id_of[id];
  }
  streams.eod = id_of[eod];
  return streams;
}

Streams EncodeBytes(const Documents& documents, const Split& split, const StreamLimits& limits) {
  constexpr char kHex[] = "0123456789ABCDEF";
  Streams streams;
  for (int i = 0; i < 256; ++i) {
    const bool printable = i > 0x20 && i < 0x7F;
    streams.types.push_back(printable
                                ? std::string(1, static_cast<char>(i))
                                : std::string{'<', '0', 'x', kHex[i >> 4], kHex[i & 15], '>'});
  }
  streams.eod = 256;
  streams.types.push_back(kEndOfDocument);
  AppendBytes(documents, split.train, streams.eod, limits.train, &streams.train);
  AppendBytes(documents, split.valid, streams.eod, limits.eval, &streams.valid);
  AppendBytes(documents, split.test, streams.eod, limits.eval, &streams.test);
  for (const auto& [ids, bytes] : {std::pair(&streams.valid, &streams.valid_bytes),
                                   std::pair(&streams.test, &streams.test_bytes)}) {
    for (const int32_t id : *ids) bytes->push_back(id == streams.eod ? 0 : 1);
  }
  return streams;
}

absl::StatusOr<Streams> EncodeSubwords(const Documents& documents, const Split& split,
                                       const std::string& model) {
  Interner chunks;  // each distinct one is encoded once
  for (const std::string_view text : documents.all()) {
    ForEachChunk(text,
                 [&](size_t begin, size_t end) { chunks.Intern(text.substr(begin, end - begin)); });
  }
  ASSIGN_OR_RETURN(EncodedChunks encoded, EncodeChunks(model, chunks.strings()));
  Streams streams;
  streams.types = std::move(encoded.types);
  streams.eod = kSubwordEod;
  AppendPieces(documents, split.train, chunks, encoded, &streams.train, nullptr);
  AppendPieces(documents, split.valid, chunks, encoded, &streams.valid, &streams.valid_bytes);
  AppendPieces(documents, split.test, chunks, encoded, &streams.test, &streams.test_bytes);
  return streams;
}

std::vector<std::string_view> VocabularyText(const Documents& documents, const Split& split) {
  std::vector<std::string_view> texts;
  int64_t left = kVocabularyTokens;
  for (const int64_t i : split.train) {
    if (left <= 0) break;
    size_t end_of_part = 0;
    ForEachWord(LowerAscii(documents[i]), [&](size_t, size_t end) {
      if (left-- > 0) end_of_part = end;
    });
    --left;  // <eod>
    texts.push_back(documents[i].substr(0, end_of_part));
  }
  return texts;
}

namespace {

struct FileHeader {
  char magic[8] = {'s', 'f', 'r', 'n', 's', 't', 'r', '1'};
  int32_t id_bytes = 2;
  int32_t eod = 0;
  int64_t types = 0, types_bytes = 0;
  int64_t train = 0, valid = 0, test = 0;
};
static_assert(sizeof(FileHeader) == 56);

template <typename Stored, typename T>
void Append(const std::vector<T>& values, std::string* file) {
  const size_t at = file->size();
  file->resize(at + values.size() * sizeof(Stored));
  char* out = file->data() + at;
  for (const T value : values) {
    const Stored stored = static_cast<Stored>(value);
    std::memcpy(out, &stored, sizeof stored);
    out += sizeof stored;
  }
}

// The first `limit` of the `count` values at the front of `rest`, which is advanced past them all.
template <typename Stored, typename T>
void Take(std::string_view* rest, int64_t count, int64_t limit, std::vector<T>* values) {
  values->resize(std::min(count, limit));
  const char* in = rest->data();
  for (T& value : *values) {
    Stored stored;
    std::memcpy(&stored, in, sizeof stored);
    value = static_cast<T>(stored);
    in += sizeof stored;
  }
  rest->remove_prefix(count * sizeof(Stored));
}

template <typename Id>
void AppendIds(const Streams& streams, std::string* file) {
  Append<Id>(streams.train, file);
  Append<Id>(streams.valid, file);
  Append<Id>(streams.test, file);
}

template <typename Id>
void TakeIds(std::string_view* rest, const FileHeader& header, const StreamLimits& limits,
             Streams* streams) {
  Take<Id>(rest, header.train, limits.train, &streams->train);
  Take<Id>(rest, header.valid, limits.eval, &streams->valid);
  Take<Id>(rest, header.test, limits.eval, &streams->test);
}

}  // namespace

std::string StreamsFile(const Streams& streams) {
  FileHeader header;
  header.id_bytes = streams.types.size() <= 65536 ? 2 : 4;
  header.eod = streams.eod;
  header.types = static_cast<int64_t>(streams.types.size());
  for (const std::string& type : streams.types) header.types_bytes += 4 + type.size();
  header.train = static_cast<int64_t>(streams.train.size());
  header.valid = static_cast<int64_t>(streams.valid.size());
  header.test = static_cast<int64_t>(streams.test.size());

  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  for (const std::string& type : streams.types) {
    const auto length = static_cast<uint32_t>(type.size());
    file.append(reinterpret_cast<const char*>(&length), sizeof length).append(type);
  }
  if (header.id_bytes == 2) {
    AppendIds<uint16_t>(streams, &file);
  } else {
    AppendIds<uint32_t>(streams, &file);
  }
  Append<uint32_t>(streams.valid_bytes, &file);
  Append<uint32_t>(streams.test_bytes, &file);
  return file;
}

std::optional<Streams> ParseStreams(std::string_view file, const StreamLimits& limits) {
  FileHeader header;
  if (file.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, FileHeader().magic, sizeof header.magic) != 0) return std::nullopt;
  // The file's seal holds, so the header's numbers are those that StreamsFile wrote.
  std::string_view rest = file.substr(sizeof header);
  Streams streams;
  streams.eod = header.eod;
  streams.types.reserve(header.types);
  for (int64_t i = 0; i < header.types; ++i) {
    uint32_t length;
    std::memcpy(&length, rest.data(), sizeof length);
    streams.types.emplace_back(rest.substr(sizeof length, length));
    rest.remove_prefix(sizeof length + length);
  }
  if (header.id_bytes == 2) {
    TakeIds<uint16_t>(&rest, header, limits, &streams);
  } else {
    TakeIds<uint32_t>(&rest, header, limits, &streams);
  }
  Take<uint32_t>(&rest, header.valid, limits.eval, &streams.valid_bytes);
  Take<uint32_t>(&rest, header.test, limits.eval, &streams.test_bytes);
  return streams;
}

}  // namespace saffron
