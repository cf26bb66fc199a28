-- name: offer_cursor
UPDATE sweep SET cursor = %(next)s, exhausted = %(exhausted)s::int, updated = %(now)s WHERE id = %(sweep)s AND version = %(version)s AND cursor = %(cursor)s;

-- name: lease_proposer
INSERT INTO proposer VALUES (%(sweep)s, %(holder)s, 1, %(until)s)
ON CONFLICT (sweep) DO UPDATE SET term = proposer.term + (proposer.holder <> excluded.holder)::int, holder = excluded.holder,
    lease = excluded.lease
WHERE proposer.holder = excluded.holder OR proposer.lease <= %(now)s
RETURNING term;

-- name: release_proposer
UPDATE proposer SET lease = %(now)s WHERE sweep = %(sweep)s AND holder = %(holder)s RETURNING term;

-- name: proposer_term
SELECT term FROM proposer WHERE sweep = %s;

-- name: buffer
SELECT key, params, stale_at FROM suggestion WHERE sweep = %s ORDER BY ordinal;

-- name: last_ordinal
SELECT coalesce(max(ordinal), 0) FROM suggestion WHERE sweep = %s;

-- name: offer
INSERT INTO suggestion SELECT %(sweep)s::text, %(ordinal)s, %(key)s::text, %(params)s::text, %(stale_at)s::bigint
WHERE NOT EXISTS (SELECT 1 FROM run WHERE sweep = %(sweep)s AND key = %(key)s)
ON CONFLICT DO NOTHING;

-- name: place
SELECT ordinal FROM suggestion WHERE sweep = %s AND key = %s;

-- name: drop_suggestion
DELETE FROM suggestion WHERE sweep = %s AND key = %s;

-- name: release
INSERT INTO suggestion SELECT %(sweep)s::text, coalesce(min(ordinal), 1) - 1, %(key)s::text, %(params)s::text, NULL::bigint FROM suggestion WHERE sweep = %(sweep)s
ON CONFLICT DO NOTHING;

-- name: next_number
SELECT numbers + 1 FROM tally WHERE sweep = %s;

-- name: enqueue
INSERT INTO run (id, sweep, number, name, state, params, key, source, summary, value, exit_code, error, created, ended, changed)
VALUES (%(id)s, %(sweep)s, %(number)s, 'run-' || %(number)s::bigint, %(state)s, %(params)s, %(key)s, %(source)s, %(summary)s, %(value)s,
    %(exit_code)s, %(error)s, %(now)s, %(ended)s, nextval('changed'))
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: claim_at_once
CALL claim_at_once(%(sweep)s, %(agent)s, %(id)s, %(now)s, %(lease_now)s, %(lease)s, NULL);

-- name: claim_batch_at_once
CALL claim_batch_at_once(%(sweep)s, %(agent)s, %(ids)s, %(now)s, %(lease_now)s, %(lease)s, NULL);

-- name: take_suggestion
DELETE FROM suggestion WHERE sweep = %(sweep)s AND ordinal = (SELECT min(ordinal) FROM suggestion WHERE sweep = %(sweep)s)
RETURNING key, params, stale_at;

-- name: insert_claimed
INSERT INTO run (id, sweep, number, name, state, params, key, source, attempt, agent, created, started, changed, lease)
SELECT %(id)s::text, %(sweep)s::text, numbers + 1, 'run-' || (numbers + 1), 'running', %(params)s::text, %(key)s::text, 'method', 1, %(agent)s::text, %(now)s::float8, %(now)s::float8,
    nextval('changed'), %(lease)s::float8
FROM tally WHERE sweep = %(sweep)s
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: claim_queued
UPDATE run SET state = 'running', attempt = attempt + 1, agent = %(agent)s, started = %(now)s, ended = NULL, stop_reason = NULL, kill = 0,
    exit_code = NULL, error = NULL, lease = %(lease)s, changed = nextval('changed')
WHERE id = (
    SELECT id FROM run WHERE sweep = %(sweep)s AND state IN ('pending', 'preempted') AND (attempt > 0 OR %(room)s::boolean)
    ORDER BY state DESC, number LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: overdue
SELECT id, failures, crashes, stop_reason, kill FROM run
WHERE coalesce(sweep, '') = coalesce(%(sweep)s::text, '') AND state = 'running' AND lease <= %(now)s ORDER BY number
FOR UPDATE SKIP LOCKED;  -- a lease that is being prolonged just now has not run out

-- name: next_reap
UPDATE tally SET reap_at = (SELECT min(lease) FROM run WHERE coalesce(sweep, '') = coalesce(%(sweep)s::text, '') AND state = 'running')
WHERE sweep = coalesce(%(sweep)s::text, '');
