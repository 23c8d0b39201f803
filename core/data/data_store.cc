#include "core/data/data_store.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/data/corpus.h"
#include "core/data/dataset_cache.h"
#include "core/data/files.h"
#include "core/data/images.h"
#include "core/data/split.h"
#include "core/data/text_loader.h"
#include "core/data/text_reader.h"
#include "core/data/word_tokenizer.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;

// Enough for the streams of a handful of variants, little beside a trial's own memory.
constexpr int64_t kDatasetBytesMax = 64ll << 20;

absl::Status CheckName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  const bool good = !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
                    std::all_of(name.begin(), name.end(), allowed);
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "corpus name: want 1 to 64 of a-z 0-9 . _ - and a letter, digit or _ first, got \"", name,
      "\""));
}

int64_t MemoryOf(const TextDataset& data) {
  int64_t bytes = sizeof data;
  for (const auto* ids : {&data.train, &data.valid, &data.test}) bytes += 4 * ids->capacity();
  for (const std::string& type : data.types) bytes += sizeof type + type.capacity();
  return bytes;
}

int64_t MemoryOf(const ImageDataset& data) {
  const auto values = data.train_x.size() + data.valid_x.size() + data.test_x.size();
  return static_cast<int64_t>(sizeof data + sizeof(float) * values);
}

int64_t WordsOf(const std::vector<std::string>& documents, const std::vector<int64_t>& part) {
  int64_t words = 0;
  for (const int64_t i : part) {
    words += 1;  // <eod>
    ForEachWord(LowerAscii(documents[i]), [&](size_t, size_t) { ++words; });
  }
  return words;
}

absl::Status CheckSplits(const std::string& name, const std::vector<std::string>& documents,
                         bool separated) {
  const auto count = static_cast<int64_t>(documents.size());
  if (count < kDocumentsMin) {
    return absl::InvalidArgumentError(absl::StrCat(
        "corpus \"", name, "\": want at least ", kDocumentsMin,
        " documents, so that training, validation and test each get some; got ", count,
        separated ? " (is the --separator line the one that the files use?)"
                  : " (one a file; --separator MARK splits files at lines that are MARK)"));
  }
  const Split split = SplitDocuments(count);
  RETURN_IF_ERROR(CheckEnoughToEvaluate(name, "validation", WordsOf(documents, split.valid)));
  return CheckEnoughToEvaluate(name, "test", WordsOf(documents, split.test));
}

// What `look` sees in a corpus's folder. A look that falls into a replacement sees the manifest of
// one corpus and the documents of the other: damage counts only when the manifest stood still
// meanwhile.
template <typename Look>
auto WhileItStands(const std::string& folder, Look look) {
  const auto stamp = [&folder] {
    const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
    return manifest.ok() ? manifest->modified_ns : -1;
  };
  auto seen = look();
  while (absl::IsDataLoss(seen.status())) {
    const int64_t before = stamp();
    seen = look();
    if (stamp() == before) break;
  }
  return seen;
}

int64_t HeldOutCopies(const std::vector<std::string>& documents) {
  const Split split = SplitDocuments(static_cast<int64_t>(documents.size()));
  std::unordered_set<std::string_view> trained;
  for (const int64_t i : split.train) trained.insert(documents[i]);
  const auto copies = [&](const std::vector<int64_t>& part) {
    return std::count_if(part.begin(), part.end(),
                         [&](int64_t i) { return trained.contains(documents[i]); });
  };
  return copies(split.valid) + copies(split.test);
}

std::string OriginOf(const std::vector<std::string>& files) {
  if (files.empty()) return "";
  if (files.size() == 1) return files[0];
  return absl::StrCat(files[0], " and ", files.size() - 1, " more");
}

}  // namespace

struct DataStore::Cache {
  DatasetCache datasets{kDatasetBytesMax};
  // Documents whose bytes were found right although their time of change is not the one they were
  // added with (a copied folder): the time at which they were, by fingerprint.
  std::mutex mutex;
  std::map<std::string, int64_t> verified;
};

DataStore::DataStore(std::string root)
    : root_(std::move(root)), cache_(std::make_shared<Cache>()) {}

