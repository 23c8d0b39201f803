-- Saffron's results database, schema version 2.
--
-- One writer (the coordinator), any number of readers while it runs (WAL). Columns that end in _us
-- are microseconds since 1970-01-01 UTC by the coordinator's clock unless they say otherwise.
-- The views at the end are the stable interface; tables may grow columns.
--
-- This is the newest version. An older database is brought to it by migrations/NNN.sql, the step from
-- version NNN-1 to NNN: whoever changes a table here writes one, raises kSchemaVersion (schema.h), and
-- adds new columns after the old ones, where ALTER TABLE puts them. Views need no migration.

CREATE TABLE schema_version (
  version    INTEGER PRIMARY KEY,
  applied_us INTEGER NOT NULL,
  program    TEXT NOT NULL               -- the build that applied it
) STRICT;

-- One row: facts about this database as a whole.
CREATE TABLE coordinator (
  id             INTEGER PRIMARY KEY CHECK (id = 1),
  coordinator_id TEXT NOT NULL,          -- random; one database's coordinator, across restarts
  created_us     INTEGER NOT NULL
) STRICT;

-- What a corpus held when trials of it were made. Equal bytes have one row whatever their name.
CREATE TABLE datasets (
  id          INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,      -- SHA-256
  name        TEXT NOT NULL,             -- the name it was first used under
  first_us    INTEGER NOT NULL
) STRICT;

-- A named, submitted sweep.
CREATE TABLE roadmaps (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  revision   INTEGER NOT NULL,           -- the current one
  created_us INTEGER NOT NULL,
  priority   REAL NOT NULL DEFAULT 1,    -- its share of the workers, relative to the other roadmaps'; > 0
  paused     TEXT                        -- why nothing of it is started; NULL: it is not paused
) STRICT;

-- One state of a roadmap's file. Submitting an edited file makes the next one.
CREATE TABLE revisions (
  roadmap      INTEGER NOT NULL REFERENCES roadmaps (id),
  revision     INTEGER NOT NULL,         -- 1, 2, ...
  digest       TEXT NOT NULL,            -- SHA-256 of spec, numerics version, variants and data
  spec         TEXT NOT NULL,            -- the sweep file, canonical YAML
  question     TEXT NOT NULL,
  metric       TEXT NOT NULL,            -- what the roadmap is judged by; '' when there is none
  goal         TEXT NOT NULL CHECK (goal IN ('minimize', 'maximize')),
  numerics     INTEGER NOT NULL,
  seed_first   INTEGER NOT NULL,
  seed_count   INTEGER NOT NULL,
  retry_preempted     INTEGER NOT NULL,  -- budgets by failure class; -1 is without limit
  retry_worker_lost   INTEGER NOT NULL,
  retry_out_of_memory INTEGER NOT NULL,
  retry_timeout       INTEGER NOT NULL,
  retry_error         INTEGER NOT NULL,
  trial_time_us       INTEGER,           -- longest an attempt may take; NULL: no limit
  memory_bytes        INTEGER,           -- most a trial may use; NULL: no limit
  deadline_us         INTEGER,           -- what has not started by then is cancelled; NULL: none
  submitted_us INTEGER NOT NULL,
  retry_poison INTEGER NOT NULL DEFAULT 5,  -- a trial that was lost with so many workers is given up; 0: never
  PRIMARY KEY (roadmap, revision)
) STRICT, WITHOUT ROWID;

-- One resolved configuration, without a seed. Shared by every roadmap that names it.
CREATE TABLE variants (
  id         INTEGER PRIMARY KEY,
  digest     TEXT NOT NULL UNIQUE,       -- SHA-256 of the canonical text: the identity
  json       TEXT NOT NULL,              -- every relevant key and its value, sorted: json ->> '$."model.bits"'
  parameters REAL NOT NULL,              -- number of model parameters, estimated from the shape
  flops      REAL NOT NULL,              -- estimated floating-point operations of one trial
  seconds    REAL NOT NULL,              -- estimated time of one trial on one reference core
  -- Set iff its trials start from trials of another variant; part of the identity:
  parent          INTEGER REFERENCES variants (id),
  init_seed       INTEGER,               -- the parent's seed; NULL: the trial's own
  init_checkpoint TEXT,                  -- 'best' or 'last'
  init_derive     TEXT                   -- JSON array: what is done to the parent's model, in order
) STRICT;

