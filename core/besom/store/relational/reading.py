"""What people, methods and stoppers look at."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection
from itertools import count

from besom.errors import UsageError
from besom.records import (
    ENDED,
    Attempt,
    HistoryRow,
    Lease,
    Metric,
    Observation,
    Params,
    Progress,
    Run,
    RunState,
    Waiting,
)
from besom.store.relational.part import Part
from besom.store.relational.rows import attempt_of, history_of, latest_attempt, params_of, run_of

PAGE = 50  # runs looked at at a time

COUNTED = (
    RunState.PENDING,
    RunState.RUNNING,
    RunState.FINISHED,
    RunState.STOPPED,
    RunState.FAILED,
    RunState.CRASHED,
    RunState.KILLED,
    RunState.PREEMPTED,
)
"""The columns of the query `counts`, but for the last."""


class Reading(Part):
    """The part of the protocol that gives what is there, and the marks at rungs."""

    def progress(self, sweep_id: str) -> Progress:
        """Read the counts that the schema's triggers keep."""
        sweep = self.get_sweep(sweep_id)
        *counted, started = self._database.read(self._sql.counts, (sweep_id,))[0]
        best = self.best_run(sweep_id)
        return Progress(
            state=sweep.state,
            counts={state: runs for state, runs in zip(COUNTED, counted, strict=True) if runs},
            expected=sweep.expected_runs,
            exhausted=sweep.exhausted,
            buffered=self._database.read(self._sql.buffered, (sweep_id,))[0][0],
            best=best.value if best else None,
            started=started,
        )

    def wait(self, sweep_id: str, seen: str, *, seconds: float) -> str:
        """Look again whenever the database says so, and when the next lease can have run out."""
        until = time.monotonic() + seconds
        if seen == "" or not seconds > 0:
            return self._queue_word(sweep_id)[0]
        with self._database.listen(sweep_id, seconds) as pause:
            while True:
                word, overdue_in = self._queue_word(sweep_id)
                left = until - time.monotonic()
                if word != seen or left <= 0:
                    return word
                pause(min(left, overdue_in))

    def _queue_word(self, sweep_id: str) -> tuple[str, float]:
        """Give a word for where the queue stands, and the seconds until a lease can have run out.

        When one can have, the word is new at every look until a claim has seen to it: that claim may read
        another clock, by which there was a millisecond left.
        """
        rows = self._database.read(self._sql.queue_word, (sweep_id,))
        if not rows:
            raise self._no_sweep(sweep_id)
        *stands, reap_at = rows[0]
        now = self._lease_now()
        overdue = reap_at is not None and reap_at <= now
        word = " ".join(map(str, [*stands, now] if overdue else stands))
        return word, math.inf if overdue or reap_at is None else reap_at - now

    def list_runs(
        self,
        sweep_id: str | None,
        *,
        states: Collection[RunState] | None = None,
        changed_after: int | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Filter in self._sql."""
        wanted = None if states is None else json.dumps([state.value for state in states])
        columns = {
            "sweep": sweep_id,
            "states": wanted,
            "after": changed_after,
            "limit": -1 if limit is None else limit,
        }
        sql = self._sql.list_runs if changed_after is None else self._sql.list_changed
        return [run_of(row) for row in self._database.read(sql, columns)]

    def best_run(self, sweep_id: str) -> Run | None:
        """Compare the best ended run, which an index knows, with the few that run."""
        metric = self.get_sweep(sweep_id).metric
        lowest = metric is None or metric.goal == "minimize"
        if metric is not None and metric.limits:
            return self._best_feasible(sweep_id, metric)
        queries = (
            (self._sql.lowest, self._sql.lowest_running)
            if lowest
            else (self._sql.highest, self._sql.highest_running)
        )
        runs = [run_of(row) for sql in queries for row in self._database.read(sql, {"sweep": sweep_id})]
        sign = 1.0 if lowest else -1.0
        return min(runs, key=lambda run: (sign * (run.value or 0.0), run.number), default=None)

    def _best_feasible(self, sweep_id: str, metric: Metric) -> Run | None:
        """Walk the index from the best value on until a run keeps the limits."""
        lowest = metric.goal == "minimize"
        sql = self._sql.from_lowest if lowest else self._sql.from_highest
        running = self.list_runs(sweep_id, states=[RunState.RUNNING])
        found = [run for run in running if run.value is not None and metric.feasible(run.summary)]
        for start in count(0, PAGE):
            rows = self._database.read(sql, {"sweep": sweep_id, "start": start, "count": PAGE})
            best = next((run for run in map(run_of, rows) if metric.feasible(run.summary)), None)
            found += [best] if best else []
            if best or len(rows) < PAGE:
                break
        sign = 1.0 if lowest else -1.0
        return min(found, key=lambda run: (sign * (run.value or 0.0), run.number), default=None)

    def find_key(self, sweep_id: str, key: str) -> Run | None:
        """Look the point up in the unique index."""
        rows = self._database.read(self._sql.find_key, (sweep_id, key))
        return run_of(rows[0]) if rows else None

    def attempts(self, run_id: str) -> list[Attempt]:
        """Read the archive, and the run's row where it holds an attempt that is not in there."""
        run = self.get_run(run_id)
        found = [attempt_of(row) for row in self._database.read(self._sql.attempts, (run_id,))]
        archived = found[-1].attempt if found else 0
        if run.attempt > archived and (run.state is RunState.RUNNING or run.state in ENDED):
            found.append(latest_attempt(run))
        return found

    def history(
        self, run_id: str, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[HistoryRow]:
        """Walk the primary key."""
        columns = {"run": run_id, "attempt": attempt, "after": after, "limit": -1 if limit is None else limit}
        return [history_of(row) for row in self._database.read(self._sql.history, columns)]

    def last_row(self, lease: Lease) -> HistoryRow | None:
        """Look at the end of the primary key."""
        rows = self._database.read(self._sql.last_row, (lease.run_id, lease.attempt))
        return history_of(rows[0]) if rows else None

    def observations(
        self,
        sweep_id: str,
        *,
        after: int = 0,
        limit: int = 1000,
        summaries: bool = False,
        marks: bool = False,
    ) -> list[Observation]:
        """Walk the index on `changed`."""
        columns = {"sweep": sweep_id, "after": after, "limit": limit, "summaries": summaries, "marks": marks}
        return [
            Observation(
                run_id=run_id,
                state=RunState(state),
                params=params_of(params),
                value=value,
                changed=changed,
                summary=None if summary is None else params_of(summary),
                marks=None
                if left is None
                else {int(rung): float(loss) for rung, loss in params_of(left).items()},
            )
            for run_id, state, params, value, changed, summary, left in self._database.read(
                self._sql.observations, columns
            )
        ]

    def active(self, sweep_id: str) -> list[Params]:
        """Read the two partial indexes and the buffer."""
        return [params_of(params) for (params,) in self._database.read(self._sql.active, {"sweep": sweep_id})]

    def buffer(self, sweep_id: str) -> list[Waiting]:
        """Walk the primary key."""
        rows = self._database.read(self._sql.buffer, (sweep_id,))
        return [Waiting(key, params_of(params), stale_at) for key, params, stale_at in rows]

    def mark(self, sweep_id: str, run_id: str, rung: int, loss: float) -> None:
        """Insert or replace the mark."""
        if math.isnan(loss):
            raise UsageError(
                f"run {run_id}: the loss at rung {rung} is not a number; only numbers can be compared"
            )
        with self._database.transaction() as transaction:
            self._run_row(transaction, run_id)
            columns = {"sweep": sweep_id, "run": run_id, "rung": rung, "loss": float(loss)}
            transaction.execute(self._sql.mark, columns)

    def rung_size(self, sweep_id: str, rung: int) -> int:
        """Read the count that the schema's triggers keep."""
        size: int = self._database.read(self._sql.rung_size, (sweep_id, rung))[0][0]
        return size

    def rung_loss(self, sweep_id: str, rung: int, k: int) -> float:
        """Step through the index; 10 000 marks take a fraction of a millisecond."""
        rows = self._database.read(self._sql.rung_loss, (sweep_id, rung, k)) if k >= 0 else []
        if not rows:
            raise IndexError(f"rung {rung} of sweep {sweep_id} has no loss number {k}")
        loss: float = rows[0][0]
        return loss

    def run_marks(self, run_id: str) -> dict[int, float]:
        """Read the primary key."""
        return {int(rung): float(loss) for rung, loss in self._database.read(self._sql.run_marks, (run_id,))}
