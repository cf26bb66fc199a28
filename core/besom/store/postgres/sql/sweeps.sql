-- name: insert_sweep
INSERT INTO sweep (id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity, text, folder,
    created, updated)
VALUES (%(id)s, coalesce(%(name)s::text, 'sweep-' || %(id)s::text), 'pending', %(method)s, %(config)s, %(metric)s, %(run_cap)s, %(max_attempts)s, %(expected_runs)s, %(project)s,
    %(entity)s, %(text)s, %(folder)s, %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING
RETURNING id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity, text, folder,
    version, cursor, exhausted, created, updated;

-- name: get_sweep
SELECT id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity, text, folder,
    version, cursor, exhausted, created, updated
FROM sweep WHERE id = %s;

-- name: list_sweeps
SELECT id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity, text, folder,
    version, cursor, exhausted, created, updated
FROM sweep WHERE %(project)s::text IS NULL OR project = %(project)s ORDER BY ordinal DESC;

-- name: gate
-- What a claim must know of its sweep.
SELECT state, run_cap, started, max_attempts, reap_at, metric, finished + stopped + failed + crashed + killed, exhausted, pending + preempted
FROM sweep JOIN tally ON tally.sweep = id WHERE id = %s;

-- name: queue_word
-- What tells whether a claim that found nothing may find something now.
SELECT state, version, cursor, exhausted, pending, running, finished, stopped, failed, crashed, killed, preempted,
    (SELECT max(ordinal) FROM suggestion WHERE suggestion.sweep = sweep.id), reap_at
FROM sweep JOIN tally ON tally.sweep = id WHERE id = %s;

-- name: set_sweep_state
UPDATE sweep SET state = %(state)s, updated = %(now)s WHERE id = %(id)s;

-- name: amend_sweep
UPDATE sweep SET version = version + 1, config = %(config)s, text = %(text)s, run_cap = %(run_cap)s, max_attempts = %(max_attempts)s,
    expected_runs = %(expected_runs)s, cursor = 0, exhausted = 0, state = CASE state WHEN 'finished' THEN 'running' ELSE state END, updated = %(now)s
WHERE id = %(id)s;

-- name: empty_buffer
DELETE FROM suggestion WHERE sweep = %s;

-- name: queued_ids
SELECT id FROM run WHERE sweep = %s AND state IN ('pending', 'preempted') ORDER BY id;

-- name: running_ids
SELECT id FROM run WHERE sweep = %s AND state = 'running' ORDER BY id;

-- name: counts
SELECT pending, running, finished, stopped, failed, crashed, killed, preempted, started FROM tally WHERE sweep = %s;

-- name: buffered
SELECT count(*) FROM suggestion WHERE sweep = %s;

-- name: has_work
-- What can still be handed out or is running; :room says whether run_cap leaves room for runs that never started.
SELECT EXISTS (SELECT 1 FROM run WHERE sweep = %(sweep)s AND state = 'running')
    OR EXISTS (SELECT 1 FROM run WHERE sweep = %(sweep)s AND state IN ('pending', 'preempted') AND (attempt > 0 OR %(room)s::boolean))
    OR (%(room)s::boolean AND EXISTS (SELECT 1 FROM suggestion WHERE sweep = %(sweep)s));

-- name: insert_agent
INSERT INTO agent (id, sweep, host, pid, started, seen, job)
VALUES (%(id)s, %(sweep)s, %(host)s, %(pid)s, %(now)s, %(now)s, %(job)s) ON CONFLICT (id) DO NOTHING
RETURNING id, sweep, host, pid, started, seen, job;

-- name: list_agents
SELECT id, sweep, host, pid, started, seen, job FROM agent WHERE sweep = %s ORDER BY ordinal DESC;

-- name: agent_seen
-- Once a second is enough for people and spares a page in most claims.
UPDATE agent SET seen = %(now)s WHERE id = %(agent)s AND abs(%(now)s::float8 - seen) >= 1;

-- name: lock_sweep
-- Whoever moves a sweep's runs or counts holds this row; reports and heartbeats, the many, do not. The commit does not
-- wait for the disk: `Database.transaction` does once the row is free for the next.
SELECT set_config('synchronous_commit', 'off', true) FROM tally WHERE sweep = %s FOR UPDATE;

-- name: lock_run
SELECT set_config('synchronous_commit', 'off', true) FROM tally WHERE sweep = (SELECT coalesce(sweep, '') FROM run WHERE id = %s) FOR UPDATE;
