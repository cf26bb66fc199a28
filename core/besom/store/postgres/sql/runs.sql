-- name: get_run
SELECT * FROM run WHERE id = %s;

-- name: find_key
SELECT * FROM run WHERE sweep = %s AND key = %s;

-- name: list_runs
SELECT * FROM run
WHERE coalesce(sweep, '') = coalesce(%(sweep)s::text, '') AND (%(states)s::text IS NULL OR state IN (SELECT json_array_elements_text(%(states)s::json)))
ORDER BY number LIMIT nullif(%(limit)s::bigint, -1);

-- name: list_changed
SELECT * FROM run
WHERE coalesce(sweep, '') = coalesce(%(sweep)s::text, '') AND changed > %(after)s AND (%(states)s::text IS NULL OR state IN (SELECT json_array_elements_text(%(states)s::json)))
ORDER BY changed LIMIT nullif(%(limit)s::bigint, -1);

-- name: observations
SELECT id, state, params, value, changed, CASE WHEN %(summaries)s THEN summary END, CASE WHEN %(marks)s THEN
    coalesce((SELECT json_object_agg(rung, loss)::text FROM mark WHERE mark.run = run.id AND abs(loss) < 1e300), '{}') END FROM run
WHERE sweep = %(sweep)s AND changed > %(after)s AND state IN ('finished', 'stopped', 'failed', 'crashed', 'killed')
ORDER BY changed LIMIT nullif(%(limit)s::bigint, -1);

-- name: active
SELECT params FROM run WHERE sweep = %(sweep)s AND state = 'running'
UNION ALL SELECT params FROM run WHERE sweep = %(sweep)s AND state IN ('pending', 'preempted')
UNION ALL SELECT params FROM suggestion WHERE sweep = %(sweep)s;

-- name: lowest
SELECT run.* FROM result JOIN run ON run.id = result.run WHERE result.sweep = %(sweep)s
ORDER BY result.value, result.number LIMIT 1;

-- name: highest
SELECT run.* FROM result JOIN run ON run.id = result.run
WHERE result.sweep = %(sweep)s AND result.value = (SELECT max(value) FROM result WHERE sweep = %(sweep)s)
ORDER BY result.number LIMIT 1;

-- name: lowest_running
SELECT * FROM run WHERE sweep = %(sweep)s AND state = 'running' AND value IS NOT NULL ORDER BY value, number LIMIT 1;

-- name: highest_running
SELECT * FROM run WHERE sweep = %(sweep)s AND state = 'running' AND value IS NOT NULL ORDER BY value DESC, number LIMIT 1;

-- name: from_lowest
SELECT run.* FROM result JOIN run ON run.id = result.run WHERE result.sweep = %(sweep)s
ORDER BY result.value, result.number LIMIT %(count)s OFFSET %(start)s;

-- name: from_highest
SELECT run.* FROM result JOIN run ON run.id = result.run WHERE result.sweep = %(sweep)s
ORDER BY result.value DESC, result.number LIMIT %(count)s OFFSET %(start)s;

-- name: insert_solo
INSERT INTO run (id, number, name, state, params, key, source, attempt, created, started, changed, lease, project)
VALUES (%(id)s, %(number)s, %(name)s, 'running', '{}', %(id)s, 'solo', 1, %(now)s, %(now)s, nextval('changed'), %(lease)s, %(project)s)
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: next_solo
SELECT numbers + 1 FROM tally WHERE sweep = '';

-- name: restart_solo
UPDATE run SET state = 'running', attempt = attempt + 1, name = coalesce(%(name)s::text, name), project = coalesce(%(project)s::text, project),
    started = %(now)s, ended = NULL, stop_reason = NULL, kill = 0, exit_code = NULL, error = NULL, lease = %(lease)s,
    changed = nextval('changed')
WHERE id = %(id)s RETURNING *;

-- name: prolong
-- A run has a lease while it runs. Asked for by `state`, it might be looked for among all that run.
UPDATE run SET lease = greatest(lease, %(lease)s::float8) WHERE id = %(run)s AND attempt = %(attempt)s AND lease IS NOT NULL
RETURNING stop_reason, kill, agent;

-- name: report
-- Where a stop was asked for it changes nothing, and `report_asked` is for that.
UPDATE run SET lease = greatest(lease, %(lease)s::float8), summary = coalesce(%(summary)s::text, summary),
    value = CASE WHEN %(summary)s::text IS NULL THEN coalesce(%(value)s::float8, value) ELSE %(value)s::float8 END
WHERE id = %(run)s AND attempt = %(attempt)s AND lease IS NOT NULL AND stop_reason IS NULL;

-- name: report_row
-- Does what `report` and `insert_row` do for one row.
WITH held AS (
    UPDATE run SET lease = greatest(lease, %(lease)s::float8), summary = coalesce(%(summary)s::text, summary),
        value = CASE WHEN %(summary)s::text IS NULL THEN coalesce(%(value)s::float8, value) ELSE %(value)s::float8 END
    WHERE id = %(run)s AND attempt = %(attempt)s AND lease IS NOT NULL AND stop_reason IS NULL
    RETURNING id, attempt)
INSERT INTO history SELECT id, attempt, %(seq)s::bigint, %(step)s::bigint, %(time)s::float8, %(data)s::text FROM held
ON CONFLICT DO NOTHING;

