#include "coordinator/report/card.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "coordinator/report/json.h"
#include "coordinator/report/number_format.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

constexpr size_t kDigestPrefixMin = 4;

using Rows = std::vector<std::pair<std::string, Cell>>;

bool IsDigestPrefix(const std::string& text) {
  return text.size() >= kDigestPrefixMin && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c)) && !absl::ascii_isupper(c);
         });
}

absl::StatusOr<Thing> FindVariant(ReadSource& source, const std::string& digest) {
  ASSIGN_OR_RETURN(const ResultTable found,
                   source.Query(absl::StrCat(
                       "SELECT id, digest FROM variants WHERE substr(digest, 1, ", digest.size(),
                       ") = ", SqlText(digest), " ORDER BY digest LIMIT 2")));
  if (found.rows.empty()) {
    return absl::NotFoundError(absl::StrCat("no variant whose digest begins with ", digest));
  }
  if (found.rows.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than one variant's digest begins with ", digest, ": write more of it"));
  }
  return Thing{Thing::Kind::kVariant, std::get<int64_t>(found.rows[0][0])};
}

// `id` when the table has such a row.
absl::StatusOr<Thing> FindNumbered(ReadSource& source, Thing::Kind kind, const char* table,
                                   const char* what, int64_t id) {
  ASSIGN_OR_RETURN(const ResultTable found,
                   source.Query(absl::StrCat("SELECT (SELECT count(*) FROM ", table, " WHERE id = ",
                                             id, "), (SELECT max(id) FROM ", table, ")")));
  if (found.rows.at(0)[0] == Cell(int64_t{1})) return Thing{kind, id};
  const std::string highest = ExactCell(found.rows.at(0)[1]);
  return absl::NotFoundError(absl::StrCat(
      "no ", what, " ", id,
      highest.empty() ? "; there are none yet" : absl::StrCat("; the last is ", highest)));
}

// Rows of the first result row, a pair for each column.
Rows FirstRow(const ResultTable& table) {
  Rows rows;
  for (size_t i = 0; !table.rows.empty() && i < table.columns.size(); ++i) {
    rows.emplace_back(table.columns[i], table.rows[0][i]);
  }
  return rows;
}

// Rows of a result of two columns, key and value.
Rows KeyValues(const ResultTable& table) {
  Rows rows;
  for (const auto& row : table.rows) rows.emplace_back(ExactCell(row[0]), row[1]);
  return rows;
}

std::string ParamsSql(int64_t variant) {
  return absl::StrCat(
      "SELECT j.key, CASE j.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE ",
      "j.value END FROM variants v, json_each(v.json) j WHERE v.id = ", variant, " ORDER BY j.key");
}
std::string TrialMetricsSql(int64_t trial) {
  return absl::StrCat(
      "SELECT key, CASE kind WHEN 0 THEN value WHEN 1 THEN 'nan' WHEN 2 THEN 'inf' ELSE ",
      "'-inf' END FROM results WHERE trial = ", trial, " ORDER BY key");
}
// Means over the seeds that succeeded with a finite value, whatever roadmap asked for the trials.
std::string VariantMetricsSql(int64_t variant) {
  return absl::StrCat("SELECT m.key, avg(m.value) FROM trials t JOIN results m ON m.trial = t.id ",
                      "WHERE t.state = 'succeeded' AND m.kind = 0 AND t.variant = ", variant,
                      " GROUP BY m.key ORDER BY m.key");
}
constexpr char kTime[] = "strftime('%Y-%m-%dT%H:%M:%fZ', ";

