-- Version 4: agents that found nothing to take are told when to look again.

-- Until when an agent waits for news of the sweep: nobody is told where nobody listens, because commits that tell wait
-- for one another.
ALTER TABLE tally ADD COLUMN awaited DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE FUNCTION tally_tells() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA, new.sweep);
    RETURN NULL;
END $$;

CREATE TRIGGER tally_tells AFTER UPDATE ON tally FOR EACH ROW
WHEN (new.awaited > extract(epoch FROM clock_timestamp())
    AND (old.pending, old.running, old.finished, old.stopped, old.failed, old.crashed, old.killed, old.preempted)
        <> (new.pending, new.running, new.finished, new.stopped, new.failed, new.crashed, new.killed, new.preempted))
EXECUTE FUNCTION tally_tells();

CREATE FUNCTION sweep_tells() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA, new.id) FROM tally
    WHERE tally.sweep = new.id AND awaited > extract(epoch FROM clock_timestamp());
    RETURN NULL;
END $$;

CREATE TRIGGER sweep_tells AFTER UPDATE ON sweep FOR EACH ROW EXECUTE FUNCTION sweep_tells();
