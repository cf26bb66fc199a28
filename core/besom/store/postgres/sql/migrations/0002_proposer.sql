-- Version 2: suggestions made ahead by a sweep's proposer.

-- The number of ended runs from which on a suggestion is out of date; NULL: never.
ALTER TABLE suggestion ADD COLUMN stale_at BIGINT;

-- Who may make suggestions ahead. The term grows with every change of hands.
CREATE TABLE proposer (
    sweep TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    term BIGINT NOT NULL,
    lease DOUBLE PRECISION NOT NULL
);