absl::StatusOr<Card> TrialCard(ReadSource& source, int64_t id) {
  Card card;
  const std::string where = absl::StrCat(" WHERE t.id = ", id);
  ASSIGN_OR_RETURN(
      const ResultTable head,
      source.Query(absl::StrCat(
          "SELECT t.id AS trial, t.state AS state, t.seed AS seed, t.variant AS variant, "
          "substr(v.digest, 1, 12) AS digest, (SELECT group_concat(r.name, ', ') FROM roadmaps r "
          "JOIN "
          "roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision WHERE rt.trial = "
          "t.id) "
          "AS roadmaps, (SELECT 'trial ' || t.parent || coalesce(' (' || a.role || ' checkpoint ' "
          "|| substr(a.sha256, 1, 12) || ', step ' || a.step || ')', '') FROM variants x "
          "LEFT JOIN artifacts a ON a.id = (SELECT y.id FROM artifacts y WHERE y.trial = t.parent "
          "AND y.kind = 'checkpoint' AND y.role = x.init_checkpoint ORDER BY y.attempt DESC, "
          "y.id DESC LIMIT 1) WHERE x.id = t.variant AND t.parent IS NOT NULL) AS starts_from, "
          "t.failure_class AS failure_class, nullif(t.message, '') AS message, ",
          kTime, "t.created_us / 1e6, 'unixepoch') AS created, ", kTime,
          "t.ended_us / 1e6, 'unixepoch') AS ended, t.numerics AS numerics, d.fingerprint AS data "
          "FROM trials t JOIN variants v ON v.id = t.variant JOIN datasets d ON d.id = t.data",
          where)));
  Rows facts = FirstRow(head);
  int64_t variant = 0;
  for (const auto& [key, value] : facts) {
    if (key == "variant") variant = std::get<int64_t>(value);
  }
  std::erase_if(facts, [](const auto& row) { return row.second == Cell(); });
  card.sections.push_back({"", std::move(facts)});
  ASSIGN_OR_RETURN(const ResultTable params, source.Query(ParamsSql(variant)));
  card.sections.push_back({"parameters", KeyValues(params)});
  ASSIGN_OR_RETURN(const ResultTable metrics, source.Query(TrialMetricsSql(id)));
  card.sections.push_back({"metrics", KeyValues(metrics)});
  ASSIGN_OR_RETURN(
      const ResultTable curves,
      source.Query(absl::StrCat(
          "SELECT key, printf('%.4g at step %d … %.4g at step %d (%d points)', "
          "(SELECT value FROM metrics WHERE trial = m.trial AND key = m.key ORDER BY step LIMIT "
          "1), "
          "min(step), (SELECT value FROM metrics WHERE trial = m.trial AND key = m.key "
          "ORDER BY step DESC LIMIT 1), max(step), count(*)) FROM metrics m WHERE trial = ",
          id, " GROUP BY key ORDER BY key")));
  card.sections.push_back({"curves", KeyValues(curves)});
  ASSIGN_OR_RETURN(
      const ResultTable attempts,
      source.Query(absl::StrCat(
          "SELECT a.number, coalesce(a.outcome, 'running') || coalesce(' (' || a.failure_class || "
          "')', "
          "'') || ' on ' || w.name || printf(', %.2f s', (coalesce(a.ended_us, a.assigned_us) - "
          "a.assigned_us) / 1e6) || CASE a.message WHEN '' THEN '' ELSE ': ' || a.message END "
          "FROM attempts a JOIN workers w ON w.id = a.worker WHERE a.trial = ",
          id, " ORDER BY a.number")));
  card.sections.push_back({"attempts", KeyValues(attempts)});
  // Where they are in FILE.artifacts.
  ASSIGN_OR_RETURN(
      const ResultTable files,
      source.Query(absl::StrCat(
          "SELECT CASE role WHEN '' THEN kind ELSE role || ' ' || kind END, "
          "printf('%s/%s (%d bytes, step %d)', substr(sha256, 1, 2), substr(sha256, 3), bytes, "
          "step) FROM artifacts WHERE trial = ",
          id, " AND deleted_us IS NULL GROUP BY kind, role HAVING id = max(id) ORDER BY id")));
  card.sections.push_back({"files", KeyValues(files)});
  return card;
}

absl::StatusOr<Card> VariantCard(ReadSource& source, int64_t id) {
  Card card;
  ASSIGN_OR_RETURN(
      const ResultTable head,
      source.Query(absl::StrCat(
          "SELECT v.id AS variant, v.digest AS digest, (SELECT group_concat(r.name || ' (' || "
          "rv.block "
          "|| ')', ', ') FROM roadmaps r JOIN roadmap_variants rv ON rv.roadmap = r.id AND "
          "rv.revision = "
          "r.revision WHERE rv.variant = v.id) AS roadmaps, CASE WHEN v.parent IS NOT NULL THEN "
          "'variant ' || v.parent || ', its ' || v.init_checkpoint || ' checkpoint' || coalesce(', "
          "grown by ' || nullif((SELECT group_concat(o.value, ', ') FROM json_each(v.init_derive) "
          "o), ''), '') END AS starts_from, v.parameters AS estimated_parameters, "
          "v.flops AS estimated_flops, v.seconds AS estimated_seconds FROM variants v WHERE v.id "
          "= ",
          id)));
  Rows facts = FirstRow(head);
  std::erase_if(facts,
                [](const auto& row) { return row.first == "starts_from" && row.second == Cell(); });
  card.sections.push_back({"", std::move(facts)});
  ASSIGN_OR_RETURN(const ResultTable params, source.Query(ParamsSql(id)));
  card.sections.push_back({"parameters", KeyValues(params)});
  ASSIGN_OR_RETURN(const ResultTable metrics, source.Query(VariantMetricsSql(id)));
  card.sections.push_back({"metrics", KeyValues(metrics)});
  ASSIGN_OR_RETURN(
      const ResultTable trials,
      source.Query(absl::StrCat("SELECT 'trial ' || id, state || ', seed ' || seed FROM ",
                                "trials WHERE variant = ", id, " ORDER BY seed, id")));
  card.sections.push_back({"trials", KeyValues(trials)});
  return card;
}

