#include "coordinator/store/integrity.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// A rule, and a query whose rows say in a sentence each where it is broken.
struct Rule {
  const char* name;
  const char* sql;
};

#define SAFFRON_RESULT_STATES "('succeeded', 'diverged', 'pruned')"
#define SAFFRON_STATE_EVENTS \
  "('queued', 'leased', 'recovered', 'succeeded', 'diverged', 'pruned', 'failed', 'cancelled')"

constexpr Rule kRules[] = {
    // ---- Attempts
    {"attempts are numbered 1, 2, ... without holes",
     "SELECT 'trial ' || t.id || ' counts ' || t.attempts || ' attempts and has ' || "
     "count(a.number) "
     "|| ', numbered up to ' || coalesce(max(a.number), 0) FROM trials t "
     "LEFT JOIN attempts a ON a.trial = t.id GROUP BY t.id "
     "HAVING count(a.number) <> t.attempts OR coalesce(max(a.number), 0) <> t.attempts "
     "OR min(a.number) < 1"},
    {"an attempt without an outcome stands for a lease, and only for one",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ' with ' || count(a.number) || "
     "' open attempts' FROM trials t LEFT JOIN attempts a ON a.trial = t.id AND a.outcome IS NULL "
     "GROUP BY t.id HAVING count(a.number) <> (t.state = 'leased')"},
    {"the attempt of a lease is the newest",
     "SELECT 'attempt ' || a.number || ' of trial ' || t.id || ' is open, but not its newest' "
     "FROM attempts a JOIN trials t ON t.id = a.trial "
     "WHERE a.outcome IS NULL AND a.number <> t.attempts"},
    {"an attempt has an end where it has an outcome, and a class where it failed",
     "SELECT 'attempt ' || number || ' of trial ' || trial FROM attempts "
     "WHERE (ended_us IS NULL) <> (outcome IS NULL) "
     "OR (failure_class IS NULL) <> (outcome IS NOT 'failed')"},
    {"a worker that left has no attempt in hand",
     "SELECT 'worker ' || w.name || ' left with attempt ' || a.number || ' of trial ' || a.trial "
     "FROM attempts a JOIN workers w ON w.id = a.worker "
     "WHERE a.outcome IS NULL AND w.left_us IS NOT NULL"},
    // ---- Results
    {"a trial has a result by exactly one attempt, of the same outcome",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ' and has ' || count(a.number) || "
     "' attempts with a result' FROM trials t LEFT JOIN attempts a ON a.trial = t.id "
     "AND a.outcome IN " SAFFRON_RESULT_STATES " GROUP BY t.id "
     "HAVING count(a.number) <> (t.state IN " SAFFRON_RESULT_STATES ") "
     "OR (count(a.number) = 1 AND max(a.outcome) <> t.state)"},
    {"a trial's result was accepted once",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ' after ' || count(e.id) || ' results' "
     "FROM trials t LEFT JOIN events e ON e.trial = t.id AND e.kind IN " SAFFRON_RESULT_STATES
     " GROUP BY t.id HAVING count(e.id) <> (t.state IN " SAFFRON_RESULT_STATES ")"},
    {"only a trial with a result has final metrics",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ' and has final metrics' FROM trials t "
     "WHERE t.state NOT IN " SAFFRON_RESULT_STATES
     " AND EXISTS (SELECT 1 FROM results r WHERE r.trial = t.id)"},
    {"nothing is measured without an attempt",
     "SELECT 'trial ' || t.id || ' was never tried and has a learning curve' FROM trials t "
     "WHERE t.attempts = 0 AND EXISTS (SELECT 1 FROM metrics m WHERE m.trial = t.id)"},
    {"a metric is a number, or says why it is none",
     "SELECT 'metric ' || key || ' of trial ' || trial FROM "
     "(SELECT trial, key, value, kind FROM metrics UNION ALL SELECT trial, key, value, kind FROM "
     "results) WHERE kind NOT IN (0, 1, 2, 3) OR (kind = 0 AND value IS NULL) "
     "OR (kind = 1 AND value IS NOT NULL)"},
    // ---- Trials
    {"a trial has an end where it has ended, and a class where it failed",
     "SELECT 'trial ' || id || ' is ' || state FROM trials "
     "WHERE (ended_us IS NULL) <> (state IN ('queued', 'leased')) "
     "OR (failure_class IS NULL) <> (state <> 'failed')"},
    {"fresh budgets begin after attempts that were made",
     "SELECT 'trial ' || id FROM trials WHERE budget_from < 0 OR budget_from > attempts"},
    {"a queued trial is wanted by a roadmap",
     "SELECT 'trial ' || t.id || ' is queued for nobody' FROM trials t WHERE t.state = 'queued' "
     "AND NOT EXISTS (SELECT 1 FROM roadmap_trials rt JOIN roadmaps r ON r.id = rt.roadmap "
     "AND r.revision = rt.revision WHERE rt.trial = t.id AND rt.wanted)"},
    // ---- What they start from
    {"a trial starts from a trial of its variant's parent, made before it",
     "SELECT 'trial ' || t.id FROM trials t JOIN variants v ON v.id = t.variant "
     "LEFT JOIN trials p ON p.id = t.parent WHERE (t.parent IS NULL) <> (v.parent IS NULL) "
     "OR (t.parent IS NOT NULL AND (p.variant <> v.parent OR p.id >= t.id "
     "OR p.seed <> coalesce(v.init_seed, t.seed) OR p.numerics <> t.numerics))"},
    {"a trial is tried only when its parent has a model",
     "SELECT 'trial ' || t.id || ' was tried, its parent ' || p.id || ' is ' || p.state "
     "FROM trials t JOIN trials p ON p.id = t.parent "
     "WHERE t.attempts > 0 AND p.state <> 'succeeded'"},
    {"no trial waits for a parent that ended without a model",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ', its parent ' || p.id || ' is ' || p.state "
     "FROM trials t JOIN trials p ON p.id = t.parent WHERE t.state = 'queued' "
     "AND p.state IN ('failed', 'cancelled', 'diverged', 'pruned')"},
    {"an orphan is cancelled",
     "SELECT 'trial ' || id || ' is ' || state FROM trials WHERE orphaned AND (state <> "
     "'cancelled' "
     "OR parent IS NULL)"},
    // ---- Events
    {"a trial's state is what its last event says",
     "SELECT 'trial ' || t.id || ' is ' || t.state || ', its last event is ' || "
     "coalesce(e.kind, 'none') FROM trials t LEFT JOIN events e ON e.id = (SELECT max(x.id) FROM "
     "events x WHERE x.trial = t.id AND x.kind IN " SAFFRON_STATE_EVENTS ") "
     "WHERE t.state IS NOT CASE e.kind WHEN 'recovered' THEN 'leased' ELSE e.kind END"},
    {"every attempt was leased once",
     "SELECT 'attempt ' || a.number || ' of trial ' || a.trial || ' has ' || count(e.id) || "
     "' leases' FROM attempts a LEFT JOIN events e ON e.trial = a.trial AND e.attempt = a.number "
     "AND e.kind = 'leased' GROUP BY a.trial, a.number HAVING count(e.id) <> 1"},
    {"no event was taken away",
     "SELECT 'events run to ' || max(id) || ', there are ' || count(*) FROM events "
     "HAVING max(id) <> count(*)"},
    {"events name what there is",
     "SELECT 'event ' || e.id FROM events e LEFT JOIN trials t ON t.id = e.trial "
     "LEFT JOIN workers w ON w.id = e.worker LEFT JOIN roadmaps r ON r.id = e.roadmap "
     "WHERE (e.trial IS NOT NULL AND t.id IS NULL) OR (e.worker IS NOT NULL AND w.id IS NULL) "
     "OR (e.roadmap IS NOT NULL AND r.id IS NULL)"},
    // ---- Roadmaps
    {"a roadmap's revisions are 1, 2, ... up to the current one",
     "SELECT 'roadmap ' || r.name FROM roadmaps r LEFT JOIN revisions v ON v.roadmap = r.id "
     "GROUP BY r.id HAVING count(v.revision) <> r.revision OR max(v.revision) <> r.revision "
     "OR min(v.revision) <> 1"},
    {"a revision has every variant with every seed",
     "SELECT 'revision ' || v.revision || ' of roadmap ' || r.name FROM revisions v "
     "JOIN roadmaps r ON r.id = v.roadmap WHERE v.seed_count * (SELECT count(*) FROM "
     "roadmap_variants x WHERE x.roadmap = v.roadmap AND x.revision = v.revision) <> "
     "(SELECT count(*) FROM roadmap_trials x WHERE x.roadmap = v.roadmap "
     "AND x.revision = v.revision)"},
    {"a revision's trials are of its variants",
     "SELECT 'trial ' || rt.trial || ' in roadmap ' || rt.roadmap FROM roadmap_trials rt "
     "JOIN trials t ON t.id = rt.trial LEFT JOIN roadmap_variants rv ON rv.roadmap = rt.roadmap "
     "AND rv.revision = rt.revision AND rv.variant = t.variant WHERE rv.variant IS NULL"},
    {"a revision has one baseline at most",
     "SELECT 'revision ' || revision || ' of roadmap ' || roadmap FROM roadmap_variants "
     "WHERE role = 'baseline' GROUP BY roadmap, revision HAVING count(*) > 1"},
    {"priorities are above zero", "SELECT 'roadmap ' || name FROM roadmaps WHERE NOT priority > 0"},
    // ---- Artifacts
    {"an artifact has a digest, a size and an attempt that made it",
     "SELECT 'artifact ' || x.id FROM artifacts x LEFT JOIN attempts a ON a.trial = x.trial "
     "AND a.number = x.attempt WHERE length(x.sha256) <> 64 OR x.sha256 GLOB '*[^0-9a-f]*' "
     "OR x.bytes < 0 OR (x.attempt IS NOT NULL AND a.number IS NULL)"},
};

