-- name: get_run
SELECT * FROM run WHERE id = ?;

-- name: find_key
SELECT * FROM run WHERE sweep = ? AND key = ?;

-- name: list_runs
SELECT * FROM run
WHERE sweep IS :sweep AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: list_changed
SELECT * FROM run
WHERE sweep IS :sweep AND changed > :after AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY changed LIMIT :limit;

-- name: observations
SELECT id, state, params, value, changed, iif(:summaries, summary, NULL), iif(:marks,
    (SELECT json_group_object(rung, loss) FROM mark WHERE mark.run = run.id AND abs(loss) < 1e300), NULL) FROM run
WHERE sweep = :sweep AND changed > :after AND state IN ('finished', 'stopped', 'failed', 'crashed', 'killed')
ORDER BY changed LIMIT :limit;

-- name: active
SELECT params FROM run WHERE sweep = :sweep AND state = 'running'
UNION ALL SELECT params FROM run WHERE sweep = :sweep AND state IN ('pending', 'preempted')
UNION ALL SELECT params FROM suggestion WHERE sweep = :sweep;

-- name: lowest
SELECT * FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value =
    (SELECT min(value) FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value IS NOT NULL)
ORDER BY number LIMIT 1;

-- name: highest
SELECT * FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value =
    (SELECT max(value) FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value IS NOT NULL)
ORDER BY number LIMIT 1;

-- name: lowest_running
SELECT * FROM run WHERE sweep = :sweep AND state = 'running' AND value IS NOT NULL ORDER BY value, number LIMIT 1;

-- name: highest_running
SELECT * FROM run WHERE sweep = :sweep AND state = 'running' AND value IS NOT NULL ORDER BY value DESC, number LIMIT 1;

-- name: from_lowest
SELECT * FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value IS NOT NULL
ORDER BY value, number LIMIT :count OFFSET :start;

-- name: from_highest
SELECT * FROM run WHERE sweep = :sweep AND state IN ('finished', 'stopped') AND value IS NOT NULL
ORDER BY value DESC, number LIMIT :count OFFSET :start;

-- name: insert_solo
INSERT INTO run (id, number, name, state, params, key, source, attempt, created, started, changed, lease, project)
VALUES (:id, :number, :name, 'running', '{}', :id, 'solo', 1, :now, :now, (SELECT changed + 1 FROM tally WHERE sweep = ''), :lease, :project)
ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: next_solo
SELECT numbers + 1 FROM tally WHERE sweep = '';

-- name: restart_solo
UPDATE run SET state = 'running', attempt = attempt + 1, name = coalesce(:name, name), project = coalesce(:project, project),
    started = :now, ended = NULL, stop_reason = NULL, kill = 0, exit_code = NULL, error = NULL, lease = :lease,
    changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = :id RETURNING *;

-- name: prolong
UPDATE run SET lease = max(coalesce(lease, :lease), :lease) WHERE id = :run AND attempt = :attempt AND state = 'running'
RETURNING stop_reason, kill, agent;

-- name: report
-- Where a stop was asked for it changes nothing, and `report_asked` is for that: RETURNING is dear.
UPDATE run SET lease = max(coalesce(lease, :lease), :lease), summary = coalesce(:summary, summary),
    value = iif(:summary IS NULL, coalesce(:value, value), :value)
WHERE id = :run AND attempt = :attempt AND state = 'running' AND stop_reason IS NULL;

-- name: report_row
INSERT INTO report VALUES (:run, :attempt, :seq, :step, :time, :data, :lease, :summary, :value);

-- name: report_asked
UPDATE run SET lease = max(coalesce(lease, :lease), :lease), summary = coalesce(:summary, summary),
    value = iif(:summary IS NULL, coalesce(:value, value), :value)
WHERE id = :run AND attempt = :attempt AND state = 'running'
RETURNING stop_reason, kill;

-- name: insert_row
INSERT OR IGNORE INTO history VALUES (?, ?, ?, ?, ?, ?);

-- name: set_run_config
UPDATE run SET config = :config WHERE id = :run AND attempt = :attempt AND state = 'running';

-- name: end_run
UPDATE run SET state = :state, failures = :failures, crashes = :crashes, summary = coalesce(:summary, summary),
    value = iif(:summary IS NULL, coalesce(:value, value), :value),
    exit_code = :exit_code, error = :error, ended = :ended, lease = NULL, changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = :run RETURNING *;

-- name: standing
-- What ends an attempt must know of its run.
SELECT state, attempt, failures, crashes, stop_reason, kill, sweep FROM run WHERE id = ?;

-- name: archive
-- Keeps the latest attempt as it stands in the row of its run, which is about to change.
INSERT INTO attempt (run, attempt, agent, started, ended, state, exit_code, error, summary, value, lost)
SELECT id, attempt, agent, started, coalesce(ended, :now), coalesce(:state, state), exit_code, error, summary, value, :lost
FROM run WHERE id = :run AND attempt > 0
ON CONFLICT DO NOTHING;

-- name: get_attempt
SELECT * FROM attempt WHERE run = ? AND attempt = ?;

-- name: supersede
UPDATE attempt SET superseded = 1, ended = :now, state = :state, exit_code = :exit_code, error = :error,
    summary = coalesce(:summary, summary),
    value = iif(:summary IS NULL, coalesce(:value, value), :value)
WHERE run = :run AND attempt = :attempt AND lost AND NOT superseded;

-- name: find_lost
-- A lease that was given up for lost is held again, or ends its run after all.
DELETE FROM attempt WHERE run = ? AND attempt = ? AND lost;

-- name: revive
UPDATE run SET state = 'running', lease = :lease, error = NULL, ended = NULL, changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = :run;

-- name: attempts
SELECT * FROM attempt WHERE run = ? ORDER BY attempt;

-- name: request_stop
UPDATE run SET stop_reason = coalesce(stop_reason, :reason), kill = max(kill, :kill), changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = :run RETURNING *;

-- name: stop_queued
UPDATE run SET state = :state, stop_reason = :reason, kill = :kill, ended = :now, changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = :run RETURNING *;

-- name: retry
UPDATE run SET state = 'pending', failures = 0, crashes = 0, stop_reason = NULL, kill = 0, ended = NULL,
    changed = (SELECT changed + 1 FROM tally WHERE sweep = '')
WHERE id = ? RETURNING *;

-- name: delete_history
DELETE FROM history WHERE run = ?;

-- name: delete_attempts
DELETE FROM attempt WHERE run = ?;

-- name: delete_marks
DELETE FROM mark WHERE run = ?;

-- name: delete_run
DELETE FROM run WHERE id = ?;

-- name: history
SELECT seq, step, time, data FROM history
WHERE run = :run AND attempt = coalesce(:attempt, (SELECT max(attempt) FROM history WHERE run = :run)) AND seq > :after
ORDER BY seq LIMIT :limit;

-- name: last_row
SELECT seq, step, time, data FROM history WHERE run = ? AND attempt = ? ORDER BY seq DESC LIMIT 1;

-- name: mark
INSERT INTO mark VALUES (:run, :rung, :sweep, :loss) ON CONFLICT DO UPDATE SET loss = excluded.loss;

-- name: rung_size
SELECT coalesce((SELECT marks FROM rung_size WHERE sweep = ? AND rung = ?), 0);

-- name: rung_loss
SELECT loss FROM mark WHERE sweep = ? AND rung = ? ORDER BY loss LIMIT 1 OFFSET ?;

-- name: run_marks
SELECT rung, loss FROM mark WHERE run = ? ORDER BY rung;
