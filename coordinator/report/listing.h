#pragma once
// `saffron list`: trials or variants of roadmaps, filtered, sorted and cut, as one SQL query.
// Nothing here reads a database.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace saffron {

// Which of the numbered things are meant: "all", or "1-10:2,15" (from 1 to 10 in steps of 2, and
// 15).
class IdSelector {
 public:
  // INVALID_ARGUMENT for anything else, empty ranges included.
  static absl::StatusOr<IdSelector> Parse(std::string_view text);
  bool Matches(int64_t id) const;
  // The same as a condition on an SQL expression: "(x BETWEEN 1 AND 10 AND (x - 1) % 2 = 0 OR x =
  // 15)".
  std::string Sql(std::string_view expression) const;

 private:
  struct Range {
    int64_t first, last, step;
  };
  std::vector<Range> ranges_;  // empty: all
};

struct ListRequest {
  enum class What { kTrials, kVariants };
  What what = What::kTrials;
  std::vector<int64_t> roadmaps = {};
  // Columns to print: what a trial or variant has of its own ("trial", "state", "label"), a
  // parameter
  // ("model.bits") or a final metric ("test/perplexity"; of a variant, the mean over its seeds).
  std::vector<std::string> columns = {};
  // "COLUMN OP VALUE" with = != < <= > >=, such as "model.bits=64", "test/perplexity<110".
  std::vector<std::string> filters = {};
  // A column, with '-' before it for descending; empty: the roadmap's order. NULLs come last.
  std::string sort = {};
  int64_t limit = 0;     // 0: all
  std::string ids = {};  // IdSelector on trial (or variant) ids; empty: all
};

// INVALID_ARGUMENT names the column that does not exist and the nearest that does, or the filter
// that cannot be read.
absl::StatusOr<std::string> ListQuery(const ListRequest& request);

// What a trial or variant has of its own.
const std::vector<std::string>& OwnColumns(ListRequest::What what);

}  // namespace saffron