absl::StatusOr<Card> RoadmapCard(ReadSource& source, int64_t id) {
  Card card;
  const std::string current = absl::StrCat(
      " FROM roadmaps r JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision ",
      "WHERE r.id = ", id);
  ASSIGN_OR_RETURN(
      const ResultTable head,
      source.Query(absl::StrCat(
          "SELECT r.name AS roadmap, r.id AS id, v.revision AS revision, v.question AS question, "
          "v.metric AS metric, v.goal AS goal, ",
          kTime,
          "v.submitted_us / 1e6, 'unixepoch') AS submitted, (SELECT count(*) FROM "
          "roadmap_variants x WHERE x.roadmap = r.id AND x.revision = r.revision) AS variants, "
          "(SELECT "
          "count(*) FROM roadmap_trials x WHERE x.roadmap = r.id AND x.revision = r.revision) AS "
          "trials",
          current)));
  card.sections.push_back({"", FirstRow(head)});
  ASSIGN_OR_RETURN(const ResultTable states,
                   source.Query(absl::StrCat(
                       "SELECT t.state, count(*) FROM roadmaps r JOIN roadmap_trials rt ON "
                       "rt.roadmap = r.id AND rt.revision = r.revision JOIN trials t ON t.id = "
                       "rt.trial WHERE r.id = ",
                       id, " GROUP BY 1 ORDER BY 1")));
  card.sections.push_back({"states", KeyValues(states)});
  ASSIGN_OR_RETURN(const ResultTable blocks,
                   source.Query(absl::StrCat(
                       "SELECT b.block, count(*) FROM roadmaps r JOIN roadmap_blocks b ON "
                       "b.roadmap = r.id AND b.revision = r.revision JOIN roadmap_variants rv "
                       "ON rv.roadmap = r.id AND rv.revision = r.revision AND rv.variant = "
                       "b.variant WHERE r.id = ",
                       id, " GROUP BY 1 ORDER BY min(rv.position)")));
  card.sections.push_back({"variants by block", KeyValues(blocks)});
  ASSIGN_OR_RETURN(
      const ResultTable revisions,
      source.Query(absl::StrCat("SELECT 'revision ' || revision, ", kTime,
                                "submitted_us / 1e6, 'unixepoch') FROM revisions WHERE ",
                                "roadmap = ", id, " ORDER BY revision")));
  card.sections.push_back({"revisions", KeyValues(revisions)});
  return card;
}

struct Facts {
  Rows params, metrics;
};

absl::StatusOr<Facts> FactsOf(ReadSource& source, const Thing& thing) {
  if (thing.kind == Thing::Kind::kRoadmap) {
    return absl::InvalidArgumentError("want two trials or variants to compare, got a roadmap");
  }
  int64_t variant = thing.id;
  std::string metrics_sql = VariantMetricsSql(thing.id);
  if (thing.kind == Thing::Kind::kTrial) {
    ASSIGN_OR_RETURN(
        const ResultTable of,
        source.Query(absl::StrCat("SELECT variant, seed FROM trials WHERE id = ", thing.id)));
    variant = std::get<int64_t>(of.rows.at(0)[0]);
    metrics_sql = TrialMetricsSql(thing.id);
  }
  ASSIGN_OR_RETURN(const ResultTable params, source.Query(ParamsSql(variant)));
  ASSIGN_OR_RETURN(const ResultTable metrics, source.Query(metrics_sql));
  Facts facts{KeyValues(params), KeyValues(metrics)};
  if (thing.kind == Thing::Kind::kTrial) {
    ASSIGN_OR_RETURN(
        const ResultTable seed,
        source.Query(absl::StrCat("SELECT 'seed', seed FROM trials WHERE id = ", thing.id)));
    facts.params.push_back({"seed", seed.rows.at(0)[1]});
  }
  return facts;
}

