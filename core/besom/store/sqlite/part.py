"""What the parts of the backend share: the database, and look-ups that must find something."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from besom.errors import NotFoundError
from besom.records import Run, Sweep
from besom.store.sqlite.database import Connection, Database
from besom.store.sqlite.queries import SQL
from besom.store.sqlite.rows import Row, new_id, run_of, sweep_of

T = TypeVar("T")


class Gate(NamedTuple):
    """What a claim must know of its sweep."""

    state: str
    run_cap: int | None
    started: int  # runs that have been handed out
    max_attempts: int | None
    reap_at: float | None  # no lease runs out before
    metric: str | None

    @property
    def room(self) -> bool:
        """Whether `run_cap` leaves room for runs that never started."""
        return self.run_cap is None or self.started < self.run_cap


class Part:
    """A share of the Store protocol, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _wall(self) -> float:
        return self._database.clock.wall()

    def _lease_now(self) -> float:
        return self._database.clock.lease()

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Join the sweep with its file."""
        rows = self._database.read(SQL.get_sweep, (sweep_id,))
        if not rows:
            raise self._no_sweep(sweep_id)
        return sweep_of(rows[0])

    def get_run(self, run_id: str) -> Run:
        """Look the run up by its id."""
        rows = self._database.read(SQL.get_run, (run_id,))
        if not rows:
            raise self._no_run(run_id)
        return run_of(rows[0])

    def _run_row(self, transaction: Connection, run_id: str) -> Row:
        row: Row | None = transaction.execute(SQL.get_run, (run_id,)).fetchone()
        if row is None:
            raise self._no_run(run_id)
        return row

    def _sweep_in(self, transaction: Connection, sweep_id: str) -> Sweep:
        row = transaction.execute(SQL.get_sweep, (sweep_id,)).fetchone()
        if row is None:
            raise self._no_sweep(sweep_id)
        return sweep_of(row)

    def _gate(self, transaction: Connection, sweep_id: str) -> Gate:
        row = transaction.execute(SQL.gate, (sweep_id,)).fetchone()
        if row is None:
            raise self._no_sweep(sweep_id)
        return Gate(*row)

    def _no_sweep(self, sweep_id: str) -> NotFoundError:
        return NotFoundError(
            f"no sweep is called {sweep_id!r} in {self._database.place.path}; `besom ls` lists them"
        )

    def _no_run(self, run_id: str) -> NotFoundError:
        return NotFoundError(f"no run is called {run_id!r} in {self._database.place.path}")


def with_new_id(insert: Callable[[str], T]) -> T:
    """Call `insert` with ids until one is not taken."""
    while True:
        with suppress(IdTaken):
            return _insert(insert)


def _insert(insert: Callable[[str], T]) -> T:
    try:
        return insert(new_id())
    except sqlite3.IntegrityError as error:
        if str(error).endswith(".id"):
            raise IdTaken from error
        raise


class IdTaken(Exception):  # noqa: N818 - never leaves this module
    """A new id that another row has."""
