#include "core/data/corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

constexpr int kFormat = 1;

std::string ManifestPath(const std::string& folder) { return folder + "/corpus.json"; }

const char* KindName(CorpusKind kind) { return kind == CorpusKind::kText ? "text" : "images"; }

int64_t ModifiedNsOf(const struct stat& info) {
  return info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec;
}

std::string ManifestJson(const Manifest& manifest) {
  const CorpusInfo& info = manifest.info;
  nlohmann::ordered_json json;
  json["format"] = kFormat;
  json["name"] = info.name;
  json["kind"] = KindName(info.kind);
  json["fingerprint"] = info.fingerprint;
  json["documents"] = info.documents;
  json["bytes"] = info.bytes;
  json["origin"] = info.origin;
  json["added"] = info.added;
  json["modified_ns"] = manifest.modified_ns;
  json["lengths"] = manifest.lengths;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// Throws nlohmann's exceptions; ReadManifest turns them into DATA_LOSS.
Manifest ParseManifest(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  Manifest manifest;
  CorpusInfo& info = manifest.info;
  json.at("name").get_to(info.name);
  info.kind = json.at("kind") == "text" ? CorpusKind::kText : CorpusKind::kImages;
  json.at("fingerprint").get_to(info.fingerprint);
  json.at("documents").get_to(info.documents);
  json.at("bytes").get_to(info.bytes);
  json.at("origin").get_to(info.origin);
  json.at("added").get_to(info.added);
  json.at("modified_ns").get_to(manifest.modified_ns);
  json.at("lengths").get_to(manifest.lengths);
  return manifest;
}

bool Consistent(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const int64_t length : manifest.lengths) {
    if (length < 0 || length > manifest.info.bytes - bytes) return false;
    bytes += length;
  }
  return bytes == manifest.info.bytes &&
         static_cast<int64_t>(manifest.lengths.size()) == manifest.info.documents;
}

absl::Status Changed(const std::string& folder, const Manifest& manifest, const std::string& what) {
  const CorpusInfo& info = manifest.info;
  const std::string remedy =
      info.origin.starts_with("npm:")
          ? absl::StrCat("saffron data fetch ", info.name)
          : absl::StrCat("saffron data add ", info.name, " FILES... --replace");
  return absl::DataLossError(absl::StrCat(DocumentsPath(folder), ": was changed after corpus \"",
                                          info.name, "\" was added: ", what,
                                          "; put it right with `", remedy, "`"));
}

absl::Status SizeChanged(const std::string& folder, const Manifest& manifest, int64_t found) {
  return Changed(folder, manifest,
                 absl::StrCat("want ", manifest.info.bytes, " bytes, found ", found));
}

// Moves the complete folder `fresh` to `folder`, and what is there to `fresh`.
absl::Status PutInPlace(const std::string& fresh, const std::string& folder) {
  const auto renamed = [](const std::string& from, const std::string& to) {
    return ::rename(from.c_str(), to.c_str()) == 0;
  };
  if (renamed(fresh, folder)) return absl::OkStatus();
  if (errno != ENOTEMPTY && errno != EEXIST) return FileError("rename to", folder, errno);
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
    return absl::OkStatus();
  }
  // A file system that cannot exchange: the name is missing for a moment.
  const std::string aside = fresh + ".old";
  if (!renamed(folder, aside)) return FileError("rename", folder, errno);
  if (!renamed(fresh, folder)) {
    const int error = errno;
    renamed(aside, folder);
    return FileError("rename to", folder, error);
  }
  renamed(aside, fresh);
  return absl::OkStatus();
}

}  // namespace

std::string DocumentsPath(const std::string& folder) { return folder + "/documents.bin"; }

