#include "core/data/text_loader.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"
#include "core/data/split.h"
#include "core/data/streams.h"
#include "core/data/subword.h"

namespace saffron {
namespace {

// Part of every encoding's key: bump it when the same request would give other ids.
constexpr int kEncodingVersion = 1;

int64_t BytesBehindTargets(const std::vector<uint32_t>& bytes) {
  int64_t sum = 0;
  for (size_t t = kEvalContext; t < bytes.size(); ++t) sum += bytes[t];
  return sum;
}

std::shared_ptr<const TextDataset> MakeTextDataset(const CorpusInfo& info,
                                                   const std::string& tokenizer, int vocab,
                                                   Streams streams) {
  auto data = std::make_shared<TextDataset>();
  data->fingerprint = info.fingerprint;
  data->vocab = vocab;
  data->stream_key = Sha256Hex(absl::StrCat("streams ", kEncodingVersion, "\n", info.fingerprint,
                                            "\n", tokenizer, "\n", data->vocab));
  for (auto* ids : {&streams.train, &streams.valid, &streams.test}) {
    for (int32_t& id : *ids) id = id < data->vocab ? id : 0;
  }
  data->eod = streams.eod < data->vocab ? streams.eod : 0;
  streams.types.resize(data->vocab);
  data->types = std::move(streams.types);
  data->train = std::move(streams.train);
  data->valid = std::move(streams.valid);
  data->test = std::move(streams.test);
  data->valid_target_bytes = BytesBehindTargets(streams.valid_bytes);
  data->test_target_bytes = BytesBehindTargets(streams.test_bytes);
  return data;
}

std::optional<Streams> CachedStreams(const std::string& path, const StreamLimits& limits) {
  const auto file = ReadSealedFile(path);
  if (!file.ok()) return std::nullopt;
  return ParseStreams(*file, limits);
}

Streams Cut(Streams streams, const StreamLimits& limits) {
  const auto cut = [](auto& values, int64_t limit) {
    if (static_cast<int64_t>(values.size()) <= limit) return;
    values.resize(limit);
    values.shrink_to_fit();
  };
  cut(streams.train, limits.train);
  cut(streams.valid, limits.eval);
  cut(streams.test, limits.eval);
  cut(streams.valid_bytes, limits.eval);
  cut(streams.test_bytes, limits.eval);
  return streams;
}

// What processes that were killed while writing left. Writers hold the cache's lock.
void RemoveUnfinished(const std::string& cache) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(cache, ignored)) {
    if (entry.path().extension() == ".tmp") std::filesystem::remove(entry.path(), ignored);
  }
}

// Streams from the cache file named `key`, else from `encode`, whose result is stored. Where the
// disk refuses, only the caching is lost.
absl::StatusOr<Streams> CachedOrEncoded(const std::string& folder, const std::string& key,
                                        const StreamLimits& limits,
                                        const std::function<absl::StatusOr<Streams>()>& encode) {
  const std::string cache = folder + "/cache";
  const std::string path = absl::StrCat(cache, "/", key, ".streams");
  if (auto cached = CachedStreams(path, limits)) return *std::move(cached);
  std::optional<FileLock> lock;
  if (MakeFolders(cache).ok()) {
    // So that of several processes one does the work. Whoever waited looks again.
    if (auto held = FileLock::Acquire(cache + "/lock"); held.ok()) lock.emplace(*std::move(held));
    if (auto cached = CachedStreams(path, limits)) return *std::move(cached);
  }
  if (lock) RemoveUnfinished(cache);
  ASSIGN_OR_RETURN(Streams streams, encode());
  if (lock) WriteSealedFile(path, StreamsFile(streams)).IgnoreError();
  return Cut(std::move(streams), limits);
}

// Pieces of the model in the file `model_path`, which is trained and stored there first if missing.
absl::StatusOr<Streams> EncodeWithModel(const std::string& model_path, const Documents& documents,
                                        const Split& split, const TextRequest& request) {
  absl::StatusOr<std::string> model = ReadSealedFile(model_path);
  if (!model.ok()) {
    model = TrainSubwords(request.tokenizer, request.vocab, VocabularyText(documents, split));
    if (!model.ok()) {
      return absl::Status(model.status().code(),
                          absl::StrCat("corpus \"", request.corpus, "\", data.tokenizer ",
                                       request.tokenizer, ": ", model.status().message()));
    }
    WriteSealedFile(model_path, *model).IgnoreError();
  }
  return EncodeSubwords(documents, split, *model);
}

}  // namespace

absl::Status CheckTextRequest(const TextRequest& request) {
  static const auto* const tokenizers = new std::set<std::string>{"word", "byte", "bpe", "unigram"};
  if (tokenizers->count(request.tokenizer) == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data.tokenizer: want word, byte, bpe or unigram, got \"", request.tokenizer, "\""));
  }
  if (request.vocab < 2 && request.tokenizer != "byte") {
    return absl::InvalidArgumentError(
        absl::StrCat("data.vocab: want at least 2, got ", request.vocab));
  }
  if (request.train_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.tokens: want at least 1, got ", request.train_tokens));
  }
  if (request.eval_tokens <= kEvalContext) {
    return absl::InvalidArgumentError(absl::StrCat("data.eval_tokens: want more than ",
                                                   kEvalContext, ", got ", request.eval_tokens));
  }
  return absl::OkStatus();
}

absl::Status CheckEnoughToEvaluate(const std::string& corpus, std::string_view part,
                                   int64_t tokens) {
  if (tokens > kEvalContext) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "corpus \"", corpus, "\": its ", std::string(part), " documents have only ", tokens,
      " tokens; want more than ", kEvalContext, ", the context before the first target"));
}

absl::StatusOr<std::shared_ptr<const TextDataset>> LoadText(const std::string& folder,
                                                            const Manifest& manifest,
                                                            const TextRequest& request) {
  const Split split = SplitDocuments(manifest.info.documents);
  const StreamLimits limits = {.train = request.train_tokens, .eval = request.eval_tokens};
  const bool by_word = request.tokenizer == "word";
  // One encoding by word serves every vocabulary.
  const std::string key =
      absl::StrCat(by_word ? "word" : absl::StrCat(request.tokenizer, "-", request.vocab), "-v",
                   kEncodingVersion, "-", manifest.info.fingerprint.substr(0, 16));
  const auto encode = [&]() -> absl::StatusOr<Streams> {
    ASSIGN_OR_RETURN(const Documents documents, Documents::Open(folder, manifest));
    if (request.tokenizer == "byte") return EncodeBytes(documents, split, limits);
    if (by_word) return EncodeWords(documents, split);
    return EncodeWithModel(absl::StrCat(folder, "/cache/", key, ".model"), documents, split,
                           request);
  };
  // Bytes need no cache: the documents are as near.
  ASSIGN_OR_RETURN(Streams streams, request.tokenizer == "byte"
                                        ? encode()
                                        : CachedOrEncoded(folder, key, limits, encode));
  const auto types = static_cast<int>(streams.types.size());
  const int vocab = by_word ? std::min(request.vocab, types) : types;
  RETURN_IF_ERROR(CheckEnoughToEvaluate(request.corpus, "validation", streams.valid.size()));
  RETURN_IF_ERROR(CheckEnoughToEvaluate(request.corpus, "test", streams.test.size()));
  return MakeTextDataset(manifest.info, request.tokenizer, vocab, std::move(streams));
}

}  // namespace saffron
