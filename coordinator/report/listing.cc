#include "coordinator/report/listing.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "coordinator/report/read_source.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

absl::Status UnknownColumn(const std::string& column, const std::vector<std::string>& own) {
  std::vector<std::string> known = own;
  for (const ParamSpec& param : AllParams()) known.push_back(param.key);
  for (const MetricSpec& metric : AllMetrics()) known.push_back(metric.key);
  const std::string nearest = NearestName(column, known);
  return absl::InvalidArgumentError(absl::StrCat(
      "no column '", column, "'; ",
      nearest.empty()
          ? absl::StrCat("want a parameter, a metric, or one of ", absl::StrJoin(own, ", "))
          : absl::StrCat("did you mean ", nearest, "?")));
}

// "Name" as an SQL identifier.
std::string Quoted(const std::string& column) { return absl::StrCat("\"", column, "\""); }

// The columns that a query mentions, each checked and with the expression that computes it.
class Columns {
 public:
  explicit Columns(ListRequest::What what) : what_(what) {}

  // Adds `column` if it is new. INVALID_ARGUMENT when there is none of that name.
  absl::Status Add(const std::string& column) {
    const auto& own = OwnColumns(what_);
    if (std::find(own.begin(), own.end(), column) != own.end()) return absl::OkStatus();
    if (FindParam(column) != nullptr) {
      params_.insert(column);
    } else if (FindMetric(column) != nullptr && column.find_first_of("\"'*") == column.npos) {
      metrics_.insert(column);
    } else {
      return UnknownColumn(column, own);
    }
    return absl::OkStatus();
  }

  std::string TrialExpressions() const {
    std::string sql;
    for (const std::string& key : params_) {
      absl::StrAppend(&sql, ", t.config ->> '$.\"", key, "\"' AS ", Quoted(key));
    }
    for (const std::string& key : metrics_) {
      absl::StrAppend(&sql,
                      ", (SELECT value FROM results WHERE trial = t.trial AND key = ", SqlText(key),
                      ") AS ", Quoted(key));
    }
    return sql;
  }
  std::string VariantExpressions() const {
    std::string sql;
    for (const std::string& key : params_) {
      absl::StrAppend(&sql, ", v.json ->> '$.\"", key, "\"' AS ", Quoted(key));
    }
    for (const std::string& key : metrics_) absl::StrAppend(&sql, ", m.", Quoted(key));
    return sql;
  }
  std::string VariantMeans() const {
    std::string sql;
    for (const std::string& key : metrics_) {
      absl::StrAppend(&sql, ", avg(CASE WHEN metric = ", SqlText(key), " THEN value END) AS ",
                      Quoted(key));
    }
    return sql;
  }

 private:
  ListRequest::What what_;
  std::set<std::string> params_, metrics_;
};

struct Filter {
  std::string column, op, value;
};

absl::StatusOr<Filter> ParseFilter(const std::string& text) {
  const size_t at = text.find_first_of("=<>!");
  if (at != text.npos && at > 0) {
    static constexpr absl::string_view kOps[] = {"!=", "<=", ">=", "==", "=", "<", ">"};
    for (const absl::string_view op : kOps) {
      if (!absl::StartsWith(absl::string_view(text).substr(at), op)) continue;
      return Filter{.column = std::string(absl::StripAsciiWhitespace(text.substr(0, at))),
                    .op = std::string(op),
                    .value = std::string(absl::StripAsciiWhitespace(text.substr(at + op.size())))};
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("filter: want COLUMN=VALUE, or != < <= > >= instead of =; got '", text, "'"));
}

// Numbers compare as numbers, everything else as text; JSON's booleans are 1 and 0 in SQLite.
std::string ValueSql(const std::string& value) {
  double number;
  if (value == "true") return "1";
  if (value == "false") return "0";
  if (absl::SimpleAtod(value, &number)) return absl::StrCat("(", value, " + 0)");
  return SqlText(value);
}

std::string InnerQuery(const ListRequest& request, const Columns& columns) {
  const std::string roadmaps = absl::StrJoin(request.roadmaps, ", ");
  if (request.what == ListRequest::What::kTrials) {
    return absl::StrCat(
        "SELECT t.*", columns.TrialExpressions(),
        " FROM v_trials t WHERE t.roadmap IN (SELECT name FROM roadmaps WHERE id IN (", roadmaps,
        "))");
  }
  return absl::StrCat(
      "SELECT r.name AS roadmap, rv.variant AS variant, substr(v.digest, 1, 12) AS digest, "
      "rv.position AS position, rv.block AS block, rv.role AS role, rv.label AS label, "
      "coalesce(s.trials, 0) AS trials, coalesce(s.succeeded, 0) AS succeeded, v.json AS config",
      columns.VariantExpressions(),
      " FROM roadmaps r JOIN roadmap_variants rv ON rv.roadmap = r.id AND rv.revision = r.revision "
      "JOIN variants v ON v.id = rv.variant "
      "LEFT JOIN (SELECT rt.roadmap, t.variant, count(*) AS trials, sum(t.state = 'succeeded') AS "
      "succeeded FROM roadmaps x JOIN roadmap_trials rt ON rt.roadmap = x.id AND rt.revision = "
      "x.revision JOIN trials t ON t.id = rt.trial GROUP BY 1, 2) s ON s.roadmap = r.id AND "
      "s.variant = rv.variant "
      "LEFT JOIN (SELECT roadmap, variant",
      columns.VariantMeans(),
      " FROM v_results WHERE state = 'succeeded' AND kind = 0 GROUP BY 1, 2) m ON m.roadmap = "
      "r.name "
      "AND m.variant = rv.variant WHERE r.id IN (",
      roadmaps, ")");
}

}  // namespace