std::string CorpusFingerprint(CorpusKind kind, const std::vector<std::string_view>& documents) {
  Sha256 digest;
  digest.Update(
      absl::StrCat("saffron corpus ", kFormat, "\n", KindName(kind), " ", documents.size(), "\n"));
  for (const std::string_view document : documents) {
    digest.Update(absl::StrCat(document.size(), "\n"));
    digest.Update(document);
  }
  return digest.FinishHex();
}

absl::StatusOr<CorpusInfo> WriteCorpus(const std::string& fresh, const std::string& folder,
                                       CorpusInfo info,
                                       const std::vector<std::string_view>& documents) {
  Manifest manifest;
  manifest.info = std::move(info);
  for (const std::string_view document : documents) {
    manifest.lengths.push_back(static_cast<int64_t>(document.size()));
  }
  manifest.info.documents = static_cast<int64_t>(documents.size());
  manifest.info.bytes =
      std::accumulate(manifest.lengths.begin(), manifest.lengths.end(), int64_t{0});
  manifest.info.fingerprint = CorpusFingerprint(manifest.info.kind, documents);

  RETURN_IF_ERROR(MakeFolders(fresh));
  const auto write = [&]() -> absl::Status {
    RETURN_IF_ERROR(WriteFileDurably(DocumentsPath(fresh), documents));
    struct stat written;
    if (::stat(DocumentsPath(fresh).c_str(), &written) != 0) {
      return FileError("stat", DocumentsPath(fresh), errno);
    }
    manifest.modified_ns = ModifiedNsOf(written);
    RETURN_IF_ERROR(WriteFileDurably(ManifestPath(fresh), {ManifestJson(manifest)}));
    RETURN_IF_ERROR(PutInPlace(fresh, folder));
    return SyncFolderOf(folder);
  };
  const absl::Status status = write();
  std::error_code ignored;
  std::filesystem::remove_all(fresh, ignored);  // the old corpus now, or what could not be finished
  RETURN_IF_ERROR(status);
  return manifest.info;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(ManifestPath(folder)));
  const auto damaged = [&](const std::string& why) {
    return absl::DataLossError(absl::StrCat(ManifestPath(folder), ": damaged (", why,
                                            "); add the corpus again with --replace"));
  };
  try {
    Manifest manifest = ParseManifest(text);
    if (!Consistent(manifest)) return damaged("its document lengths do not add up");
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    return damaged(error.what());
  }
}

Documents::Documents(std::unique_ptr<const std::string> bytes, std::vector<std::string_view> texts)
    : bytes_(std::move(bytes)), texts_(std::move(texts)) {}

absl::StatusOr<Documents> Documents::Open(const std::string& folder, const Manifest& manifest) {
  ASSIGN_OR_RETURN(std::string read, ReadWholeFile(DocumentsPath(folder)));
  auto bytes = std::make_unique<const std::string>(std::move(read));
  if (static_cast<int64_t>(bytes->size()) != manifest.info.bytes) {
    return SizeChanged(folder, manifest, static_cast<int64_t>(bytes->size()));
  }
  std::string_view rest = *bytes;
  std::vector<std::string_view> texts;
  texts.reserve(manifest.lengths.size());
  for (const int64_t length : manifest.lengths) {
    texts.push_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  const std::string found = CorpusFingerprint(manifest.info.kind, texts);
  if (found != manifest.info.fingerprint) {
    return Changed(folder, manifest,
                   absl::StrCat("want fingerprint ", manifest.info.fingerprint, ", found ", found));
  }
  return Documents(std::move(bytes), std::move(texts));
}

absl::StatusOr<int64_t> ModifiedNs(const std::string& folder, const Manifest& manifest) {
  struct stat info;
  const std::string path = DocumentsPath(folder);
  if (::stat(path.c_str(), &info) != 0) {
    return Changed(folder, manifest, std::string(FileError("stat", path, errno).message()));
  }
  if (info.st_size != manifest.info.bytes) return SizeChanged(folder, manifest, info.st_size);
  return ModifiedNsOf(info);
}

}  // namespace saffron