std::string DataStore::DefaultRoot() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string data = variable("SAFFRON_DATA"); !data.empty()) return data;
  if (const std::string xdg = variable("XDG_DATA_HOME"); !xdg.empty()) return xdg + "/saffron";
  const std::string home = variable("HOME");
  return (home.empty() ? "." : home) + "/.local/share/saffron";
}

std::string DataStore::Folder(const std::string& name) const { return root_ + "/" + name; }

absl::Status DataStore::UnknownCorpus(const std::string& name) const {
  std::vector<std::string> names;
  if (const auto known = List(); known.ok()) {
    for (const CorpusInfo& info : *known) names.push_back(info.name);
  }
  const bool fetchable = name == "sotu" || name == "mnist";
  return absl::NotFoundError(absl::StrCat(
      "no corpus \"", name, "\" in ", root_,
      "; there is: ", names.empty() ? "nothing yet" : absl::StrJoin(names, ", "),
      fetchable ? absl::StrCat("; get it with `saffron data fetch ", name, "`")
                : absl::StrCat("; add it with `saffron data add ", name, " FILES...`")));
}

absl::StatusOr<Manifest> DataStore::FindManifest(const std::string& name) const {
  RETURN_IF_ERROR(CheckName(name));
  absl::StatusOr<Manifest> manifest = ReadManifest(Folder(name));
  if (absl::IsNotFound(manifest.status())) return UnknownCorpus(name);
  RETURN_IF_ERROR(manifest.status());
  ASSIGN_OR_RETURN(const int64_t modified_ns, ModifiedNs(Folder(name), *manifest));
  if (modified_ns == manifest->modified_ns) return manifest;
  {
    const std::lock_guard lock(cache_->mutex);
    const auto verified = cache_->verified.find(manifest->info.fingerprint);
    if (verified != cache_->verified.end() && verified->second == modified_ns) return manifest;
  }
  RETURN_IF_ERROR(Documents::Open(Folder(name), *manifest).status());
  const std::lock_guard lock(cache_->mutex);
  cache_->verified[manifest->info.fingerprint] = modified_ns;
  return manifest;
}

absl::StatusOr<CorpusInfo> DataStore::Find(const std::string& name) const {
  ASSIGN_OR_RETURN(Manifest manifest,
                   WhileItStands(Folder(name), [&] { return FindManifest(name); }));
  return std::move(manifest.info);
}

absl::Status DataStore::Check(const std::string& name, const std::string& fingerprint) const {
  return WhileItStands(Folder(name),
                       [&]() -> absl::StatusOr<bool> {
                         ASSIGN_OR_RETURN(const Manifest manifest, FindManifest(name));
                         if (manifest.info.fingerprint != fingerprint) {
                           return absl::FailedPreconditionError(absl::StrCat(
                               "corpus \"", name, "\" in ", root_, ": want fingerprint ",
                               fingerprint, ", found ", manifest.info.fingerprint));
                         }
                         RETURN_IF_ERROR(Documents::Open(Folder(name), manifest).status());
                         return true;
                       })
      .status();
}

absl::StatusOr<std::vector<CorpusInfo>> DataStore::List() const {
  std::vector<CorpusInfo> corpora;
  std::error_code error;
  for (fs::directory_iterator entry(root_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!CheckName(entry->path().filename().string()).ok()) continue;
    auto manifest = ReadManifest(entry->path().string());
    if (manifest.ok()) corpora.push_back(std::move(manifest->info));
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return FileError("list", root_, error.value());
  }
  std::sort(corpora.begin(), corpora.end(),
            [](const CorpusInfo& a, const CorpusInfo& b) { return a.name < b.name; });
  return corpora;
}

absl::StatusOr<CorpusInfo> DataStore::Add(CorpusInfo info,
                                          const std::vector<std::string_view>& documents,
                                          bool replace) {
  // Adding takes turns, so that two processes adding one name cannot mix their files.
  const std::string incoming = root_ + "/.incoming";
  RETURN_IF_ERROR(MakeFolders(incoming));
  ASSIGN_OR_RETURN(const FileLock lock, FileLock::Acquire(incoming + "/lock"));
  const std::string fresh = incoming + "/corpus";
  std::error_code ignored;
  fs::remove_all(fresh, ignored);  // what a killed process left
  const auto present = Find(info.name);
  if (present.ok()) {
    const std::string fingerprint = CorpusFingerprint(info.kind, documents);
    if (present->fingerprint == fingerprint) return *present;
    if (!replace) {
      return absl::AlreadyExistsError(absl::StrCat(
          "corpus \"", info.name, "\" exists and holds other bytes (its fingerprint begins with ",
          present->fingerprint.substr(0, 12), ", the new one's with ", fingerprint.substr(0, 12),
          "); choose another name, or --replace it: results on the old bytes keep their identity "
          "and are never mixed with those on the new"));
    }
  } else if (!absl::IsNotFound(present.status()) && !replace) {
    return present.status();
  }
  info.added = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  return WriteCorpus(fresh, Folder(info.name), info, documents);
}