-- The distinct variants of a revision, in the order of its expansion.
CREATE TABLE roadmap_variants (
  roadmap  INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  variant  INTEGER NOT NULL REFERENCES variants (id),
  block    TEXT NOT NULL,                -- the first block that names it; 'baseline' for the baseline
  role     TEXT NOT NULL CHECK (role IN ('baseline', 'ablation', 'grid', 'random')),
  position INTEGER NOT NULL,             -- 0, 1, ... within the revision
  label    TEXT NOT NULL,                -- for people: 'baseline', the ablation's groups, or what differs
                                         -- from the baseline: 'bits=128 lr=0.01'
  PRIMARY KEY (roadmap, revision, variant),
  FOREIGN KEY (roadmap, revision) REFERENCES revisions (roadmap, revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX roadmap_baseline ON roadmap_variants (roadmap, revision) WHERE role = 'baseline';

-- Every block that names a variant, also the later ones that collapsed into it.
CREATE TABLE roadmap_blocks (
  roadmap  INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  block    TEXT NOT NULL,
  variant  INTEGER NOT NULL REFERENCES variants (id),
  role     TEXT NOT NULL,                -- as above, in this block
  position INTEGER NOT NULL,             -- 0, 1, ... within the block
  groups   TEXT NOT NULL,                -- of an ablation: the groups whose changes are made, '+'-joined
  PRIMARY KEY (roadmap, revision, block, variant),
  FOREIGN KEY (roadmap, revision) REFERENCES revisions (roadmap, revision)
) STRICT, WITHOUT ROWID;

-- Variant x seed on given data by given numerics: equal identity is the same result, computed once.
CREATE TABLE trials (
  id            INTEGER PRIMARY KEY,
  variant       INTEGER NOT NULL REFERENCES variants (id),
  seed          INTEGER NOT NULL,
  data          INTEGER NOT NULL REFERENCES datasets (id),
  numerics      INTEGER NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'succeeded', 'diverged', 'pruned',
                                               'failed', 'cancelled')),
  attempts      INTEGER NOT NULL,        -- made so far; the number of the newest one
  budget_from   INTEGER NOT NULL,        -- attempts up to this number do not count against the budgets
  failure_class TEXT,                    -- set iff failed
  message       TEXT NOT NULL,           -- why it diverged, failed or was cancelled
  created_us    INTEGER NOT NULL,
  ended_us      INTEGER,                 -- set iff terminal
  parent        INTEGER REFERENCES trials (id),  -- it starts from this one's checkpoint
  orphaned      INTEGER NOT NULL DEFAULT 0,  -- 1: cancelled because its parent has no result
  UNIQUE (variant, seed, data, numerics)
) STRICT;
CREATE INDEX trials_parent ON trials (parent) WHERE parent IS NOT NULL;

-- The trials of a revision. A trial may belong to several roadmaps.
CREATE TABLE roadmap_trials (
  roadmap  INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  trial    INTEGER NOT NULL REFERENCES trials (id),
  wanted   INTEGER NOT NULL,             -- 0 once the roadmap cancelled it
  trial_time_us INTEGER,                 -- limits of this trial alone, set when it was retried;
  memory_bytes  INTEGER,                 -- NULL: those of the revision
  PRIMARY KEY (roadmap, revision, trial),
  FOREIGN KEY (roadmap, revision) REFERENCES revisions (roadmap, revision)
) STRICT, WITHOUT ROWID;

-- One execution of a trial by one worker.
CREATE TABLE attempts (
  trial         INTEGER NOT NULL REFERENCES trials (id),
  number        INTEGER NOT NULL,        -- 1, 2, ...: fences late reports
  worker        INTEGER NOT NULL REFERENCES workers (id),
  assigned_us   INTEGER NOT NULL,
  started_us    INTEGER,                 -- by the worker's clock
  finished_us   INTEGER,                 -- by the worker's clock
  ended_us      INTEGER,                 -- set iff outcome is
  outcome       TEXT CHECK (outcome IN ('succeeded', 'diverged', 'pruned', 'failed', 'cancelled')),
  failure_class TEXT CHECK (failure_class IN ('preempted', 'worker_lost', 'out_of_memory', 'timeout',
                                              'error')),
  message       TEXT NOT NULL,
  PRIMARY KEY (trial, number)
) STRICT, WITHOUT ROWID;

