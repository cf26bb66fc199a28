"""The queue of a sweep: what is proposed, what is handed out, what comes back because its lease ran out."""

from __future__ import annotations

from typing import Any

from besom.errors import StateError
from besom.records import ENDED, Batch, Outcome, Run, RunState, Source, Suggestion, SweepState
from besom.store.base import MAX_CRASHES
from besom.store.sqlite.database import Connection
from besom.store.sqlite.part import Part, with_new_id
from besom.store.sqlite.queries import SQL
from besom.store.sqlite.rows import Row, dumps, finite, is_kill, plain, run_of

LEASE_RAN_OUT = "its lease ran out: nothing was heard of its process"


class Queue(Part):
    """The part of the protocol that hands runs out."""

    def offer(self, sweep_id: str, batch: Batch, *, version: int, cursor: int) -> int | None:
        """Move the cursor by compare-and-swap; whoever moves it fills the buffer."""
        columns = [
            {"sweep": sweep_id, "key": suggestion.key, "params": dumps(suggestion.params)}
            for suggestion in batch.suggestions
        ]
        swap = {
            "sweep": sweep_id,
            "version": version,
            "cursor": cursor,
            "next": batch.cursor,
            "exhausted": batch.exhausted,
            "now": self._wall(),
        }
        with self._database.write() as transaction:
            if transaction.execute(SQL.offer_cursor, swap).rowcount == 0:
                self._gate(transaction, sweep_id)
                return None
            last = transaction.execute(SQL.last_ordinal, (sweep_id,)).fetchone()[0]
            for ordinal, column in enumerate(columns, start=last + 1):
                column["ordinal"] = ordinal
            return transaction.executemany(SQL.offer, columns).rowcount if columns else 0

    def enqueue(
        self,
        sweep_id: str,
        suggestion: Suggestion,
        *,
        source: Source = "enqueued",
        outcome: Outcome | None = None,
    ) -> Run:
        """Insert the run; one that has ended already was never attempted here."""
        now = self._wall()
        if outcome and outcome.state not in ENDED:
            raise StateError(f"a run cannot be added as {outcome.state.value}: that is no ending")
        columns: dict[str, Any] = {
            "sweep": sweep_id,
            "state": (outcome.state if outcome else RunState.PENDING).value,
            "params": dumps(suggestion.params),
            "key": suggestion.key,
            "source": source,
            "summary": dumps(outcome.summary if outcome and outcome.summary else {}),
            "value": finite(outcome.value) if outcome else None,
            "exit_code": outcome.exit_code if outcome else None,
            "error": plain(outcome.error) if outcome else None,
            "now": now,
            "ended": now if outcome else None,
        }
        with self._database.write() as transaction:
            self._gate(transaction, sweep_id)
            holder = transaction.execute(SQL.find_key, (sweep_id, suggestion.key)).fetchone()
            if holder is not None:
                run = run_of(holder)
                raise StateError(
                    f"run {run.id} ({run.name}, {run.state.value}) has these parameters already; "
                    f"`besom retry {sweep_id} {run.id}` runs it again"
                )
            transaction.execute(SQL.drop_suggestion, (sweep_id, suggestion.key))
            number = transaction.execute(SQL.next_number, (sweep_id,)).fetchone()[0]
            columns |= {"number": number, "name": f"run-{number}"}
            row = with_new_id(lambda new: transaction.execute(SQL.enqueue, {**columns, "id": new}).fetchone())
            return run_of(row)

    def claim(self, sweep_id: str, agent_id: str, *, lease_seconds: float) -> Run | None:
        """Reap if a lease can have run out, then take the head of the queue or of the buffer."""
        now, lease_now = self._wall(), self._lease_now()
        claimed = {
            "sweep": sweep_id,
            "agent": plain(agent_id),
            "now": now,
            "lease": lease_now + lease_seconds,
        }
        with self._database.write() as transaction:
            gate = self._gate(transaction, sweep_id)
            state, run_cap, started, max_attempts, reap_at = gate[:5]
            if reap_at is not None and reap_at <= lease_now:
                self._reap(transaction, sweep_id, max_attempts, now, lease_now)
            transaction.execute(SQL.agent_seen, claimed)
            if state == SweepState.PENDING.value:
                state = SweepState.RUNNING.value
                transaction.execute(SQL.set_sweep_state, {"id": sweep_id, "state": state, "now": now})
            if state != SweepState.RUNNING.value:
                return None
            claimed["room"] = room = run_cap is None or started < run_cap
            row = transaction.execute(SQL.claim_queued, claimed).fetchone()
            if row is not None:
                run = run_of(row)
                transaction.execute(SQL.start_queued, {**claimed, "first": run.attempt == 1})
                return run
            return self._claim_buffered(transaction, claimed) if room else None

    def _claim_buffered(self, transaction: Connection, claimed: dict[str, Any]) -> Run | None:
        suggestion = transaction.execute(SQL.take_suggestion, claimed).fetchone()
        if suggestion is None:
            return None
        claimed["key"], claimed["params"] = suggestion
        claimed["number"] = transaction.execute(SQL.start_new, claimed).fetchone()[0]

        def insert(run_id: str) -> Row:
            claimed["id"] = run_id
            row: Row = transaction.execute(SQL.insert_claimed, claimed).fetchone()
            return row

        return run_of(with_new_id(insert))

    def reap(self, sweep_id: str) -> int:
        """Look through the sweep's running runs."""
        with self._database.write() as transaction:
            max_attempts = self._gate(transaction, sweep_id)[3]
            return self._reap(transaction, sweep_id, max_attempts, self._wall(), self._lease_now())

    def _reap(
        self,
        transaction: Connection,
        sweep_id: str | None,
        max_attempts: int | None,
        now: float,
        lease_now: float,
    ) -> int:
        overdue = transaction.execute(SQL.overdue, {"sweep": sweep_id, "now": lease_now}).fetchall()
        for row in overdue:
            run = run_of(row)
            crashes = run.crashes + 1
            if run.stop_reason is not None:
                ended = RunState.KILLED if is_kill(row) else RunState.STOPPED
            elif run.sweep_id is None or crashes >= max(max_attempts or 0, MAX_CRASHES):
                ended = RunState.CRASHED
            else:
                ended = RunState.PENDING
            ending = {
                "run": run.id,
                "state": (RunState.CRASHED if ended is RunState.PENDING else ended).value,
                "failures": run.failures,
                "crashes": crashes,
                "summary": None,
                "value": None,
                "exit_code": None,
                "error": LEASE_RAN_OUT,
                "now": now,
                "ended": None if ended is RunState.PENDING else now,
                "lost": 1,
            }
            transaction.execute(SQL.insert_attempt, ending)
            transaction.execute(SQL.end_run, {**ending, "state": ended.value}).fetchone()
        if sweep_id is not None:
            transaction.execute(SQL.next_reap, {"sweep": sweep_id})
        return len(overdue)

    def _gate(self, transaction: Connection, sweep_id: str) -> Row:
        row: Row | None = transaction.execute(SQL.sweep_gate, (sweep_id,)).fetchone()
        if row is None:
            raise self._no_sweep(sweep_id)
        return row
