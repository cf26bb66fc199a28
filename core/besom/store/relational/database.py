"""What the shared logic needs of a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from besom.store.relational.queries import Queries


class Answer(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Give the next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Give all rows that are left."""
        ...


class Transaction(Protocol):
    """Statements that take effect together, or not at all."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Answer:
        """Do one statement."""
        ...

    def executemany(self, sql: str, rows: Sequence[Any], /) -> Answer:
        """Do one statement for each of `rows`."""
        ...


class Time(Protocol):
    """What the store reads time from, both in seconds."""

    def wall(self) -> float:
        """Give the time of day, since the epoch: for people."""
        ...

    def lease(self) -> float:
        """Give the time that leases are measured in."""
        ...


class Database(Protocol):
    """Connections for any number of threads, and the backend's own SQL."""

    @property
    def queries(self) -> Queries:
        """The queries by name."""
        ...

    @property
    def clock(self) -> Time:
        """The store's own time."""
        ...

    @property
    def where(self) -> str:
        """The place of the store as messages name it."""
        ...

    @property
    def url(self) -> str:
        """The address that opens the store again."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Give a write transaction: committed at the end of the block, undone by an exception."""
        ...

    def once(self, sql: str, parameters: Any) -> bool:
        """Do one statement as a transaction of its own; says whether it did anything."""
        ...

    def lock_sweep(self, transaction: Transaction, sweep_id: str | None) -> None:
        """Keep other transactions off a sweep's queue and counts until this one ends; None: solo runs'."""
        ...

    def lock_run(self, transaction: Transaction, run_id: str) -> None:
        """Do the same for the sweep of a run, if there is such a run."""
        ...

    def listen(self, sweep_id: str, seconds: float) -> AbstractContextManager[Callable[[float], None]]:
        """Give a pause of so many seconds at most, shorter when there may be news of the sweep.

        The block takes no longer than `seconds`.
        """
        ...

    def read(self, sql: str, parameters: Any = ...) -> list[Any]:
        """Give the rows of a query that writes nothing."""
        ...

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        ...