-- Learning curves. Trials are deterministic, so a repeated attempt writes the same rows again.
-- kind: 0 a number, 1 NaN (value is NULL), 2 +Inf, 3 -Inf.
CREATE TABLE metrics (
  trial INTEGER NOT NULL REFERENCES trials (id),
  key   TEXT NOT NULL,
  step  INTEGER NOT NULL,
  value REAL,
  kind  INTEGER NOT NULL,
  PRIMARY KEY (trial, key, step)
) STRICT, WITHOUT ROWID;

-- Final metrics, written in one transaction with the outcome. `kind` as in metrics.
CREATE TABLE results (
  trial INTEGER NOT NULL REFERENCES trials (id),
  key   TEXT NOT NULL,
  value REAL,
  kind  INTEGER NOT NULL,
  PRIMARY KEY (trial, key)
) STRICT, WITHOUT ROWID;

-- Content-addressed files: what was stored, and for whom. One file may have several rows.
CREATE TABLE artifacts (
  id         INTEGER PRIMARY KEY,
  sha256     TEXT NOT NULL,              -- of the bytes; names the file in the artifact store
  bytes      INTEGER NOT NULL,
  kind       TEXT NOT NULL,              -- 'state' of a trial without a result, 'checkpoint' or 'trace' of one with
  role       TEXT NOT NULL,              -- of a checkpoint: 'best' or 'last'; of a trace: 'routing'; else ''
  trial      INTEGER REFERENCES trials (id),
  attempt    INTEGER,                    -- that made it
  step       INTEGER,                    -- optimisation steps done
  created_us INTEGER NOT NULL,
  deleted_us INTEGER,                    -- when the file was given up; NULL: it is kept
  UNIQUE (trial, attempt, kind, role, step, sha256)
) STRICT;
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

CREATE TABLE workers (
  id            INTEGER PRIMARY KEY,
  name          TEXT NOT NULL UNIQUE,    -- chosen by the worker, unique per process
  hostname      TEXT NOT NULL,
  pid           INTEGER NOT NULL,
  process_space TEXT NOT NULL,           -- where pid means something; '' is unknown
  slots         INTEGER NOT NULL,
  build         TEXT NOT NULL,
  registered_us INTEGER NOT NULL,
  left_us       INTEGER,                 -- when it was found lost; NULL while it is expected to call
  drained       TEXT                     -- why it gets no new work; NULL: it does
) STRICT;