// Adds what the query's rows say, at most kProblemsShownMax, each after `prefix`.
absl::Status Ask(Database& db, const std::string& sql, const std::string& prefix,
                 std::vector<std::string>* problems) {
  ASSIGN_OR_RETURN(Statement select, db.Prepare(sql));
  for (int shown = 0;; ++shown) {
    ASSIGN_OR_RETURN(const bool row, select.Next());
    if (!row) return absl::OkStatus();
    if (shown == kProblemsShownMax) {
      problems->push_back(absl::StrCat(prefix, ": and more"));
      return absl::OkStatus();
    }
    problems->push_back(absl::StrCat(prefix, ": ", std::string(select.Text(0))));
  }
}

absl::StatusOr<int64_t> Count(Database& db, const std::string& table) {
  ASSIGN_OR_RETURN(Statement select, db.Prepare(absl::StrCat("SELECT count(*) FROM ", table)));
  ASSIGN_OR_RETURN(const std::optional<int64_t> count, select.One());
  return count.value_or(0);
}

absl::Status CheckPages(Database& db, IntegrityReport* report) {
  ASSIGN_OR_RETURN(Statement check, db.Prepare("PRAGMA integrity_check(10)"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, check.Next());
    if (!row) return absl::OkStatus();
    if (check.Text(0) != "ok") {
      report->problems.push_back(absl::StrCat("the file is damaged: ", std::string(check.Text(0))));
    }
  }
}

}  // namespace

absl::StatusOr<IntegrityReport> CheckIntegrity(Database& db, bool pages) {
  IntegrityReport report;
  RETURN_IF_ERROR(db.Execute("BEGIN"));
  if (pages) RETURN_IF_ERROR(CheckPages(db, &report));
  RETURN_IF_ERROR(Ask(db,
                      "SELECT 'row ' || coalesce(rowid, '') || ' of ' || \"table\" || "
                      "' refers to a row of ' || parent || ' that there is not' "
                      "FROM pragma_foreign_key_check",
                      "every reference holds", &report.problems));
  for (const Rule& rule : kRules) {
    RETURN_IF_ERROR(Ask(db, rule.sql, rule.name, &report.problems));
  }
  report.rules = static_cast<int>(std::size(kRules)) + 1;
  ASSIGN_OR_RETURN(report.trials, Count(db, "trials"));
  ASSIGN_OR_RETURN(report.attempts, Count(db, "attempts"));
  ASSIGN_OR_RETURN(report.events, Count(db, "events"));
  ASSIGN_OR_RETURN(report.metrics, Count(db, "metrics"));
  RETURN_IF_ERROR(db.Execute("COMMIT"));
  return report;
}

}  // namespace saffron
