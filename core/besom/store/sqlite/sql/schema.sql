-- The whole schema at its present version. A store that is older gets here by migrations/; a test compares both ways.
-- Times: created, started, ended, seen are seconds since the epoch; lease and reap_at are on the lease clock.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot TEXT NOT NULL  -- of the machine, when its leases were given
);

CREATE TABLE sweep (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    method TEXT NOT NULL,
    config TEXT NOT NULL,                -- JSON
    metric TEXT,                         -- JSON
    run_cap INTEGER,
    max_attempts INTEGER,
    expected_runs TEXT,                  -- decimal: a grid may have more than 2^63 points
    project TEXT,
    entity TEXT,
    text TEXT,
    folder TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    cursor INTEGER NOT NULL DEFAULT 0,
    exhausted INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    updated REAL NOT NULL
);

-- What changes with every claim, kept by the triggers below in one narrow row per sweep: so nothing is counted by a
-- scan, and a claim rewrites one small page. The row '' is for runs outside every sweep.
CREATE TABLE tally (
    sweep TEXT PRIMARY KEY,
    changed INTEGER NOT NULL DEFAULT 0,  -- the latest run.changed of the whole store; only in the row ''
    numbers INTEGER NOT NULL DEFAULT 0,  -- the latest run.number
    started INTEGER NOT NULL DEFAULT 0,  -- runs that have been handed out: what run_cap limits
    reap_at REAL,                        -- no lease runs out before this; NULL when none was given
    pending INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    stopped INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    crashed INTEGER NOT NULL DEFAULT 0,
    killed INTEGER NOT NULL DEFAULT 0,
    preempted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The buffer: what a method has proposed and nobody has claimed.
CREATE TABLE suggestion (
    sweep TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    key TEXT NOT NULL,
    params TEXT NOT NULL,                -- JSON
    PRIMARY KEY (sweep, ordinal),
    UNIQUE (sweep, key)
) WITHOUT ROWID;

CREATE TABLE run (
    id TEXT PRIMARY KEY,
    sweep TEXT,                          -- NULL: outside every sweep
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    params TEXT NOT NULL,                -- JSON
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT '{}',   -- JSON
    summary TEXT NOT NULL DEFAULT '{}',  -- JSON
    value REAL,
    agent TEXT,
    stop_reason TEXT,
    exit_code INTEGER,
    error TEXT,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    changed INTEGER NOT NULL,
    project TEXT,
    kill INTEGER NOT NULL DEFAULT 0,     -- a stop that was asked for is to be a kill
    lease REAL,
    UNIQUE (sweep, key)
);

CREATE INDEX run_changed ON run (sweep, changed);
CREATE INDEX run_queued ON run (sweep, state DESC, number) WHERE state IN ('pending', 'preempted');
CREATE INDEX run_running ON run (sweep) WHERE state = 'running';
-- Running ones are few and looked at one by one, so that a report touches no index.
CREATE INDEX run_value ON run (sweep, value, number) WHERE state IN ('finished', 'stopped') AND value IS NOT NULL;

-- Attempts that were lost, and those whose run was queued again; any other latest attempt is in the row of its run.
CREATE TABLE attempt (
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    agent TEXT,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    state TEXT NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER,
    error TEXT,
    summary TEXT NOT NULL,               -- JSON
    value REAL,
    lost INTEGER NOT NULL DEFAULT 0,     -- its lease ran out
    PRIMARY KEY (run, attempt)
) WITHOUT ROWID;

CREATE TABLE history (
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    data TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (run, attempt, seq)
) WITHOUT ROWID;

CREATE TABLE mark (
    run TEXT NOT NULL,
    rung INTEGER NOT NULL,
    sweep TEXT NOT NULL,
    loss REAL NOT NULL,
    PRIMARY KEY (run, rung)
) WITHOUT ROWID;

CREATE INDEX mark_loss ON mark (sweep, rung, loss);

CREATE TABLE agent (
    id TEXT PRIMARY KEY,
    sweep TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started REAL NOT NULL,
    seen REAL NOT NULL
);

CREATE INDEX agent_sweep ON agent (sweep);

CREATE TABLE rung_size (
    sweep TEXT NOT NULL,
    rung INTEGER NOT NULL,
    marks INTEGER NOT NULL,
    PRIMARY KEY (sweep, rung)
) WITHOUT ROWID;

CREATE TRIGGER sweep_added AFTER INSERT ON sweep BEGIN
    INSERT INTO tally (sweep) VALUES (new.id);
END;

CREATE TRIGGER run_added AFTER INSERT ON run BEGIN
    UPDATE tally SET changed = new.changed WHERE sweep = '';
    UPDATE tally SET
        numbers = max(numbers, new.number),
        started = started + (new.attempt > 0),
        reap_at = CASE WHEN new.lease < coalesce(reap_at, 9e999) THEN new.lease ELSE reap_at END,
        pending = pending + (new.state = 'pending'),
        running = running + (new.state = 'running'),
        finished = finished + (new.state = 'finished'),
        stopped = stopped + (new.state = 'stopped'),
        failed = failed + (new.state = 'failed'),
        crashed = crashed + (new.state = 'crashed'),
        killed = killed + (new.state = 'killed'),
        preempted = preempted + (new.state = 'preempted')
    WHERE sweep = coalesce(new.sweep, '');
END;

CREATE TRIGGER run_changes AFTER UPDATE OF changed ON run BEGIN
    UPDATE tally SET changed = new.changed WHERE sweep = '';
END;

CREATE TRIGGER run_moves AFTER UPDATE OF state ON run WHEN old.state <> new.state BEGIN
    UPDATE tally SET
        started = started + (old.attempt = 0 AND new.attempt > 0),
        reap_at = CASE WHEN new.lease < coalesce(reap_at, 9e999) THEN new.lease ELSE reap_at END,
        pending = pending - (old.state = 'pending') + (new.state = 'pending'),
        running = running - (old.state = 'running') + (new.state = 'running'),
        finished = finished - (old.state = 'finished') + (new.state = 'finished'),
        stopped = stopped - (old.state = 'stopped') + (new.state = 'stopped'),
        failed = failed - (old.state = 'failed') + (new.state = 'failed'),
        crashed = crashed - (old.state = 'crashed') + (new.state = 'crashed'),
        killed = killed - (old.state = 'killed') + (new.state = 'killed'),
        preempted = preempted - (old.state = 'preempted') + (new.state = 'preempted')
    WHERE sweep = coalesce(new.sweep, '');
END;

CREATE TRIGGER run_removed AFTER DELETE ON run BEGIN
    UPDATE tally SET
        started = started - (old.attempt > 0),
        pending = pending - (old.state = 'pending'),
        running = running - (old.state = 'running'),
        finished = finished - (old.state = 'finished'),
        stopped = stopped - (old.state = 'stopped'),
        failed = failed - (old.state = 'failed'),
        crashed = crashed - (old.state = 'crashed'),
        killed = killed - (old.state = 'killed'),
        preempted = preempted - (old.state = 'preempted')
    WHERE sweep = coalesce(old.sweep, '');
END;

CREATE TRIGGER mark_added AFTER INSERT ON mark BEGIN
    INSERT INTO rung_size VALUES (new.sweep, new.rung, 1) ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

CREATE TRIGGER mark_removed AFTER DELETE ON mark BEGIN
    UPDATE rung_size SET marks = marks - 1 WHERE sweep = old.sweep AND rung = old.rung;
END;

INSERT INTO store VALUES (1, '');
INSERT INTO tally (sweep) VALUES ('');