-- Machines that are treated differently from the rest, by host name.
CREATE TABLE nodes (
  hostname   TEXT PRIMARY KEY,
  standing   TEXT NOT NULL CHECK (standing IN ('quarantined', 'trusted')),  -- no new work; never quarantined
  reason     TEXT NOT NULL,              -- the evidence, or who said so
  changed_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Everything that happened, in order. Append-only.
CREATE TABLE events (
  id      INTEGER PRIMARY KEY,
  at_us   INTEGER NOT NULL,
  kind    TEXT NOT NULL,                 -- of a trial: 'queued', 'leased', 'recovered', 'attempt_failed',
                                         -- 'attempt_cancelled', 'late_result', or the outcome it ended in;
                                         -- 'resumed' (from a state), 'artifact_deleted' (for the budget);
                                         -- of a worker: 'joined', 'left', 'lost', 'drain', 'undrain'; of a
                                         -- machine: 'node_quarantined', 'node_trusted', 'node_forgiven';
                                         -- of a roadmap: 'submitted', 'cancel', 'resume', 'retry', 'pause',
                                         -- 'unpause', 'priority'; of the coordinator: 'paused', 'started'
  trial   INTEGER,
  attempt INTEGER,
  worker  INTEGER,
  roadmap INTEGER,
  reason  TEXT NOT NULL
) STRICT;
CREATE INDEX events_trial ON events (trial) WHERE trial IS NOT NULL;
CREATE TRIGGER events_keep_update BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_keep_delete BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- The variants' configurations one key a row, for joins. Exactly one of number and text is set.
CREATE VIEW variant_params AS
SELECT v.id AS variant, j.key AS key,
       CASE j.type WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' WHEN 'integer' THEN 'integer'
                   WHEN 'real' THEN 'number' ELSE 'string' END AS type,
       CASE WHEN j.type <> 'text' THEN j.value END AS number,  -- booleans are 0 and 1
       CASE WHEN j.type = 'text' THEN j.value END AS text
FROM variants v, json_each(v.json) j;

-- One row for each trial of each roadmap's current revision (a trial that two roadmaps share has one
-- row in each: filter by roadmap). Final metrics and the commonest parameters are columns; a column
-- costs nothing when it is not asked for.
CREATE VIEW v_trials AS
SELECT
  r.name AS roadmap, t.id AS trial, t.variant AS variant, rv.position AS position,
  rv.block AS block, rv.role AS role, rv.label AS label, t.seed AS seed, t.state AS state,
  t.attempts AS attempts, t.failure_class AS failure_class, t.message AS message,
  (SELECT value FROM results WHERE trial = t.id AND key = 'test/perplexity') AS test_perplexity,
  (SELECT value FROM results WHERE trial = t.id AND key = 'valid/perplexity') AS valid_perplexity,
  (SELECT value FROM results WHERE trial = t.id AND key = 'train/perplexity') AS train_perplexity,
  (SELECT value FROM results WHERE trial = t.id AND key = 'test/nats_per_token') AS test_nats_per_token,
  (SELECT value FROM results WHERE trial = t.id AND key = 'valid/nats_per_token') AS valid_nats_per_token,
  (SELECT value FROM results WHERE trial = t.id AND key = 'test/bits_per_byte') AS test_bits_per_byte,
  (SELECT value FROM results WHERE trial = t.id AND key = 'test/accuracy') AS test_accuracy,
  (SELECT value FROM results WHERE trial = t.id AND key = 'valid/accuracy') AS valid_accuracy,
  coalesce((SELECT value FROM results WHERE trial = t.id AND key = 'model/parameters'), v.parameters)
    AS parameters,
  coalesce((SELECT value FROM results WHERE trial = t.id AND key = 'cost/flops'), v.flops) AS flops,
  (SELECT value FROM results WHERE trial = t.id AND key = 'time/total_s') AS seconds,
  (SELECT value FROM results WHERE trial = t.id AND key = 'time/solve_s') AS solve_seconds,
  (SELECT value FROM results WHERE trial = t.id AND key = 'time/train_s') AS train_seconds,
  (SELECT value FROM results WHERE trial = t.id AND key = 'memory/peak_bytes') AS peak_bytes,
  v.json ->> '$."data.corpus"' AS corpus,
  v.json ->> '$."data.tokens"' AS tokens,
  v.json ->> '$."model.type"' AS model_type,
  v.json ->> '$."model.bits"' AS model_bits,
  v.json ->> '$."train.init"' AS train_init,
  v.json ->> '$."train.steps"' AS train_steps,
  v.json ->> '$."train.lr"' AS train_lr,
  v.json AS config, d.fingerprint AS data_fingerprint, t.numerics AS numerics,
  (SELECT w.name FROM attempts a JOIN workers w ON w.id = a.worker
   WHERE a.trial = t.id AND a.number = t.attempts) AS worker,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.created_us / 1e6, 'unixepoch') AS created,
  strftime('%Y-%m-%dT%H:%M:%fZ', t.ended_us / 1e6, 'unixepoch') AS ended
FROM roadmaps r
JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision
JOIN trials t ON t.id = rt.trial
JOIN roadmap_variants rv
  ON rv.roadmap = r.id AND rv.revision = r.revision AND rv.variant = t.variant
JOIN variants v ON v.id = t.variant
JOIN datasets d ON d.id = t.data;

-- One row for each final metric of each trial of each roadmap's current revision.
CREATE VIEW v_results AS
SELECT r.name AS roadmap, t.variant AS variant, rv.position AS position, rv.block AS block,
       rv.role AS role, rv.label AS label, t.id AS trial, t.seed AS seed, t.state AS state,
       m.key AS metric, m.value AS value, m.kind AS kind, r.id AS roadmap_id, r.revision AS revision
