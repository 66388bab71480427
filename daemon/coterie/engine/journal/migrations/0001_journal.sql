-- The first schema of the journal: what an execution accepted, where each of its steps stands, and what befell it.

-- Names the file as ours ('CotJ'), so that a database of another program is never touched.
PRAGMA application_id = 0x436f744a;

-- The documents of workflows, each once however often it is run.
CREATE TABLE plan (
    number   INTEGER PRIMARY KEY,
    hash     TEXT NOT NULL UNIQUE,               -- plan_hash of model.py
    document BLOB NOT NULL
) STRICT;

-- The small part of an execution, of which some is written again as it goes on. Times are Unix milliseconds.
-- Numbers are never used again: steps of a forgotten execution may outlive its row for a while (see remains).
CREATE TABLE execution (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    plan       INTEGER NOT NULL,                 -- plan.number
    workflow   TEXT NOT NULL,
    name       TEXT NOT NULL,
    submitter  TEXT NOT NULL,
    priority   REAL NOT NULL,
    key        TEXT,
    origin     TEXT,
    source     TEXT,
    created_ms INTEGER NOT NULL,
    state      TEXT NOT NULL,
    started_ms INTEGER,
    ended_ms   INTEGER,
    reason     TEXT NOT NULL,
    outputs    TEXT NOT NULL,                    -- JSON
    counts     TEXT NOT NULL                     -- JSON
) STRICT;

CREATE UNIQUE INDEX execution_by_key ON execution (key) WHERE key IS NOT NULL;
CREATE INDEX execution_by_workflow ON execution (workflow);
CREATE INDEX execution_by_plan ON execution (plan);
CREATE INDEX execution_unfinished ON execution (number) WHERE state IN ('pending', 'running', 'paused');
CREATE INDEX execution_failed ON execution (number) WHERE state = 'failed';
CREATE INDEX execution_ended ON execution (ended_ms) WHERE state IN ('completed', 'failed', 'cancelled');

-- The large part, written once.
CREATE TABLE submission (
    execution INTEGER PRIMARY KEY,               -- execution.number
    inputs    TEXT NOT NULL,                     -- JSON
    code      TEXT NOT NULL                      -- JSON
) STRICT;

-- One integer names a step, so that rows are appended to and rewritten in place in one flat tree: with a compound key
-- the same writes take 1.2 times as long, and 3 to 4 times beside large results.
-- The result comes last, so that whatever it weighs the other columns are read without it.
CREATE TABLE step (
    key          INTEGER PRIMARY KEY,            -- execution.number << 32 | position
    execution    INTEGER GENERATED ALWAYS AS (key >> 32) VIRTUAL,
    position     INTEGER GENERATED ALWAYS AS (key & 0xffffffff) VIRTUAL,
    state        TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    lost         INTEGER NOT NULL,
    ready_ms     INTEGER,
    started_ms   INTEGER,
    ended_ms     INTEGER,
    due_ms       INTEGER,
    result_blob  TEXT,                           -- CID of a result that is too large for a row
    arm          TEXT,
    tolerated    INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    compensation TEXT NOT NULL,
    result       BLOB                            -- JSON
) STRICT;

CREATE TABLE note (
    execution INTEGER NOT NULL,                  -- execution.number
    sequence  INTEGER NOT NULL,                  -- from 1 in each execution
    at_ms     INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    position  INTEGER,                           -- of the step; NULL where it is of the whole execution
    body      TEXT NOT NULL,                     -- JSON
    PRIMARY KEY (execution, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX note_by_step ON note (execution, position);
CREATE INDEX note_by_kind ON note (execution, kind);

-- Which executions need which blob; it may go when nobody is left.
CREATE TABLE result_file (
    cid       TEXT NOT NULL,
    execution INTEGER NOT NULL,                  -- execution.number
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (cid, execution)
) STRICT, WITHOUT ROWID;

CREATE INDEX result_file_by_execution ON result_file (execution);

-- Numbers of forgotten executions whose steps and notes are still being removed.
CREATE TABLE remains (
    execution INTEGER PRIMARY KEY
) STRICT;
