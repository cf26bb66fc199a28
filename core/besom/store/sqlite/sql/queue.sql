-- name: offer_cursor
UPDATE sweep SET cursor = :next, exhausted = :exhausted, updated = :now WHERE id = :sweep AND version = :version AND cursor = :cursor;

-- name: last_ordinal
SELECT coalesce(max(ordinal), 0) FROM suggestion WHERE sweep = ?;

-- name: offer
INSERT OR IGNORE INTO suggestion SELECT :sweep, :ordinal, :key, :params
WHERE NOT EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND key = :key);

-- name: drop_suggestion
DELETE FROM suggestion WHERE sweep = ? AND key = ?;

-- name: release
INSERT OR IGNORE INTO suggestion SELECT :sweep, coalesce(min(ordinal), 1) - 1, :key, :params FROM suggestion WHERE sweep = :sweep;

-- name: next_number
UPDATE sweep SET numbers = numbers + 1 WHERE id = ? RETURNING numbers;

-- name: enqueue
INSERT INTO run (id, sweep, number, name, state, params, key, source, config, summary, value, exit_code, error, created, ended, changed)
VALUES (:id, :sweep, :number, :name, :state, :params, :key, :source, '{}', :summary, :value, :exit_code, :error, :now, :ended,
    (SELECT changed + 1 FROM store))
RETURNING *;

-- name: take_suggestion
DELETE FROM suggestion WHERE sweep = :sweep AND ordinal = (SELECT min(ordinal) FROM suggestion WHERE sweep = :sweep)
RETURNING key, params;

-- name: start_new
UPDATE sweep SET numbers = numbers + 1, started = started + 1, reap_at = min(coalesce(reap_at, :lease), :lease)
WHERE id = :sweep RETURNING numbers;

-- name: insert_claimed
INSERT INTO run (id, sweep, number, name, state, params, key, source, attempt, agent, created, started, changed, lease)
VALUES (:id, :sweep, :number, 'run-' || :number, 'running', :params, :key, 'method', 1, :agent, :now, :now,
    (SELECT changed + 1 FROM store), :lease)
RETURNING *;

-- name: claim_queued
UPDATE run SET state = 'running', attempt = attempt + 1, agent = :agent, started = :now, ended = NULL, stop_reason = NULL, kill = 0,
    exit_code = NULL, error = NULL, lease = :lease, changed = (SELECT changed + 1 FROM store)
WHERE id = (
    SELECT id FROM run WHERE sweep = :sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR :room)
    ORDER BY state DESC, number LIMIT 1)
RETURNING *;

-- name: start_queued
UPDATE sweep SET started = started + :first, reap_at = min(coalesce(reap_at, :lease), :lease) WHERE id = :sweep;

-- name: overdue
SELECT * FROM run WHERE sweep IS :sweep AND state = 'running' AND lease <= :now ORDER BY number;

-- name: next_reap
UPDATE sweep SET reap_at = (SELECT min(lease) FROM run WHERE sweep = :sweep AND state = 'running') WHERE id = :sweep;

-- name: expire_leases
UPDATE run SET lease = -1 WHERE state = 'running';

-- name: expire_sweeps
UPDATE sweep SET reap_at = -1 WHERE reap_at IS NOT NULL;

-- name: get_boot
SELECT boot FROM store;

-- name: set_boot
UPDATE store SET boot = ?;
