#pragma once
// What trials need of their worker, and which of it a worker has not got.

#include <set>

#include "coordinator/scheduler/ids.h"

namespace saffron {

struct Needs {
  Needs() = default;
  Needs(CorpusId corpus, bool bf16 = false) : corpus(corpus), bf16(bf16) {}

  CorpusId corpus;    // that the trial reads
  bool bf16 = false;  // a CPU with AVX512-BF16

  friend auto operator<=>(const Needs&, const Needs&) = default;
};

struct Missing {
  // So many corpora can be named.
  static constexpr int kNamedMax = 64;

  std::set<CorpusId> named = {};  // corpora
  bool more = false;              // any other one may be missing too
  bool bf16 = false;              // and the CPU has no AVX512-BF16

  bool empty() const { return named.empty() && !more && !bf16; }
  // What reads no corpus can run anywhere.
  bool HasCorpus(CorpusId corpus) const {
    return corpus.value != 0 && (more || named.count(corpus) > 0);
  }
  // Whether any of it is missing.
  bool Has(const Needs& needs) const { return HasCorpus(needs.corpus) || (needs.bf16 && bf16); }
  bool operator==(const Missing&) const = default;
};

}  // namespace saffron