absl::StatusOr<CorpusInfo> DataStore::AddText(const std::string& name,
                                              const std::vector<std::string>& files,
                                              const std::string& document_separator, bool replace,
                                              const std::string& origin) {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(const std::vector<std::string> documents,
                   ReadTextDocuments(files, document_separator));
  RETURN_IF_ERROR(CheckSplits(name, documents, !document_separator.empty()));
  CorpusInfo info;
  info.name = name;
  info.kind = CorpusKind::kText;
  info.origin = origin.empty() ? OriginOf(files) : origin;
  ASSIGN_OR_RETURN(info, Add(std::move(info), {documents.begin(), documents.end()}, replace));
  info.held_out_copies = HeldOutCopies(documents);
  return info;
}

absl::StatusOr<CorpusInfo> DataStore::AddMnist(const std::string& name,
                                               const std::string& digits_dir, bool replace,
                                               const std::string& origin) {
  RETURN_IF_ERROR(CheckName(name));
  ASSIGN_OR_RETURN(const std::vector<std::string> images, ReadMnistDigits(digits_dir));
  CorpusInfo info;
  info.name = name;
  info.kind = CorpusKind::kImages;
  info.origin = origin.empty() ? digits_dir : origin;
  return Add(std::move(info), {images.begin(), images.end()}, replace);
}

absl::StatusOr<std::shared_ptr<const TextDataset>> DataStore::Text(const TextRequest& request) {
  RETURN_IF_ERROR(CheckTextRequest(request));
  const auto look = [&]() -> absl::StatusOr<std::shared_ptr<const void>> {
    ASSIGN_OR_RETURN(const Manifest manifest, FindManifest(request.corpus));
    if (manifest.info.kind != CorpusKind::kText) {
      return absl::InvalidArgumentError(
          absl::StrCat("corpus \"", request.corpus, "\": want text, this one holds images"));
    }
    const std::string key =
        absl::StrCat(manifest.info.fingerprint, " ", request.tokenizer, " ", request.vocab, " ",
                     request.train_tokens, " ", request.eval_tokens);
    return cache_->datasets.GetOrLoad(key, [&]() -> absl::StatusOr<DatasetCache::Value> {
      ASSIGN_OR_RETURN(auto text, LoadText(Folder(request.corpus), manifest, request));
      const int64_t bytes = MemoryOf(*text);
      return DatasetCache::Value{std::move(text), bytes};
    });
  };
  ASSIGN_OR_RETURN(auto data, WhileItStands(Folder(request.corpus), look));
  return std::static_pointer_cast<const TextDataset>(data);
}

absl::StatusOr<std::shared_ptr<const ImageDataset>> DataStore::Images(const std::string& corpus) {
  const auto look = [&]() -> absl::StatusOr<std::shared_ptr<const void>> {
    ASSIGN_OR_RETURN(const Manifest manifest, FindManifest(corpus));
    if (manifest.info.kind != CorpusKind::kImages) {
      return absl::InvalidArgumentError(
          absl::StrCat("corpus \"", corpus, "\": want images, this one holds text"));
    }
    const auto load = [&]() -> absl::StatusOr<DatasetCache::Value> {
      ASSIGN_OR_RETURN(auto images, LoadImages(Folder(corpus), manifest));
      const int64_t bytes = MemoryOf(*images);
      return DatasetCache::Value{std::move(images), bytes};
    };
    return cache_->datasets.GetOrLoad(manifest.info.fingerprint, load);
  };
  ASSIGN_OR_RETURN(auto data, WhileItStands(Folder(corpus), look));
  return std::static_pointer_cast<const ImageDataset>(data);
}

}  // namespace saffron
