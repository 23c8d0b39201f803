#pragma once
// Which corpora a worker cannot open.

#include <set>

#include "coordinator/scheduler/ids.h"

namespace saffron {

struct MissingCorpora {
  // So many can be named.
  static constexpr int kNamedMax = 64;

  std::set<CorpusId> named = {};
  bool more = false;  // any other one may be missing too

  bool empty() const { return named.empty() && !more; }
  // What reads no corpus can run anywhere.
  bool Has(CorpusId corpus) const { return corpus.value != 0 && (more || named.count(corpus) > 0); }
  bool operator==(const MissingCorpora&) const = default;
};

}  // namespace saffron