// The two lists merged by key, in order: key, a's value, b's value.
std::map<std::string, std::pair<Cell, Cell>> Merge(const Rows& a, const Rows& b) {
  std::map<std::string, std::pair<Cell, Cell>> merged;
  for (const auto& [key, value] : a) merged[key].first = value;
  for (const auto& [key, value] : b) merged[key].second = value;
  return merged;
}

}  // namespace

absl::StatusOr<Thing> FindThing(ReadSource& source, const std::string& given) {
  const size_t slash = given.find('/');
  const std::string kind = slash == given.npos ? "" : given.substr(0, slash);
  const std::string rest = slash == given.npos ? given : given.substr(slash + 1);
  int64_t id = 0;
  const bool numeric = absl::SimpleAtoi(rest, &id);
  if (kind == "roadmap") {
    ASSIGN_OR_RETURN(const RoadmapName roadmap, FindRoadmap(source, rest));
    return Thing{Thing::Kind::kRoadmap, roadmap.id};
  }
  if (kind == "variant" && numeric && rest.size() < 12) {
    return FindNumbered(source, Thing::Kind::kVariant, "variants", "variant", id);
  }
  if (kind == "variant" && IsDigestPrefix(rest)) return FindVariant(source, rest);
  if ((kind == "trial" || kind.empty()) && numeric) {
    return FindNumbered(source, Thing::Kind::kTrial, "trials", "trial", id);
  }
  if (!kind.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want roadmap/NAME, variant/NUMBER, variant/DIGEST or trial/NUMBER; got '", given, "'"));
  }
  const absl::StatusOr<RoadmapName> roadmap = FindRoadmap(source, given);
  if (roadmap.ok()) return Thing{Thing::Kind::kRoadmap, roadmap->id};
  if (IsDigestPrefix(given)) return FindVariant(source, given);
  return roadmap.status();
}

absl::StatusOr<Card> MakeCard(ReadSource& source, const Thing& thing) {
  switch (thing.kind) {
    case Thing::Kind::kRoadmap:
      return RoadmapCard(source, thing.id);
    case Thing::Kind::kVariant:
      return VariantCard(source, thing.id);
    case Thing::Kind::kTrial:
      return TrialCard(source, thing.id);
  }
  return absl::InternalError("a thing of no kind");
}

void PrintCard(const Card& card, const PrintOptions& options, std::ostream& out) {
  if (options.mode == OutputMode::kJson) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const Card::Section& section : card.sections) {
      nlohmann::ordered_json& object = section.title.empty() ? json : json[section.title];
      if (object.is_null()) object = nlohmann::ordered_json::object();
      for (const auto& [key, value] : section.rows) object[key] = CellJson(value);
    }
    out << JsonText(json, 1) << "\n";
    return;
  }
  ResultTable flat{.columns = {"section", "key", "value"}, .rows = {}};
  for (const Card::Section& section : card.sections) {
    for (const auto& [key, value] : section.rows) flat.rows.push_back({section.title, key, value});
  }
  if (options.mode == OutputMode::kCsv) return PrintResult(flat, options, out);
  if (options.mode == OutputMode::kQuiet) {
    if (!flat.rows.empty()) out << ExactCell(flat.rows[0][2]) << "\n";
    return;
  }
  size_t width = 0;
  for (const auto& row : flat.rows) width = std::max(width, ExactCell(row[1]).size());
  for (const Card::Section& section : card.sections) {
    if (section.rows.empty()) continue;
    if (!section.title.empty()) {
      out << "\n"
          << (options.colour ? "\033[1m" : "") << section.title << (options.colour ? "\033[0m" : "")
          << "\n";
    }
    for (const auto& [key, value] : section.rows) {
      out << "  " << key << std::string(width - key.size() + 2, ' ') << FormatCell(value) << "\n";
    }
  }
}

absl::StatusOr<ResultTable> Diff(ReadSource& source, const Thing& a, const Thing& b) {
  ASSIGN_OR_RETURN(const Facts left, FactsOf(source, a));
  ASSIGN_OR_RETURN(const Facts right, FactsOf(source, b));
  ResultTable table{.columns = {"key", "a", "b", "difference"}, .rows = {}};
  for (const auto& [key, values] : Merge(left.params, right.params)) {
    if (values.first != values.second) {
      table.rows.push_back({key, values.first, values.second, Cell()});
    }
  }
  for (const auto& [key, values] : Merge(left.metrics, right.metrics)) {
    Cell difference;
    const double* x = std::get_if<double>(&values.first);
    const double* y = std::get_if<double>(&values.second);
    if (x && y) difference = *y - *x;
    table.rows.push_back({key, values.first, values.second, difference});
  }
  return table;
}

}  // namespace saffron
