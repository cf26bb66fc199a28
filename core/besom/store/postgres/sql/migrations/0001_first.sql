-- Version 1.
-- Times: all are seconds since the epoch by the server's clock.

CREATE TABLE store (version INTEGER NOT NULL);

-- What `run.changed` is taken from. Whoever takes it holds the row of the sweep in `tally`, so that within a sweep the
-- order of the numbers is the order of the commits.
CREATE SEQUENCE changed;

CREATE TABLE sweep (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    method TEXT NOT NULL,
    config TEXT NOT NULL,                -- JSON
    metric TEXT,                         -- JSON
    run_cap BIGINT,
    max_attempts BIGINT,
    expected_runs TEXT,                  -- decimal: a grid may have more than 2^63 points
    project TEXT,
    entity TEXT,
    text TEXT,
    folder TEXT,
    version BIGINT NOT NULL DEFAULT 1,
    cursor BIGINT NOT NULL DEFAULT 0,
    exhausted BIGINT NOT NULL DEFAULT 0,
    created DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL,
    ordinal BIGSERIAL                    -- the order of creation
);

-- What changes with every claim, kept by the triggers below in one narrow row per sweep: so nothing is counted by a
-- scan, and a claim rewrites one small page. The row '' is for runs outside every sweep.
CREATE TABLE tally (
    sweep TEXT PRIMARY KEY,
    numbers BIGINT NOT NULL DEFAULT 0,  -- the latest run.number
    started BIGINT NOT NULL DEFAULT 0,  -- runs that have been handed out: what run_cap limits
    reap_at DOUBLE PRECISION,            -- no lease runs out before this; NULL when none was given
    pending BIGINT NOT NULL DEFAULT 0,
    running BIGINT NOT NULL DEFAULT 0,
    finished BIGINT NOT NULL DEFAULT 0,
    stopped BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    crashed BIGINT NOT NULL DEFAULT 0,
    killed BIGINT NOT NULL DEFAULT 0,
    preempted BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The buffer: what a method has proposed and nobody has claimed.
CREATE TABLE suggestion (
    sweep TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    key TEXT NOT NULL,
    params TEXT NOT NULL,                -- JSON
    PRIMARY KEY (sweep, ordinal),
    UNIQUE (sweep, key)
);

CREATE TABLE run (
    id TEXT PRIMARY KEY,
    sweep TEXT,                          -- NULL: outside every sweep
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    params TEXT NOT NULL,                -- JSON
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    crashes BIGINT NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT '{}',   -- JSON
    summary TEXT NOT NULL DEFAULT '{}',  -- JSON
    value DOUBLE PRECISION,
    agent TEXT,
    stop_reason TEXT,
    exit_code BIGINT,
    error TEXT,
    created DOUBLE PRECISION NOT NULL,
    started DOUBLE PRECISION,
    ended DOUBLE PRECISION,
    changed BIGINT NOT NULL,
    project TEXT,
    kill BIGINT NOT NULL DEFAULT 0,     -- a stop that was asked for is to be a kill
    lease DOUBLE PRECISION,
    UNIQUE (sweep, key)
) WITH (fillfactor = 80);

CREATE INDEX run_changed ON run (coalesce(sweep, ''), changed);
CREATE INDEX run_number ON run (coalesce(sweep, ''), number);
CREATE INDEX run_queued ON run (sweep, state DESC, number) WHERE state IN ('pending', 'preempted');
CREATE INDEX run_running ON run (coalesce(sweep, '')) WHERE state = 'running';
-- Running ones are few and looked at one by one, so that a report touches no index.
CREATE INDEX run_value ON run (sweep, value, number) WHERE state IN ('finished', 'stopped') AND value IS NOT NULL;

-- Attempts that were lost, and those whose run was queued again; any other latest attempt is in the row of its run.
CREATE TABLE attempt (
    run TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    agent TEXT,
    started DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    superseded BIGINT NOT NULL DEFAULT 0,
    exit_code BIGINT,
    error TEXT,
    summary TEXT NOT NULL,               -- JSON
    value DOUBLE PRECISION,
    lost BIGINT NOT NULL DEFAULT 0,     -- its lease ran out
    PRIMARY KEY (run, attempt)
);

CREATE TABLE history (
    run TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    step BIGINT NOT NULL,
    time DOUBLE PRECISION NOT NULL,
    data TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (run, attempt, seq)
);

CREATE TABLE mark (
    run TEXT NOT NULL,
    rung BIGINT NOT NULL,
    sweep TEXT NOT NULL,
    loss DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, rung)
);