absl::StatusOr<IdSelector> IdSelector::Parse(std::string_view text) {
  IdSelector selector;
  const absl::string_view all(text.data(), text.size());
  if (all == "all") return selector;
  for (const absl::string_view part : absl::StrSplit(all, ',')) {
    const std::pair<absl::string_view, absl::string_view> stepped =
        absl::StrSplit(part, absl::MaxSplits(':', 1));
    const std::vector<absl::string_view> ends = absl::StrSplit(stepped.first, '-');
    Range range{.first = 0, .last = 0, .step = 1};
    bool good = ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &range.first) &&
                absl::SimpleAtoi(ends.back(), &range.last) && range.first >= 0 &&
                range.first <= range.last;
    if (part.find(':') != part.npos) {
      good = good && ends.size() == 2 && absl::SimpleAtoi(stepped.second, &range.step) &&
             range.step > 0;
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat("want all, or numbers such as 7, 1-10 or 1-10:2,15; got '", all, "'"));
    }
    selector.ranges_.push_back(range);
  }
  return selector;
}

bool IdSelector::Matches(int64_t id) const {
  if (ranges_.empty()) return true;
  return std::any_of(ranges_.begin(), ranges_.end(), [id](const Range& range) {
    return id >= range.first && id <= range.last && (id - range.first) % range.step == 0;
  });
}

std::string IdSelector::Sql(std::string_view expression) const {
  if (ranges_.empty()) return "1";
  const absl::string_view x(expression.data(), expression.size());
  return absl::StrCat("(",
                      absl::StrJoin(ranges_, " OR ",
                                    [x](std::string* out, const Range& range) {
                                      absl::StrAppend(out, x, " BETWEEN ", range.first, " AND ",
                                                      range.last, " AND (", x, " - ", range.first,
                                                      ") % ", range.step, " = 0");
                                    }),
                      ")");
}

const std::vector<std::string>& OwnColumns(ListRequest::What what) {
  static const auto* const trial_columns = new std::vector<std::string>{
      "roadmap", "trial",      "variant",  "position",      "block",   "role",   "label",
      "seed",    "state",      "attempts", "failure_class", "message", "worker", "created",
      "ended",   "parameters", "flops",    "seconds",       "config"};
  static const auto* const variant_columns =
      new std::vector<std::string>{"roadmap", "variant", "digest", "position",  "block",
                                   "role",    "label",   "trials", "succeeded", "config"};
  return what == ListRequest::What::kTrials ? *trial_columns : *variant_columns;
}

absl::StatusOr<std::string> ListQuery(const ListRequest& request) {
  Columns columns(request.what);
  std::vector<std::string> selected, conditions;
  for (const std::string& column : request.columns) {
    RETURN_IF_ERROR(columns.Add(column));
    selected.push_back(Quoted(column));
  }
  for (const std::string& text : request.filters) {
    ASSIGN_OR_RETURN(const Filter filter, ParseFilter(text));
    RETURN_IF_ERROR(columns.Add(filter.column));
    conditions.push_back(
        absl::StrCat(Quoted(filter.column), " ", filter.op, " ", ValueSql(filter.value)));
  }
  if (!request.ids.empty()) {
    ASSIGN_OR_RETURN(const IdSelector ids, IdSelector::Parse(request.ids));
    conditions.push_back(ids.Sql(request.what == ListRequest::What::kTrials ? "trial" : "variant"));
  }
  std::string order = "roadmap, position";
  if (request.what == ListRequest::What::kTrials) order += ", seed, trial";
  if (!request.sort.empty()) {
    const bool descending = request.sort.front() == '-';
    const std::string column = request.sort.substr(descending);
    RETURN_IF_ERROR(columns.Add(column));
    order = absl::StrCat(Quoted(column), " IS NULL, ", Quoted(column),
                         descending ? " DESC, " : ", ", order);
  }
  std::string sql = absl::StrCat("SELECT ", absl::StrJoin(selected, ", "), " FROM (",
                                 InnerQuery(request, columns), ")");
  if (!conditions.empty()) {
    absl::StrAppend(&sql, " WHERE ", absl::StrJoin(conditions, " AND "));
  }
  absl::StrAppend(&sql, " ORDER BY ", order);
  if (request.limit > 0) absl::StrAppend(&sql, " LIMIT ", request.limit);
  return sql;
}

}  // namespace saffron
