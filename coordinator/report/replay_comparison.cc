#include "coordinator/report/replay_comparison.h"

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

bool IsCompared(const std::string& key) {
  const MetricSpec* spec = FindMetric(key);
  return spec != nullptr && spec->deterministic;
}

bool SameBits(std::optional<double> a, std::optional<double> b) {
  if (!a.has_value() || !b.has_value()) return false;
  if (std::isnan(*a) || std::isnan(*b)) return std::isnan(*a) && std::isnan(*b);
  return std::bit_cast<uint64_t>(*a) == std::bit_cast<uint64_t>(*b);
}

// The value of a row's (value, kind): schema.sql, table metrics.
absl::StatusOr<double> ValueOf(const Cell& value, const Cell& kind) {
  const int64_t* code = std::get_if<int64_t>(&kind);
  if (code == nullptr) return absl::DataLossError("a metric without a kind");
  switch (*code) {
    case 1:
      return std::numeric_limits<double>::quiet_NaN();
    case 2:
      return std::numeric_limits<double>::infinity();
    case 3:
      return -std::numeric_limits<double>::infinity();
    default:
      break;
  }
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  return absl::DataLossError("a metric that is not a number");
}

Cell NumberCell(std::optional<double> value) {
  if (!value.has_value()) return std::monostate();
  return absl::StrFormat("%.17g", *value);
}

}  // namespace

std::vector<MetricDifference> CompareMetrics(const std::vector<MetricPoint>& stored,
                                             const std::vector<MetricPoint>& replayed) {
  std::map<std::pair<int64_t, std::string>, std::pair<std::optional<double>, std::optional<double>>>
      points;
  for (const MetricPoint& p : stored) points[{p.step.value_or(kEnd), p.key}].first = p.value;
  for (const MetricPoint& p : replayed) points[{p.step.value_or(kEnd), p.key}].second = p.value;
  std::vector<MetricDifference> differences;
  for (const auto& [at, values] : points) {
    const auto& [step, key] = at;
    if (!IsCompared(key) || SameBits(values.first, values.second)) continue;
    differences.push_back({key, step == kEnd ? std::nullopt : std::optional<int64_t>(step),
                           values.first, values.second});
  }
  return differences;
}

absl::StatusOr<std::vector<MetricPoint>> LoadMetrics(ReadSource& source, int64_t trial) {
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source.Query(absl::StrCat(
          "SELECT key, step, value, kind FROM metrics WHERE trial = ", trial,
          " UNION ALL SELECT key, NULL, value, kind FROM results WHERE trial = ", trial)));
  std::vector<MetricPoint> points;
  for (const std::vector<Cell>& row : table.rows) {
    MetricPoint point{.key = std::get<std::string>(row[0]), .step = std::nullopt};
    if (const auto* step = std::get_if<int64_t>(&row[1])) point.step = *step;
    ASSIGN_OR_RETURN(point.value, ValueOf(row[2], row[3]));
    points.push_back(std::move(point));
  }
  return points;
}

ResultTable DifferenceTable(const std::vector<MetricDifference>& differences) {
  ResultTable table{.columns = {"metric", "step", "stored", "replayed"}, .rows = {}};
  for (const MetricDifference& d : differences) {
    table.rows.push_back({d.key, d.step.has_value() ? Cell(*d.step) : Cell(std::monostate()),
                          NumberCell(d.stored), NumberCell(d.replayed)});
  }
  return table;
}

}  // namespace saffron
