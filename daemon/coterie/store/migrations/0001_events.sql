-- The first schema: events as exact bytes, and the few facts that outlive a restart beside them.

-- Names the file as ours ('Cote'), so that a database of another program is never touched.
PRAGMA application_id = 0x436f7465;

-- One hash chain of one author: event, prev, prev of prev … down to seq 1.
-- An honest author has one. Each fork begins another, which leaves its base chain after the event `base`,
-- so that two events with one (author, seq) never share a chain.
CREATE TABLE chain (
    id     INTEGER PRIMARY KEY,
    author TEXT NOT NULL,                        -- peer id
    base   INTEGER REFERENCES event (position)   -- NULL where the chain begins with seq 1
) STRICT;

CREATE TABLE event (
    position INTEGER PRIMARY KEY,                -- order of insertion: parents and prev come first
    digest   BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of data: the CID without its prefix
    chain    INTEGER NOT NULL REFERENCES chain (id),
    seq      INTEGER NOT NULL CHECK (seq >= 1),
    data     BLOB NOT NULL                       -- the exact bytes that were signed
) STRICT;

-- Every index ends with the rowid, so this one lists a chain in the order of position.
CREATE INDEX event_of_chain ON event (chain);

-- Where members were last reached.
CREATE TABLE contact (
    peer    TEXT NOT NULL,
    rank    INTEGER NOT NULL,                    -- order in which to try
    address TEXT NOT NULL,                       -- multiaddr without /p2p
    PRIMARY KEY (peer, rank)
) STRICT, WITHOUT ROWID;

CREATE TABLE note (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
