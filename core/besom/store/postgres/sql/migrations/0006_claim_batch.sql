-- Version 6: several runs are taken by one call.

-- As `claim_at_once` in version 5, as often as there are ids for new runs, but with one commit and one wait for the disk. A
-- procedure of its own: to hand out an array costs a single claim a tenth more.
CREATE PROCEDURE claim_batch_at_once(
    of_sweep TEXT, by_agent TEXT, under_ids TEXT[], at DOUBLE PRECISION, lease_at DOUBLE PRECISION, until DOUBLE PRECISION,
    INOUT taken run[]
) LANGUAGE plpgsql AS $$
DECLARE
    counts tally;
    found_sweep RECORD;
    point suggestion;
    one run;
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
    FOR place IN 1..cardinality(under_ids) LOOP
        IF place > 1 THEN
            SELECT * INTO counts FROM tally WHERE sweep = of_sweep;
        END IF;
        room := found_sweep.run_cap IS NULL OR counts.started < found_sweep.run_cap;
        one := NULL;
        IF counts.pending + counts.preempted > 0 THEN
            UPDATE run SET state = 'running', attempt = attempt + 1, agent = by_agent, started = at, ended = NULL,
                stop_reason = NULL, kill = 0, exit_code = NULL, error = NULL, lease = until, changed = nextval('changed')
            WHERE id = (
                SELECT id FROM run WHERE run.sweep = of_sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR room)
                ORDER BY state DESC, number LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING * INTO one;
        END IF;
        IF one.id IS NULL AND room THEN
            LOOP
                DELETE FROM suggestion WHERE suggestion.sweep = of_sweep
                    AND ordinal = (SELECT min(ordinal) FROM suggestion WHERE suggestion.sweep = of_sweep)
                RETURNING * INTO point;
                EXIT WHEN point.key IS NULL OR found_sweep.exhausted = 1 OR point.stale_at IS NULL
                    OR counts.finished + counts.stopped + counts.failed + counts.crashed + counts.killed < point.stale_at;
            END LOOP;
            IF point.key IS NOT NULL THEN
                INSERT INTO run (id, sweep, number, name, state, params, key, source, attempt, agent, created, started, changed, lease)
                VALUES (under_ids[place], of_sweep, counts.numbers + 1, 'run-' || (counts.numbers + 1), 'running', point.params,
                    point.key, 'method', 1, by_agent, at, at, nextval('changed'), until)
                ON CONFLICT (id) DO NOTHING RETURNING * INTO one;
                IF one.id IS NULL THEN
                    taken := NULL;  -- there is such an id
                    EXIT;
                END IF;
            END IF;
        END IF;
        EXIT WHEN one.id IS NULL;
        taken := taken || one;
    END LOOP;
    IF taken IS NULL THEN
        ROLLBACK;
        RETURN;
    END IF;
    COMMIT;
    PERFORM pg_logical_emit_message(true, 'besom', '');
END $$;
