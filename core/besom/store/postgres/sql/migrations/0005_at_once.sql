-- Version 5: a report touches no index, and to take a run or to end it is one call.

-- The values of runs that ended well, kept by the triggers below. An index of `run` on its value would be written to by
-- every report, whatever its predicate: PostgreSQL updates a row in place only if no column of any index changes.
CREATE TABLE result (
    sweep TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    number BIGINT NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (sweep, value, number)
);

INSERT INTO result
SELECT sweep, value, number, id FROM run WHERE sweep IS NOT NULL AND state IN ('finished', 'stopped') AND value IS NOT NULL;

DROP INDEX run_value;

CREATE FUNCTION result_cleared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM result WHERE sweep = old.sweep AND value = old.value AND number = old.number;
    RETURN NULL;
END $$;

CREATE FUNCTION result_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO result VALUES (new.sweep, new.value, new.number, new.id);
    RETURN NULL;
END $$;

-- Triggers fire in the order of their names.
CREATE TRIGGER result_cleared AFTER DELETE OR UPDATE OF state ON run FOR EACH ROW
WHEN (old.state IN ('finished', 'stopped') AND old.value IS NOT NULL AND old.sweep IS NOT NULL)
EXECUTE FUNCTION result_cleared();

CREATE TRIGGER result_written AFTER INSERT OR UPDATE OF state ON run FOR EACH ROW
WHEN (new.state IN ('finished', 'stopped') AND new.value IS NOT NULL AND new.sweep IS NOT NULL)
EXECUTE FUNCTION result_written();

-- The two procedures do what a claim and an end mostly are. Where more is to be done, they change nothing, give NULL, and
-- the store goes the long way. Each commits twice: first without a wait for the disk, so that the next one has the row
-- of counts at once, then a transaction of its own that does wait: for its own record, and thereby for all before it.

-- Takes a sweep's row of counts until the end of the transaction. Whoever finds it taken looks again a moment later: in a
-- queue of sleepers, each would have to be woken before the next could go on, and a busy machine is slow to wake them.
CREATE FUNCTION hold_counts(of_sweep TEXT) RETURNS tally LANGUAGE plpgsql AS $$
DECLARE
    held tally;
BEGIN
    FOR tries IN 1..200 LOOP
        SELECT * INTO held FROM tally WHERE sweep = of_sweep FOR UPDATE SKIP LOCKED;
        IF FOUND OR NOT EXISTS (SELECT FROM tally WHERE sweep = of_sweep) THEN
            RETURN held;
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    SELECT * INTO held FROM tally WHERE sweep = of_sweep FOR UPDATE;
    RETURN held;
END $$;

CREATE PROCEDURE claim_at_once(
    of_sweep TEXT, by_agent TEXT, under_id TEXT, at DOUBLE PRECISION, lease_at DOUBLE PRECISION, until DOUBLE PRECISION,
    INOUT taken run
) LANGUAGE plpgsql AS $$
DECLARE
    counts tally;
    found_sweep RECORD;
    point suggestion;
    room BOOLEAN;
BEGIN
    SET LOCAL synchronous_commit = off;
    UPDATE agent SET seen = at WHERE id = by_agent AND abs(at - seen) >= 1;
    counts := hold_counts(of_sweep);
    SELECT state, run_cap, exhausted INTO found_sweep FROM sweep WHERE id = of_sweep;
    IF coalesce(found_sweep.state NOT IN ('pending', 'running'), true) OR counts.reap_at <= lease_at THEN
        RETURN;
    END IF;
    IF found_sweep.state = 'pending' THEN
        UPDATE sweep SET state = 'running', updated = at WHERE id = of_sweep;
    END IF;
    room := found_sweep.run_cap IS NULL OR counts.started < found_sweep.run_cap;
    IF counts.pending + counts.preempted > 0 THEN
        UPDATE run SET state = 'running', attempt = attempt + 1, agent = by_agent, started = at, ended = NULL,
            stop_reason = NULL, kill = 0, exit_code = NULL, error = NULL, lease = until, changed = nextval('changed')
        WHERE id = (
            SELECT id FROM run WHERE run.sweep = of_sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR room)
            ORDER BY state DESC, number LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING * INTO taken;
    END IF;
    IF taken.id IS NULL AND room THEN
        DELETE FROM suggestion WHERE suggestion.sweep = of_sweep
            AND ordinal = (SELECT min(ordinal) FROM suggestion WHERE suggestion.sweep = of_sweep)
        RETURNING * INTO point;
        IF point.key IS NOT NULL AND (found_sweep.exhausted = 1 OR point.stale_at IS NULL
            OR counts.finished + counts.stopped + counts.failed + counts.crashed + counts.killed < point.stale_at) THEN
            INSERT INTO run (id, sweep, number, name, state, params, key, source, attempt, agent, created, started, changed, lease)
            VALUES (under_id, of_sweep, counts.numbers + 1, 'run-' || (counts.numbers + 1), 'running', point.params, point.key,
                'method', 1, by_agent, at, at, nextval('changed'), until)
            ON CONFLICT (id) DO NOTHING RETURNING * INTO taken;
        END IF;
    END IF;
    IF taken.id IS NULL THEN
        ROLLBACK;
        taken := NULL;
        RETURN;
    END IF;
    COMMIT;
    PERFORM pg_logical_emit_message(true, 'besom', '');
END $$;

CREATE PROCEDURE finish_at_once(
    of_run TEXT, at_attempt BIGINT, as_state TEXT, with_code BIGINT, with_error TEXT, with_summary TEXT,
    with_value DOUBLE PRECISION, at DOUBLE PRECISION, INOUT done run
) LANGUAGE plpgsql AS $$
DECLARE
    home TEXT;
    attempts BIGINT;
    target TEXT;
BEGIN
    SET LOCAL synchronous_commit = off;
    SELECT run.sweep, max_attempts, metric::json ->> 'target' INTO home, attempts, target
    FROM run LEFT JOIN sweep ON sweep.id = run.sweep WHERE run.id = of_run;
    IF as_state = 'preempted' OR target IS NOT NULL THEN
        RETURN;  -- the run may go back into the queue, or end its sweep
    END IF;
    PERFORM hold_counts(coalesce(home, ''));
    UPDATE run SET state = as_state, failures = failures + (as_state = 'failed')::int,
        summary = coalesce(with_summary, summary),
        value = CASE WHEN with_summary IS NULL THEN coalesce(with_value, value) ELSE with_value END,
        exit_code = with_code, error = with_error, ended = at, lease = NULL, changed = nextval('changed')
    WHERE id = of_run AND attempt = at_attempt AND lease IS NOT NULL
        AND (as_state <> 'failed' OR home IS NULL OR stop_reason IS NOT NULL OR failures + 1 >= coalesce(attempts, 1))
    RETURNING * INTO done;
    IF done.id IS NULL THEN
        done := NULL;
        RETURN;
    END IF;
    COMMIT;
    PERFORM pg_logical_emit_message(true, 'besom', '');
END $$;