FROM roadmaps r
JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision
JOIN trials t ON t.id = rt.trial
JOIN roadmap_variants rv
  ON rv.roadmap = r.id AND rv.revision = r.revision AND rv.variant = t.variant
JOIN results m ON m.trial = t.id;

-- One row for each final metric of each variant: mean and standard deviation over the seeds that
-- succeeded with a finite value. sd is NULL for one seed.
-- (Windows rather than GROUP BY, so that SQLite carries a WHERE on roadmap or metric down to the rows.)
CREATE VIEW v_variants AS
SELECT roadmap, variant, position, block, role, label, metric, n, mean,
       CASE WHEN n > 1 THEN sqrt(squares / (n - 1)) END AS sd, min, max,
       v.parameters AS parameters, v.flops AS flops, v.json AS config
FROM (SELECT *, sum((value - mean) * (value - mean)) OVER g AS squares, row_number() OVER g AS row
      FROM (SELECT roadmap, variant, position, block, role, label, metric, value, count(*) OVER g AS n,
                   avg(value) OVER g AS mean, min(value) OVER g AS min, max(value) OVER g AS max
            FROM v_results WHERE state = 'succeeded' AND kind = 0
            WINDOW g AS (PARTITION BY roadmap, variant, metric))
      WINDOW g AS (PARTITION BY roadmap, variant, metric)) x
JOIN variants v ON v.id = x.variant
WHERE x.row = 1;

-- Learning curves of each roadmap's current revision, one row a point.
CREATE VIEW v_curves AS
SELECT r.name AS roadmap, t.variant AS variant, rv.position AS position, rv.block AS block,
       rv.label AS label, t.id AS trial, t.seed AS seed, t.state AS state, m.key AS metric,
       m.step AS step, m.value AS value, m.kind AS kind
FROM roadmaps r
JOIN roadmap_trials rt ON rt.roadmap = r.id AND rt.revision = r.revision
JOIN trials t ON t.id = rt.trial
JOIN roadmap_variants rv
  ON rv.roadmap = r.id AND rv.revision = r.revision AND rv.variant = t.variant
JOIN metrics m ON m.trial = t.id;

-- Each trial beside the baseline's trial of the same seed, one row a metric: difference = value -
-- baseline.
CREATE VIEW v_pairs AS
SELECT a.roadmap AS roadmap, a.variant AS variant, a.position AS position, a.block AS block,
       a.label AS label, a.metric AS metric, a.seed AS seed, a.trial AS trial, a.value AS value,
       tb.id AS baseline_trial, mb.value AS baseline, a.value - mb.value AS difference
FROM v_results a
CROSS JOIN roadmap_variants rb
  ON rb.roadmap = a.roadmap_id AND rb.revision = a.revision AND rb.role = 'baseline'
CROSS JOIN trials tb ON tb.variant = rb.variant AND tb.seed = a.seed AND tb.state = 'succeeded'
CROSS JOIN roadmap_trials rtb
  ON rtb.roadmap = rb.roadmap AND rtb.revision = rb.revision AND rtb.trial = tb.id
CROSS JOIN results mb ON mb.trial = tb.id AND mb.key = a.metric AND mb.kind = 0
WHERE a.role <> 'baseline' AND a.state = 'succeeded' AND a.kind = 0;

-- Paired difference to the baseline, one row for each metric of each variant: mean and standard
-- deviation of the differences over n seeds.
CREATE VIEW v_effects AS
SELECT roadmap, variant, position, block, label, metric, n, mean AS difference,
       CASE WHEN n > 1 THEN sqrt(squares / (n - 1)) END AS sd, mean_value, mean_baseline
FROM (SELECT *, sum((difference - mean) * (difference - mean)) OVER g AS squares,
             row_number() OVER g AS row
      FROM (SELECT *, count(*) OVER g AS n, avg(difference) OVER g AS mean,
                   avg(value) OVER g AS mean_value, avg(baseline) OVER g AS mean_baseline
            FROM v_pairs WINDOW g AS (PARTITION BY roadmap, variant, metric))
      WINDOW g AS (PARTITION BY roadmap, variant, metric))
WHERE row = 1;