-- name: report_asked
UPDATE run SET lease = greatest(lease, %(lease)s::float8), summary = coalesce(%(summary)s::text, summary),
    value = CASE WHEN %(summary)s::text IS NULL THEN coalesce(%(value)s::float8, value) ELSE %(value)s::float8 END
WHERE id = %(run)s AND attempt = %(attempt)s AND lease IS NOT NULL
RETURNING stop_reason, kill;

-- name: insert_row
-- Locks the run against deletion, so that no row outlives it.
INSERT INTO history SELECT new.* FROM (VALUES (%s::text, %s::bigint, %s::bigint, %s::bigint, %s::float8, %s::text)) AS new (run, attempt, seq, step, time, data)
WHERE EXISTS (SELECT 1 FROM run WHERE id = new.run FOR KEY SHARE)
ON CONFLICT DO NOTHING;

-- name: set_run_config
UPDATE run SET config = %(config)s WHERE id = %(run)s AND attempt = %(attempt)s AND lease IS NOT NULL;

-- name: finish_at_once
CALL finish_at_once(%(run)s, %(attempt)s, %(state)s, %(exit_code)s, %(error)s, %(summary)s, %(value)s, %(now)s, NULL);

-- name: end_run
UPDATE run SET state = %(state)s, failures = %(failures)s, crashes = %(crashes)s, summary = coalesce(%(summary)s::text, summary),
    value = CASE WHEN %(summary)s::text IS NULL THEN coalesce(%(value)s::float8, value) ELSE %(value)s::float8 END,
    exit_code = %(exit_code)s, error = %(error)s, ended = %(ended)s, lease = NULL, changed = nextval('changed')
WHERE id = %(run)s RETURNING *;

-- name: standing
-- What ends an attempt must know of its run.
SELECT state, attempt, failures, crashes, stop_reason, kill, sweep FROM run WHERE id = %s;

-- name: archive
-- Keeps the latest attempt as it stands in the row of its run, which is about to change.
INSERT INTO attempt (run, attempt, agent, started, ended, state, exit_code, error, summary, value, lost)
SELECT id, attempt, agent, started, coalesce(ended, %(now)s::float8), coalesce(%(state)s::text, state), exit_code, error, summary, value, %(lost)s
FROM run WHERE id = %(run)s AND attempt > 0
ON CONFLICT DO NOTHING;

-- name: get_attempt
SELECT * FROM attempt WHERE run = %s AND attempt = %s;

-- name: supersede
UPDATE attempt SET superseded = 1, ended = %(now)s, state = %(state)s, exit_code = %(exit_code)s, error = %(error)s,
    summary = coalesce(%(summary)s::text, summary),
    value = CASE WHEN %(summary)s::text IS NULL THEN coalesce(%(value)s::float8, value) ELSE %(value)s::float8 END
WHERE run = %(run)s AND attempt = %(attempt)s AND lost = 1 AND superseded = 0;

-- name: find_lost
-- A lease that was given up for lost is held again, or ends its run after all.
DELETE FROM attempt WHERE run = %s AND attempt = %s AND lost = 1;

-- name: revive
UPDATE run SET state = 'running', lease = %(lease)s, error = NULL, ended = NULL, changed = nextval('changed')
WHERE id = %(run)s;

-- name: attempts
SELECT * FROM attempt WHERE run = %s ORDER BY attempt;

-- name: request_stop
UPDATE run SET stop_reason = coalesce(stop_reason, %(reason)s::text), kill = greatest(kill, %(kill)s::int), changed = nextval('changed')
WHERE id = %(run)s RETURNING *;

-- name: stop_queued
UPDATE run SET state = %(state)s, stop_reason = %(reason)s, kill = %(kill)s::int, ended = %(now)s, changed = nextval('changed')
WHERE id = %(run)s RETURNING *;

-- name: retry
UPDATE run SET state = 'pending', failures = 0, crashes = 0, stop_reason = NULL, kill = 0, ended = NULL,
    changed = nextval('changed')
WHERE id = %s RETURNING *;

-- name: delete_history
DELETE FROM history WHERE run = %s;

-- name: delete_attempts
DELETE FROM attempt WHERE run = %s;

-- name: delete_marks
DELETE FROM mark WHERE run = %s;

-- name: delete_run
DELETE FROM run WHERE id = %s;

-- name: history
SELECT seq, step, time, data FROM history
WHERE run = %(run)s AND attempt = coalesce(%(attempt)s::bigint, (SELECT max(attempt) FROM history WHERE run = %(run)s)) AND seq > %(after)s
ORDER BY seq LIMIT nullif(%(limit)s::bigint, -1);

-- name: last_row
SELECT seq, step, time, data FROM history WHERE run = %s AND attempt = %s ORDER BY seq DESC LIMIT 1;

-- name: mark
INSERT INTO mark VALUES (%(run)s, %(rung)s, %(sweep)s::text, %(loss)s) ON CONFLICT (run, rung) DO UPDATE SET loss = excluded.loss;

-- name: rung_size
SELECT coalesce((SELECT marks FROM rung_size WHERE sweep = %s AND rung = %s), 0);

-- name: rung_loss
SELECT loss FROM mark WHERE sweep = %s AND rung = %s ORDER BY loss LIMIT 1 OFFSET %s;

-- name: run_marks
SELECT rung, loss FROM mark WHERE run = %s ORDER BY rung;
