"""The queue of a sweep: what is proposed, what is handed out, what comes back because its lease ran out."""

from __future__ import annotations

from typing import Any

from besom.errors import StateError, UsageError
from besom.records import ENDED, Batch, Outcome, Run, RunState, Source, Suggestion, SweepState
from besom.store.base import MAX_CLAIMED, MAX_CRASHES
from besom.store.relational.database import Transaction
from besom.store.relational.part import Gate, Part
from besom.store.relational.rows import Row, dumps, finite, plain, run_of

LEASE_RAN_OUT = "its lease ran out: nothing was heard of its process"


class Queue(Part):
    """The part of the protocol that hands runs out."""

    def offer(
        self,
        sweep_id: str,
        batch: Batch,
        *,
        version: int,
        cursor: int,
        term: int | None = None,
        stale_at: int | None = None,
        instead_of: str | None = None,
    ) -> int | None:
        """Move the cursor by compare-and-swap; whoever moves it fills the buffer."""
        columns: list[dict[str, Any]] = [
            {
                "sweep": sweep_id,
                "key": suggestion.key,
                "params": dumps(suggestion.params),
                "ordinal": 0,
                "stale_at": stale_at,
            }
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
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            if term is not None and self._term(transaction, sweep_id) != term:
                return None
            place = self._place(transaction, sweep_id, instead_of)
            if instead_of is not None and place is None:
                return None
            if transaction.execute(self._sql.offer_cursor, swap).rowcount == 0:
                self._gate(transaction, sweep_id)
                return None
            if instead_of is not None:
                transaction.execute(self._sql.drop_suggestion, (sweep_id, instead_of))
            last = transaction.execute(self._sql.last_ordinal, (sweep_id,)).fetchone()[0]
            for ordinal, column in enumerate(columns, start=last + 1):
                column["ordinal"] = ordinal
            if columns and place is not None:
                columns[0]["ordinal"] = place
            return transaction.executemany(self._sql.offer, columns).rowcount if columns else 0

    def _place(self, transaction: Transaction, sweep_id: str, key: str | None) -> int | None:
        row = transaction.execute(self._sql.place, (sweep_id, key)).fetchone() if key is not None else None
        return None if row is None else row[0]

    def _term(self, transaction: Transaction, sweep_id: str) -> int | None:
        row = transaction.execute(self._sql.proposer_term, (sweep_id,)).fetchone()
        return None if row is None else row[0]

    def lease_proposer(self, sweep_id: str, holder: str, *, lease_seconds: float) -> int | None:
        """Take the sweep's row in one statement if it is free, has run out or is the holder's own."""
        now = self._lease_now()
        columns = {"sweep": sweep_id, "holder": plain(holder), "now": now, "until": now + lease_seconds}
        sql = self._sql.lease_proposer if lease_seconds > 0 else self._sql.release_proposer
        with self._database.transaction() as transaction:
            self._gate(transaction, sweep_id)
            row = transaction.execute(sql, columns).fetchone()
            return None if row is None else row[0]

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
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            self._gate(transaction, sweep_id)
            holder = transaction.execute(self._sql.find_key, (sweep_id, suggestion.key)).fetchone()
            if holder is not None:
                run = run_of(holder)
                raise StateError(
                    f"run {run.id} ({run.name}, {run.state.value}) has these parameters already; "
                    f"`besom retry {sweep_id} {run.id}` runs it again"
                )
            transaction.execute(self._sql.drop_suggestion, (sweep_id, suggestion.key))
            number = transaction.execute(self._sql.next_number, (sweep_id,)).fetchone()[0]
            columns["number"] = number
            return run_of(self._insert(transaction, self._sql.enqueue, columns))

    def claim(self, sweep_id: str, agent_id: str, *, lease_seconds: float) -> Run | None:
        """Take the head of the queue, or of the buffer."""
        rows = self._take(sweep_id, agent_id, 1, lease_seconds)
        return run_of(rows[0]) if rows else None

    def claim_batch(self, sweep_id: str, agent_id: str, count: int, *, lease_seconds: float) -> list[Run]:
        """Take one head after another."""
        require_claimable(count)
        return [run_of(row) for row in self._take(sweep_id, agent_id, count, lease_seconds)]

    def _take(self, sweep_id: str, agent_id: str, count: int, lease_seconds: float) -> list[Row]:
        """Reap if a lease can have run out, then give up to `count` rows of runs, handed out."""
        now, lease_now = self._wall(), self._lease_now()
        claimed = {
            "sweep": sweep_id,
            "agent": plain(agent_id),
            "now": now,
            "lease": lease_now + lease_seconds,
        }
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            gate = self._gate(transaction, sweep_id)
            if gate.reap_at is not None and gate.reap_at <= lease_now:
                self._reap(transaction, sweep_id, gate.max_attempts, now, lease_now)
                gate = self._gate(transaction, sweep_id)
            transaction.execute(self._sql.agent_seen, claimed)
            if gate.state == SweepState.PENDING.value:
                running = {"id": sweep_id, "state": SweepState.RUNNING.value, "now": now}
                transaction.execute(self._sql.set_sweep_state, running)
            elif gate.state != SweepState.RUNNING.value:
                return []
            rows: list[Row] = []
            while (row := self._take_one(transaction, claimed, gate)) is not None:
                rows.append(row)
                if len(rows) == count:
                    break
                gate = self._gate(transaction, sweep_id)
            return rows

    def _take_one(self, transaction: Transaction, claimed: dict[str, Any], gate: Gate) -> Row | None:
        claimed["room"] = gate.room
        if gate.queued:
            row: Row | None = transaction.execute(self._sql.claim_queued, claimed).fetchone()
            if row is not None:
                return row
        return self._take_buffered(transaction, claimed, gate) if gate.room else None

    def _take_buffered(self, transaction: Transaction, claimed: dict[str, Any], gate: Gate) -> Row | None:
        while (suggestion := transaction.execute(self._sql.take_suggestion, claimed).fetchone()) is not None:
            claimed["key"], claimed["params"], stale_at = suggestion
            if gate.exhausted or stale_at is None or gate.ended < stale_at:
                return self._insert(transaction, self._sql.insert_claimed, claimed)
        return None

    def reap(self, sweep_id: str) -> int:
        """Look through the sweep's running runs."""
        now, lease_now = self._wall(), self._lease_now()
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, sweep_id)
            max_attempts = self._gate(transaction, sweep_id).max_attempts
            return self._reap(transaction, sweep_id, max_attempts, now, lease_now)

    def _reap(
        self,
        transaction: Transaction,
        sweep_id: str | None,
        max_attempts: int | None,
        now: float,
        lease_now: float,
    ) -> int:
        overdue = transaction.execute(self._sql.overdue, {"sweep": sweep_id, "now": lease_now}).fetchall()
        for run_id, failures, crashes, stop_reason, kill in overdue:
            crashed = crashes + 1
            if stop_reason is not None:
                ended = RunState.KILLED if kill else RunState.STOPPED
            elif sweep_id is None or crashed >= max(max_attempts or 0, MAX_CRASHES):
                ended = RunState.CRASHED
            else:
                ended = RunState.PENDING
            ending = {
                "run": run_id,
                "state": ended.value,
                "failures": failures,
                "crashes": crashed,
                "summary": None,
                "value": None,
                "exit_code": None,
                "error": LEASE_RAN_OUT,
                "now": now,
                "ended": None if ended is RunState.PENDING else now,
                "lost": 1,
            }
            transaction.execute(self._sql.end_run, ending).fetchone()
            attempt = RunState.CRASHED if ended is RunState.PENDING else ended
            transaction.execute(self._sql.archive, {**ending, "state": attempt.value})
        transaction.execute(self._sql.next_reap, {"sweep": sweep_id})
        return len(overdue)


def require_claimable(count: int) -> None:
    """Raise UsageError for more or fewer runs than a batch may have."""
    if not 1 <= count <= MAX_CLAIMED:
        raise UsageError(f"claim_batch: count is from 1 to {MAX_CLAIMED}, not {count}")
