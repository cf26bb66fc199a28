-- Version 4: what a report usually brings, one row and the new state of its run, as one statement. Nothing is
-- done where the run is not held, or where a stop was asked for and the report is to say so.
CREATE VIEW report AS
SELECT run, attempt, seq, step, time, data, NULL AS lease, NULL AS summary, NULL AS value FROM history;

CREATE TRIGGER report_arrives INSTEAD OF INSERT ON report BEGIN
    UPDATE run SET lease = max(coalesce(lease, new.lease), new.lease), summary = coalesce(new.summary, summary),
        value = iif(new.summary IS NULL, coalesce(new.value, value), new.value)
    WHERE id = new.run AND attempt = new.attempt AND state = 'running' AND stop_reason IS NULL;
    SELECT RAISE(ABORT, 'not held') WHERE changes() = 0;
    INSERT OR IGNORE INTO history VALUES (new.run, new.attempt, new.seq, new.step, new.time, new.data);
END;
