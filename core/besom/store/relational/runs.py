"""A run by its lease: what its process reports, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from besom.errors import NotFoundError, StateError, UsageError
from besom.records import (
    CONTINUE,
    QUEUED,
    Directive,
    HistoryRow,
    Lease,
    Outcome,
    Run,
    RunState,
    SweepState,
)
from besom.store.relational.database import Transaction
from besom.store.relational.queue import Queue
from besom.store.relational.rows import directive_of, dumps, finite, metric_of, plain, run_of

RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""What a run outside every sweep may be called: it names a folder."""

OUTCOMES = frozenset(
    {RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.KILLED, RunState.PREEMPTED}
)
GOOD = frozenset({RunState.FINISHED, RunState.STOPPED})
UNFINISHED = frozenset({SweepState.PENDING.value, SweepState.RUNNING.value, SweepState.PAUSED.value})

SUPERSEDED = Directive("lost", "a later attempt has the run, or its lease ran out")
DELETED = Directive("lost", "the run was deleted")


class Standing(NamedTuple):
    """What ends an attempt must know of its run."""

    state: str
    attempt: int  # the latest
    failures: int
    crashes: int
    stop_reason: str | None
    kill: int
    sweep_id: str | None


class Runs(Queue):
    """The part of the protocol that a run's process and its agent use."""

    def create_run(
        self, *, run_id: str | None, project: str | None, name: str | None, lease_seconds: float
    ) -> Run:
        """Insert a solo run, or start the next attempt of one that is not running."""
        if run_id is not None and not RUN_ID.fullmatch(run_id):
            raise UsageError(
                f"{run_id!r} cannot be a run's id: use letters, digits, '_', '-' and '.', "
                "at most 128 of them, the first one a letter, a digit or '_'"
            )
        now, lease_now = self._wall(), self._lease_now()
        columns: dict[str, Any] = {
            "id": run_id,
            "project": plain(project),
            "name": plain(name),
            "now": now,
            "lease": lease_now + lease_seconds,
        }
        with self._database.transaction() as transaction:
            self._database.lock_sweep(transaction, None)
            self._reap(transaction, None, None, now, lease_now)
            if run_id is not None:
                row = transaction.execute(self._sql.get_run, (run_id,)).fetchone()
                if row is not None:
                    return self._restart(transaction, run_of(row), columns)
            number = transaction.execute(self._sql.next_solo).fetchone()[0]
            columns |= {"number": number, "name": columns["name"] or f"run-{number}"}
            if run_id is None:
                return run_of(self._insert(transaction, self._sql.insert_solo, columns))
            return run_of(transaction.execute(self._sql.insert_solo, columns).fetchone())

    def _restart(self, transaction: Transaction, run: Run, columns: Mapping[str, Any]) -> Run:
        if run.sweep_id is not None:
            raise StateError(
                f"run {run.id} belongs to sweep {run.sweep_id}; `besom retry` puts it back into its queue"
            )
        if run.state is RunState.RUNNING:
            raise StateError(f"run {run.id} is running; wait for its end, or choose another id")
        transaction.execute(
            self._sql.archive, {"run": run.id, "state": None, "now": columns["now"], "lost": 0}
        )
        return run_of(transaction.execute(self._sql.restart_solo, columns).fetchone())

    def heartbeat(self, leases: Sequence[Lease], *, lease_seconds: float) -> dict[Lease, Directive]:
        """Prolong every lease that is still held, in one transaction."""
        wanted: dict[Lease, Directive] = {}
        if not leases:
            return wanted
        until = self._lease_now() + lease_seconds
        now = self._wall()
        with self._database.transaction() as transaction:
            agents: set[str] = set()
            for lease in sorted(leases, key=lambda lease: lease.run_id):  # in one order: no deadlock
                held = {"run": lease.run_id, "attempt": lease.attempt, "lease": until}
                row = transaction.execute(self._sql.prolong, held).fetchone()
                if row is None and self._revive(transaction, lease, until):
                    row = transaction.execute(self._sql.prolong, held).fetchone()
                if row is None:
                    wanted[lease] = self._standing(transaction, lease)
                    continue
                stop_reason, kill, agent = row
                wanted[lease] = directive_of(stop_reason, kill)
                if agent is not None:
                    agents.add(agent)
            for agent in agents:
                transaction.execute(self._sql.agent_seen, {"agent": agent, "now": now})
        return wanted

    def report(
        self,
        lease: Lease,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
        lease_seconds: float,
    ) -> Directive:
        """Insert the rows and touch the run's row once."""
        until = self._lease_now() + lease_seconds
        columns = {
            "run": lease.run_id,
            "attempt": lease.attempt,
            "lease": until,
            "summary": None if summary is None else dumps(summary),
            "value": finite(value),
        }
        if len(rows) == 1:
            row = rows[0]
            whole = {**columns, "seq": row.seq, "step": row.step, "time": row.time, "data": dumps(row.data)}
            if self._database.once(self._sql.report_row, whole):
                return CONTINUE
        entries = [
            (lease.run_id, lease.attempt, row.seq, row.step, row.time, dumps(row.data)) for row in rows
        ]
        with self._database.transaction() as transaction:
            stored = transaction.execute(self._sql.report, columns).rowcount
            if not stored and self._revive(transaction, lease, until):
                stored = transaction.execute(self._sql.report, columns).rowcount
            if stored:
                directive = CONTINUE
            else:
                asked = transaction.execute(self._sql.report_asked, columns).fetchone()
                directive = directive_of(*asked) if asked else self._standing(transaction, lease)
            if entries and directive is not DELETED:
                transaction.executemany(self._sql.insert_row, entries)
        return directive

    def _revive(self, transaction: Transaction, lease: Lease, until: float) -> bool:
        """Let the latest attempt at a solo run go on after its lease ran out; say whether it does."""
        row = transaction.execute(self._sql.standing, (lease.run_id,)).fetchone()
        if row is None or Standing(*row).sweep_id is not None:
            return False
        self._database.lock_sweep(transaction, None)
        row = transaction.execute(self._sql.standing, (lease.run_id,)).fetchone()
        if row is None or not self._find_lost(transaction, lease, Standing(*row)):
            return False
        transaction.execute(self._sql.revive, {"run": lease.run_id, "lease": until})
        return True

    def _find_lost(self, transaction: Transaction, lease: Lease, standing: Standing) -> bool:
        """Take back that a lease was lost if nobody has acted on it: its run waits, or is a solo one."""
        if standing.attempt != lease.attempt:
            return False
        if standing.sweep_id is None:
            unclaimed = standing.state == RunState.CRASHED.value
        else:  # a retry, which asks for another attempt, sets the count to 0
            unclaimed = standing.state == RunState.PENDING.value and standing.crashes > 0
        found = (lease.run_id, lease.attempt)
        return unclaimed and transaction.execute(self._sql.find_lost, found).rowcount == 1

    def _standing(self, transaction: Transaction, lease: Lease) -> Directive:
        """Say what is wanted of an attempt that runs no more: nothing if it ended itself, else it is lost."""
        row = transaction.execute(self._sql.standing, (lease.run_id,)).fetchone()
        if row is None:
            return DELETED
        latest = Standing(*row).attempt == lease.attempt
        archived = transaction.execute(self._sql.get_attempt, (lease.run_id, lease.attempt)).fetchone()
        if archived is None and not latest:
            raise self._no_attempt(lease)
        lost = archived is not None and archived[-1]
        return CONTINUE if latest and not lost else SUPERSEDED

    def _no_attempt(self, lease: Lease) -> NotFoundError:
        return NotFoundError(f"run {lease.run_id} has no attempt {lease.attempt}: no such lease was given")

    def set_run_config(self, lease: Lease, config: Mapping[str, Any]) -> None:
        """Update the run while the lease is held."""
        columns = {"run": lease.run_id, "attempt": lease.attempt, "config": dumps(config)}
        with self._database.transaction() as transaction:
            if transaction.execute(self._sql.set_run_config, columns).rowcount == 0:
                self._run_row(transaction, lease.run_id)

    def finish(self, lease: Lease, outcome: Outcome) -> Run:
        """End the run if its attempt still runs; keep the outcome as superseded if the lease was lost."""
        columns = ending(lease, outcome, self._wall())
        with self._database.transaction() as transaction:
            self._database.lock_run(transaction, lease.run_id)
            row = transaction.execute(self._sql.standing, (lease.run_id,)).fetchone()
            if row is None:
                raise self._no_run(lease.run_id)
            standing = Standing(*row)
            held = standing.state == RunState.RUNNING.value and standing.attempt == lease.attempt
            if held or self._find_lost(transaction, lease, standing):
                return self._end(transaction, outcome.state, columns, standing)
            self._standing(transaction, lease)
            transaction.execute(self._sql.supersede, columns)
            return run_of(self._run_row(transaction, lease.run_id))

    def _end(
        self, transaction: Transaction, outcome: RunState, columns: Mapping[str, Any], standing: Standing
    ) -> Run:
        gate = None if standing.sweep_id is None else self._gate(transaction, standing.sweep_id)
        failures = standing.failures + (outcome is RunState.FAILED)
        state = outcome
        if standing.stop_reason is not None:
            # Nobody wants it to go on.
            if outcome is RunState.PREEMPTED:
                state = RunState.KILLED if standing.kill else RunState.STOPPED
        elif outcome is RunState.FAILED and gate and failures < (gate.max_attempts or 1):
            state = RunState.PENDING
        queued = state in QUEUED
        ending = {
            **columns,
            "state": state.value,
            "failures": failures,
            "crashes": standing.crashes,
            "ended": None if queued else columns["now"],
        }
        run = run_of(transaction.execute(self._sql.end_run, ending).fetchone())
        if queued:
            transaction.execute(self._sql.archive, {**columns, "lost": 0})
        elif gate and state in GOOD and run.value is not None and gate.state in UNFINISHED:
            metric = metric_of(gate.metric)
            if metric and metric.reached(run.value) and metric.feasible(run.summary):
                finished = {
                    "id": standing.sweep_id,
                    "state": SweepState.FINISHED.value,
                    "now": columns["now"],
                }
                transaction.execute(self._sql.set_sweep_state, finished)
        return run

    def request_stop(self, run_id: str, reason: str, *, kill: bool = False) -> Run:
        """Note the request; a queued run has nobody to tell."""
        now = self._wall()
        with self._database.transaction() as transaction:
            self._database.lock_run(transaction, run_id)
            run = run_of(self._run_row(transaction, run_id))
            columns = {"run": run_id, "reason": plain(reason), "kill": kill, "now": now}
            if run.state is RunState.RUNNING:
                return run_of(transaction.execute(self._sql.request_stop, columns).fetchone())
            if run.state in QUEUED:
                columns["state"] = (RunState.KILLED if kill else RunState.STOPPED).value
                return run_of(transaction.execute(self._sql.stop_queued, columns).fetchone())
            raise StateError(f"run {run_id} has ended already ({run.state.value})")

    def retry(self, run_id: str) -> Run:
        """Requeue the run; one that waits already stays as it is."""
        now = self._wall()
        with self._database.transaction() as transaction:
            self._database.lock_run(transaction, run_id)
            run = run_of(self._run_row(transaction, run_id))
            if run.sweep_id is None:
                raise StateError(
                    f"run {run_id} belongs to no sweep, so nothing would hand it out; start it again yourself"
                )
            if run.state is RunState.RUNNING:
                raise StateError(f"run {run_id} is running; stop it first")
            if run.state in QUEUED:
                return run
            transaction.execute(self._sql.archive, {"run": run_id, "state": None, "now": now, "lost": 0})
            return run_of(transaction.execute(self._sql.retry, (run_id,)).fetchone())

    def delete_run(self, run_id: str, *, release: bool) -> None:
        """Delete every row that names the run."""
        with self._database.transaction() as transaction:
            self._database.lock_run(transaction, run_id)
            run = run_of(self._run_row(transaction, run_id))
            if run.state is RunState.RUNNING:
                raise StateError(f"run {run_id} is running; stop it first")
            for sql in (
                self._sql.delete_run,
                self._sql.delete_history,
                self._sql.delete_attempts,
                self._sql.delete_marks,
            ):
                transaction.execute(sql, (run_id,))
            if release and run.sweep_id is not None:
                point = {"sweep": run.sweep_id, "key": run.key, "params": dumps(run.params)}
                transaction.execute(self._sql.release, point)


def ending(lease: Lease, outcome: Outcome, now: float) -> dict[str, Any]:
    """Give what is stored of an attempt's end; UsageError for an outcome that is none of an attempt."""
    if outcome.state not in OUTCOMES:
        raise UsageError(f"an attempt cannot end as {outcome.state.value}")
    return {
        "run": lease.run_id,
        "attempt": lease.attempt,
        "state": outcome.state.value,
        "exit_code": outcome.exit_code,
        "error": plain(outcome.error),
        "summary": None if outcome.summary is None else dumps(outcome.summary),
        "value": finite(outcome.value),
        "now": now,
    }
