-- name: offer_cursor
UPDATE sweep SET cursor = :next, exhausted = :exhausted, updated = :now WHERE id = :sweep AND version = :version AND cursor = :cursor;

-- name: lease_proposer
INSERT INTO proposer VALUES (:sweep, :holder, 1, :until)
ON CONFLICT DO UPDATE SET term = term + (holder <> excluded.holder), holder = excluded.holder, lease = excluded.lease
WHERE holder = excluded.holder OR lease <= :now
RETURNING term;

-- name: release_proposer
UPDATE proposer SET lease = :now WHERE sweep = :sweep AND holder = :holder RETURNING term;

-- name: proposer_term
SELECT term FROM proposer WHERE sweep = ?;

-- name: buffer
SELECT key, params, stale_at FROM suggestion WHERE sweep = ? ORDER BY ordinal;

-- name: last_ordinal
SELECT coalesce(max(ordinal), 0) FROM suggestion WHERE sweep = ?;

-- name: offer
INSERT OR IGNORE INTO suggestion SELECT :sweep, :ordinal, :key, :params, :stale_at
WHERE NOT EXISTS (SELECT 1 FROM run WHERE sweep = :sweep AND key = :key);

-- name: place
SELECT ordinal FROM suggestion WHERE sweep = ? AND key = ?;

-- name: drop_suggestion
DELETE FROM suggestion WHERE sweep = ? AND key = ?;

-- name: release
INSERT OR IGNORE INTO suggestion SELECT :sweep, coalesce(min(ordinal), 1) - 1, :key, :params, NULL FROM suggestion WHERE sweep = :sweep;

-- name: next_number
SELECT numbers + 1 FROM tally WHERE sweep = ?;

-- name: enqueue
INSERT INTO run (id, sweep, number, name, state, params, key, source, summary, value, exit_code, error, created, ended, changed)
VALUES (:id, :sweep, :number, 'run-' || :number, :state, :params, :key, :source, :summary, :value, :exit_code, :error, :now, :ended,
    (SELECT changed + 1 FROM tally WHERE sweep = ''))
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: take_suggestion
DELETE FROM suggestion WHERE sweep = :sweep AND ordinal = (SELECT min(ordinal) FROM suggestion WHERE sweep = :sweep)
RETURNING key, params, stale_at;

-- name: insert_claimed
INSERT INTO run (id, sweep, number, name, state, params, key, source, attempt, agent, created, started, changed, lease)
SELECT :id, :sweep, numbers + 1, 'run-' || (numbers + 1), 'running', :params, :key, 'method', 1, :agent, :now, :now,
    (SELECT changed + 1 FROM tally WHERE sweep = ''), :lease
FROM tally WHERE sweep = :sweep
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: claim_queued
UPDATE run SET state = 'running', attempt = attempt + 1, agent = :agent, started = :now, ended = NULL, stop_reason = NULL, kill = 0,
    exit_code = NULL, error = NULL, lease = :lease, changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = (
    SELECT id FROM run WHERE sweep = :sweep AND state IN ('pending', 'preempted') AND (attempt > 0 OR :room)
    ORDER BY state DESC, number LIMIT 1)
RETURNING *;

-- name: overdue
SELECT id, failures, crashes, stop_reason, kill FROM run
WHERE sweep IS :sweep AND state = 'running' AND lease <= :now ORDER BY number;

-- name: next_reap
UPDATE tally SET reap_at = (SELECT min(lease) FROM run WHERE sweep IS :sweep AND state = 'running')
WHERE sweep = coalesce(:sweep, '');

-- name: expire_leases
UPDATE run SET lease = -1 WHERE state = 'running';

-- name: expire_tallies
UPDATE tally SET reap_at = -1 WHERE reap_at IS NOT NULL;

-- name: expire_proposers
UPDATE proposer SET lease = -1;

-- name: get_boot
SELECT boot FROM store;

-- name: set_boot
UPDATE store SET boot = ?;
