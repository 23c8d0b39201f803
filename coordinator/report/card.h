#pragma once
// `saffron show` and `saffron diff`: everything known about one roadmap, variant or trial, and two
// of them side by side.

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/study.h"
#include "coordinator/report/table.h"

namespace saffron {

struct Thing {
  enum class Kind { kRoadmap, kVariant, kTrial };
  Kind kind = Kind::kTrial;
  int64_t id = 0;
};

// What `given` names: "roadmap/NAME", "variant/3", "variant/DIGEST", "trial/12"; shorter: the name
// of a roadmap, "last" (roadmap), a number (trial), the first characters of a variant's digest
// (four or more, unambiguous). NOT_FOUND otherwise, INVALID_ARGUMENT for an ambiguous digest.
absl::StatusOr<Thing> FindThing(ReadSource& source, const std::string& given);

// A thing on a card: titled sections of keys and values.
struct Card {
  struct Section {
    std::string title;  // "" for the head
    std::vector<std::pair<std::string, Cell>> rows;
  };
  std::vector<Section> sections;
};
absl::StatusOr<Card> MakeCard(ReadSource& source, const Thing& thing);
// kTable: keys and values in two columns. kJson: one object, a section an object inside. kCsv:
// columns section, key, value. kQuiet: the first value.
void PrintCard(const Card& card, const PrintOptions& options, std::ostream& out);

// Two variants or trials (of a variant: means over the seeds that succeeded). Columns key, a, b and
// difference: first the parameters that differ, then every metric that either has.
// INVALID_ARGUMENT when one is a roadmap.
absl::StatusOr<ResultTable> Diff(ReadSource& source, const Thing& a, const Thing& b);

}  // namespace saffron