CREATE INDEX mark_loss ON mark (sweep, rung, loss);

CREATE TABLE agent (
    id TEXT PRIMARY KEY,
    sweep TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    seen DOUBLE PRECISION NOT NULL,
    ordinal BIGSERIAL                    -- the order of registration
);

CREATE INDEX agent_sweep ON agent (sweep);

CREATE TABLE rung_size (
    sweep TEXT NOT NULL,
    rung BIGINT NOT NULL,
    marks BIGINT NOT NULL,
    PRIMARY KEY (sweep, rung)
);

CREATE FUNCTION sweep_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally (sweep) VALUES (new.id);
    RETURN NULL;
END $$;

CREATE TRIGGER sweep_added AFTER INSERT ON sweep FOR EACH ROW EXECUTE FUNCTION sweep_added();

CREATE FUNCTION run_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally SET
        numbers = greatest(numbers, new.number),
        started = started + (new.attempt > 0)::int,
        reap_at = least(reap_at, new.lease),
        pending = pending + (new.state = 'pending')::int,
        running = running + (new.state = 'running')::int,
        finished = finished + (new.state = 'finished')::int,
        stopped = stopped + (new.state = 'stopped')::int,
        failed = failed + (new.state = 'failed')::int,
        crashed = crashed + (new.state = 'crashed')::int,
        killed = killed + (new.state = 'killed')::int,
        preempted = preempted + (new.state = 'preempted')::int
    WHERE sweep = coalesce(new.sweep, '');
    RETURN NULL;
END $$;

CREATE TRIGGER run_added AFTER INSERT ON run FOR EACH ROW EXECUTE FUNCTION run_added();

CREATE FUNCTION run_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally SET
        started = started + (old.attempt = 0 AND new.attempt > 0)::int,
        reap_at = least(reap_at, new.lease),
        pending = pending - (old.state = 'pending')::int + (new.state = 'pending')::int,
        running = running - (old.state = 'running')::int + (new.state = 'running')::int,
        finished = finished - (old.state = 'finished')::int + (new.state = 'finished')::int,
        stopped = stopped - (old.state = 'stopped')::int + (new.state = 'stopped')::int,
        failed = failed - (old.state = 'failed')::int + (new.state = 'failed')::int,
        crashed = crashed - (old.state = 'crashed')::int + (new.state = 'crashed')::int,
        killed = killed - (old.state = 'killed')::int + (new.state = 'killed')::int,
        preempted = preempted - (old.state = 'preempted')::int + (new.state = 'preempted')::int
    WHERE sweep = coalesce(new.sweep, '');
    RETURN NULL;
END $$;

CREATE TRIGGER run_moves AFTER UPDATE OF state ON run FOR EACH ROW WHEN (old.state <> new.state) EXECUTE FUNCTION run_moves();

CREATE FUNCTION run_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally SET
        started = started - (old.attempt > 0)::int,
        pending = pending - (old.state = 'pending')::int,
        running = running - (old.state = 'running')::int,
        finished = finished - (old.state = 'finished')::int,
        stopped = stopped - (old.state = 'stopped')::int,
        failed = failed - (old.state = 'failed')::int,
        crashed = crashed - (old.state = 'crashed')::int,
        killed = killed - (old.state = 'killed')::int,
        preempted = preempted - (old.state = 'preempted')::int
    WHERE sweep = coalesce(old.sweep, '');
    RETURN NULL;
END $$;

CREATE TRIGGER run_removed AFTER DELETE ON run FOR EACH ROW EXECUTE FUNCTION run_removed();

CREATE FUNCTION mark_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rung_size VALUES (new.sweep, new.rung, 1)
    ON CONFLICT (sweep, rung) DO UPDATE SET marks = rung_size.marks + 1;
    RETURN NULL;
END $$;

CREATE TRIGGER mark_added AFTER INSERT ON mark FOR EACH ROW EXECUTE FUNCTION mark_added();

CREATE FUNCTION mark_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rung_size SET marks = marks - 1 WHERE sweep = old.sweep AND rung = old.rung;
    RETURN NULL;
END $$;

CREATE TRIGGER mark_removed AFTER DELETE ON mark FOR EACH ROW EXECUTE FUNCTION mark_removed();

INSERT INTO tally (sweep) VALUES ('');
