-- From schema version 1 to 2: control of roadmaps and workers, trials that start from other trials,
-- the record of artifacts. Views are made anew by whoever runs this (schema.h).

ALTER TABLE roadmaps ADD COLUMN priority REAL NOT NULL DEFAULT 1;
ALTER TABLE roadmaps ADD COLUMN paused TEXT;

ALTER TABLE revisions ADD COLUMN retry_poison INTEGER NOT NULL DEFAULT 5;

ALTER TABLE variants ADD COLUMN parent INTEGER REFERENCES variants (id);
ALTER TABLE variants ADD COLUMN init_seed INTEGER;
ALTER TABLE variants ADD COLUMN init_checkpoint TEXT;
ALTER TABLE variants ADD COLUMN init_derive TEXT;

ALTER TABLE trials ADD COLUMN parent INTEGER REFERENCES trials (id);
ALTER TABLE trials ADD COLUMN orphaned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trials_parent ON trials (parent) WHERE parent IS NOT NULL;

ALTER TABLE roadmap_trials ADD COLUMN trial_time_us INTEGER;
ALTER TABLE roadmap_trials ADD COLUMN memory_bytes INTEGER;

-- Nothing was ever recorded in it.
DROP TABLE artifacts;
CREATE TABLE artifacts (
  id         INTEGER PRIMARY KEY,
  sha256     TEXT NOT NULL,
  bytes      INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  role       TEXT NOT NULL,
  trial      INTEGER REFERENCES trials (id),
  attempt    INTEGER,
  step       INTEGER,
  created_us INTEGER NOT NULL,
  deleted_us INTEGER,
  UNIQUE (trial, attempt, kind, role, step, sha256)
) STRICT;
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

ALTER TABLE workers ADD COLUMN drained TEXT;

CREATE TABLE nodes (
  hostname   TEXT PRIMARY KEY,
  standing   TEXT NOT NULL CHECK (standing IN ('quarantined', 'trusted')),
  reason     TEXT NOT NULL,
  changed_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
