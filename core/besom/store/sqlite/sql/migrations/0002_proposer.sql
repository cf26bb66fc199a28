-- Version 2: suggestions made ahead by a sweep's proposer.

-- The number of ended runs from which on a suggestion is out of date; NULL: never.
ALTER TABLE suggestion ADD COLUMN stale_at INTEGER;

-- Who may make suggestions ahead; lease is on the lease clock. The term grows with every change of hands.
CREATE TABLE proposer (
    sweep TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    term INTEGER NOT NULL,
    lease REAL NOT NULL
) WITHOUT ROWID;
