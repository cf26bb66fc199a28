-- name: insert_sweep
INSERT INTO sweep (id, name, state, method, metric, run_cap, max_attempts, expected_runs, project, entity, folder, created, updated)
VALUES (:id, :name, 'pending', :method, :metric, :run_cap, :max_attempts, :expected_runs, :project, :entity, :folder, :now, :now);

-- name: insert_sweep_file
INSERT INTO sweep_file VALUES (:id, :config, :text);

-- name: get_sweep
SELECT sweep.*, sweep_file.config, sweep_file.text FROM sweep JOIN sweep_file ON sweep_file.sweep = sweep.id WHERE id = ?;

-- name: list_sweeps
SELECT sweep.*, sweep_file.config, sweep_file.text FROM sweep JOIN sweep_file ON sweep_file.sweep = sweep.id
WHERE :project IS NULL OR project = :project ORDER BY sweep.rowid DESC;

-- name: sweep_gate
SELECT state, run_cap, started, max_attempts, reap_at, version, cursor, exhausted, metric FROM sweep WHERE id = ?;

-- name: set_sweep_state
UPDATE sweep SET state = :state, updated = :now WHERE id = :id;

-- name: amend_sweep
UPDATE sweep SET version = version + 1, run_cap = :run_cap, expected_runs = :expected_runs, cursor = 0, exhausted = 0,
    state = CASE state WHEN 'finished' THEN 'running' ELSE state END, updated = :now
WHERE id = :id;

-- name: amend_sweep_file
UPDATE sweep_file SET config = :config, text = :text WHERE sweep = :id;

-- name: empty_buffer
DELETE FROM suggestion WHERE sweep = ?;

-- name: kill_queued
UPDATE run SET state = 'killed', stop_reason = :reason, kill = 1, ended = :now, changed = (SELECT changed + 1 FROM store)
WHERE id = :run;

-- name: queued_ids
SELECT id FROM run WHERE sweep = ? AND state IN ('pending', 'preempted') ORDER BY number;

-- name: running_ids
SELECT id FROM run WHERE sweep = ? AND state = 'running';

-- name: counts
SELECT state, runs FROM run_count WHERE sweep = ? AND runs > 0;

-- name: buffered
SELECT count(*) FROM suggestion WHERE sweep = ?;

-- name: has_work
-- What can still be handed out or is running; :room says whether run_cap leaves room for runs that never started.
SELECT EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND state = 'running')
    OR EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR :room))
    OR (:room AND EXISTS (SELECT 1 FROM suggestion WHERE sweep = :sweep));

-- name: insert_agent
INSERT INTO agent VALUES (:id, :sweep, :host, :pid, :now, :now);

-- name: list_agents
SELECT * FROM agent WHERE sweep = ? ORDER BY rowid DESC;

-- name: agent_seen
-- Once a second is enough for people and spares a page in most claims.
UPDATE agent SET seen = :now WHERE id = :agent AND abs(:now - seen) >= 1;
