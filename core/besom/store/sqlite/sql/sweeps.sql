-- name: insert_sweep
INSERT INTO sweep (id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity, text, folder,
    created, updated)
VALUES (:id, coalesce(:name, 'sweep-' || :id), 'pending', :method, :config, :metric, :run_cap, :max_attempts, :expected_runs, :project,
    :entity, :text, :folder, :now, :now)
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: get_sweep
SELECT * FROM sweep WHERE id = ?;

-- name: list_sweeps
SELECT * FROM sweep WHERE :project IS NULL OR project = :project ORDER BY rowid DESC;

-- name: gate
-- What a claim must know of its sweep.
SELECT state, run_cap, started, max_attempts, reap_at, metric, finished + stopped + failed + crashed + killed, exhausted, pending + preempted
FROM sweep JOIN tally ON tally.sweep = id WHERE id = ?;

-- name: queue_word
-- What tells whether a claim that found nothing may find something now.
SELECT state, version, cursor, exhausted, pending, running, finished, stopped, failed, crashed, killed, preempted,
    (SELECT max(ordinal) FROM suggestion WHERE suggestion.sweep = sweep.id), reap_at
FROM sweep JOIN tally ON tally.sweep = id WHERE id = ?;

-- name: set_sweep_state
UPDATE sweep SET state = :state, updated = :now WHERE id = :id;

-- name: amend_sweep
UPDATE sweep SET version = version + 1, config = :config, text = :text, run_cap = :run_cap, max_attempts = :max_attempts,
    expected_runs = :expected_runs,    cursor = 0, exhausted = 0, state = CASE state WHEN 'finished' THEN 'running' ELSE state END, updated = :now
WHERE id = :id;

-- name: empty_buffer
DELETE FROM suggestion WHERE sweep = ?;

-- name: queued_ids
SELECT id FROM run WHERE sweep = ? AND state IN ('pending', 'preempted') ORDER BY number;

-- name: running_ids
SELECT id FROM run WHERE sweep = ? AND state = 'running';

-- name: counts
SELECT pending, running, finished, stopped, failed, crashed, killed, preempted, started FROM tally WHERE sweep = ?;

-- name: buffered
SELECT count(*) FROM suggestion WHERE sweep = ?;

-- name: has_work
-- What can still be handed out or is running; :room says whether run_cap leaves room for runs that never started.
SELECT EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND state = 'running')
    OR EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR :room))
    OR (:room AND EXISTS (SELECT 1 FROM suggestion WHERE sweep = :sweep));

-- name: insert_agent
INSERT INTO agent VALUES (:id, :sweep, :host, :pid, :now, :now, :job) ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: list_agents
SELECT * FROM agent WHERE sweep = ? ORDER BY rowid DESC;

-- name: agent_seen
-- Once a second is enough for people and spares a page in most claims.
UPDATE agent SET seen = :now WHERE id = :agent AND abs(:now - seen) >= 1;
