"""What the parts of the backend share: the database, and look-ups that must find something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from besom.errors import NotFoundError
from besom.records import Run, Sweep
from besom.store.relational.database import Database, Transaction
from besom.store.relational.rows import Row, new_id, run_of, sweep_of


class Gate(NamedTuple):
    """What a claim must know of its sweep."""

    state: str
    run_cap: int | None
    started: int  # runs that have been handed out
    max_attempts: int | None
    reap_at: float | None  # no lease runs out before
    metric: str | None
    ended: int  # runs that have ended
    exhausted: int
    queued: int  # runs that wait for an agent

    @property
    def room(self) -> bool:
        """Whether `run_cap` leaves room for runs that never started."""
        return self.run_cap is None or self.started < self.run_cap


class Part:
    """A share of the Store protocol, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.queries

    def _wall(self) -> float:
        return self._database.clock.wall()

    def _lease_now(self) -> float:
        return self._database.clock.lease()

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Join the sweep with its file."""
        rows = self._database.read(self._sql.get_sweep, (sweep_id,))
        if not rows:
            raise self._no_sweep(sweep_id)
        return sweep_of(rows[0])

    def get_run(self, run_id: str) -> Run:
        """Look the run up by its id."""
        rows = self._database.read(self._sql.get_run, (run_id,))
        if not rows:
            raise self._no_run(run_id)
        return run_of(rows[0])

    def _run_row(self, transaction: Transaction, run_id: str) -> Row:
        row: Row | None = transaction.execute(self._sql.get_run, (run_id,)).fetchone()
        if row is None:
            raise self._no_run(run_id)
        return row

    def _sweep_in(self, transaction: Transaction, sweep_id: str) -> Sweep:
        row = transaction.execute(self._sql.get_sweep, (sweep_id,)).fetchone()
        if row is None:
            raise self._no_sweep(sweep_id)
        return sweep_of(row)

    def _gate(self, transaction: Transaction, sweep_id: str) -> Gate:
        row = transaction.execute(self._sql.gate, (sweep_id,)).fetchone()
        if row is None:
            raise self._no_sweep(sweep_id)
        return Gate(*row)

    def _insert(self, transaction: Transaction, sql: str, columns: Mapping[str, Any]) -> Row:
        """Insert a row under a new id; the query gives nothing where the id is taken."""
        while True:
            row: Row | None = transaction.execute(sql, {**columns, "id": new_id()}).fetchone()
            if row is not None:
                return row

    def _no_sweep(self, sweep_id: str) -> NotFoundError:
        return NotFoundError(
            f"no sweep is called {sweep_id!r} in {self._database.where}; `besom ls` lists them"
        )

    def _no_run(self, run_id: str) -> NotFoundError:
        return NotFoundError(f"no run is called {run_id!r} in {self._database.where}")
