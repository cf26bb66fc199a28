"""A whole store from one database to another, SQLite or PostgreSQL, in one transaction at each end."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from besom.errors import StateError, StoreError, UsageError
from besom.records import RunState
from besom.store.address import hide_password
from besom.store.base import Store
from besom.store.postgres import PostgresStore
from besom.store.relational.database import Database, Transaction
from besom.store.relational.store import RelationalStore

PAGE = 2_000  # rows in memory at a time

COLUMNS: dict[str, tuple[str, ...]] = {
    "sweep": (
        "id", "name", "state", "method", "config", "metric", "run_cap", "max_attempts",
        "expected_runs", "project", "entity", "text", "folder", "version", "cursor", "exhausted",
        "created", "updated",
    ),
    "agent": ("id", "sweep", "host", "pid", "started", "seen", "job"),
    "suggestion": ("sweep", "ordinal", "key", "params", "stale_at"),
    "run": (
        "id", "sweep", "number", "name", "state", "params", "key", "source", "attempt", "failures",
        "crashes", "config", "summary", "value", "agent", "stop_reason", "exit_code", "error",
        "created", "started", "ended", "changed", "project", "kill", "lease",
    ),
    "attempt": (
        "run", "attempt", "agent", "started", "ended", "state", "superseded", "exit_code", "error",
        "summary", "value", "lost",
    ),
    "history": ("run", "attempt", "seq", "step", "time", "data"),
    "mark": ("run", "rung", "sweep", "loss"),
}  # fmt: skip
"""What is copied. The schema's triggers keep the counts; nobody's right to propose outlives the move."""

KEYS = {"suggestion": 2, "run": 1, "attempt": 2, "history": 3, "mark": 2}
"""How many of a table's first columns are its primary key. Tables without one here are read by creation."""

STATE, LEASE, NUMBER = (COLUMNS["run"].index(name) for name in ("state", "lease", "number"))


@dataclass(frozen=True, slots=True)
class Moved:
    """What `migrate` has copied: rows by table."""

    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Where the two databases differ."""

    mark: str  # what stands for a value
    creation: str  # the column that says in which order rows were made
    freeze: str | None  # keeps writers off until the transaction ends; None where every transaction does
    counter: str  # the latest number of a change
    advance: str  # brings it to a number


_SQLITE = _Dialect(
    "?",
    "rowid",
    None,
    "SELECT changed FROM tally WHERE sweep = ''",
    "UPDATE tally SET changed = ? WHERE sweep = ''",
)
_POSTGRES = _Dialect(
    "%s",
    "ordinal",
    f"LOCK TABLE tally, {', '.join(COLUMNS)} IN SHARE MODE",
    "SELECT last_value FROM changed",
    "SELECT setval('changed', %s)",
)


@dataclass(frozen=True, slots=True)
class _End:
    """One of the two stores, within its transaction."""

    database: Database
    transaction: Transaction
    dialect: _Dialect

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self.transaction.execute(sql.replace("?", self.dialect.mark), tuple(values)).fetchall()

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self.rows(sql, values)[0][0]

    def sizes(self) -> dict[str, int]:
        return {table: self.one(f"SELECT count(*) FROM {table}") for table in COLUMNS}  # noqa: S608


def migrate(source: Store, destination: Store, *, running: bool = False) -> Moved:
    """Copy everything that `source` holds into `destination`, whole or not at all; the source stays as it is.

    Ids, numbers, queues and cursors are kept, so agents of the destination go on where the source's stopped.
    With `running`, runs that are running come along with their leases run out: whoever claims next gives them
    another attempt. UsageError for a store behind a server, or the same store twice; StateError where the
    destination holds one of the sweeps or runs already, or without `running` while runs are running.
    """
    origin, target = _database(source), _database(destination)
    if origin.url == target.url:
        raise UsageError(f"{hide_password(origin.url)} is both where to copy from and where to copy to")
    with origin.transaction() as reading, target.transaction() as writing:
        old, new = _End(origin, reading, _dialect(source)), _End(target, writing, _dialect(destination))
        for end in (old, new):
            if end.dialect.freeze is not None:
                end.transaction.execute(end.dialect.freeze)
        _refuse(old, new, running=running)
        return _copy(old, new)


def _database(store: Store) -> Database:
    if not isinstance(store, RelationalStore):
        raise UsageError(
            f"{hide_password(store.url)} is no SQLite file and no PostgreSQL database: run `besom migrate`"
            " where the server runs, with the address of the store behind it"
        )
    return store._database  # noqa: SLF001 - the package's own


def _dialect(store: Store) -> _Dialect:
    return _POSTGRES if isinstance(store, PostgresStore) else _SQLITE


def _refuse(old: _End, new: _End, *, running: bool) -> None:
    """Raise StateError where the copy would be wrong."""
    going = old.one("SELECT count(*) FROM run WHERE state = ?", (RunState.RUNNING.value,))
    if going and not running:
        raise StateError(
            f"{going} runs are running in {hide_password(old.database.url)}: stop their agents first"
            " (`besom pause` lets running ones end), or give --running to have those runs attempted anew"
        )
    where = hide_password(new.database.url)
    for table, what in (("sweep", "sweep"), ("run", "run")):
        held = {row[0] for row in new.rows(f"SELECT id FROM {table}")}  # noqa: S608
        if held and (both := next((row[0] for row in _pages(old, table) if row[0] in held), None)):
            raise StateError(f"{where} holds {what} {both} already; nothing was copied")


def _copy(old: _End, new: _End) -> Moved:
    before, wanted = new.sizes(), old.sizes()
    counter = max(new.one(new.dialect.counter), old.one("SELECT coalesce(max(changed), 0) FROM run"))
    solos = new.one("SELECT numbers FROM tally WHERE sweep = ''")
    expired = new.database.clock.lease()
    for table, columns in COLUMNS.items():
        marks = ", ".join([new.dialect.mark] * len(columns))
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
        page: list[Any] = []
        for row in _pages(old, table):
            page.append(_moved_run(row, expired, solos) if table == "run" else row)
            if len(page) == PAGE:
                new.transaction.executemany(insert, page)
                page = []
        if page:
            new.transaction.executemany(insert, page)
    for sweep, numbers in old.rows("SELECT sweep, numbers FROM tally"):
        shifted = numbers + (0 if sweep else solos)
        new.transaction.execute(
            "UPDATE tally SET numbers = ? WHERE sweep = ? AND numbers < ?".replace("?", new.dialect.mark),
            (shifted, sweep, shifted),
        )
    new.transaction.execute(new.dialect.advance, (max(counter, 1),))
    rows = {table: size - before[table] for table, size in new.sizes().items()}
    if rows != wanted:
        raise StoreError(f"{new.database.where}: {rows} arrived of {wanted}; nothing was copied")
    return Moved(rows)


def _moved_run(row: Sequence[Any], expired: float, solos: int) -> Sequence[Any]:
    """Give a run's row as the destination has it: leases are measured by another clock there."""
    moved = list(row)
    if row[STATE] == RunState.RUNNING.value:
        moved[LEASE] = expired
    if row[1] is None:
        moved[NUMBER] += solos  # those that are there keep theirs
    return moved


def _pages(end: _End, table: str) -> Generator[Any]:
    """Give a table's rows in order, with a page of them in memory at a time."""
    columns = ", ".join(COLUMNS[table])
    if table not in KEYS:
        yield from end.rows(f"SELECT {columns} FROM {table} ORDER BY {end.dialect.creation}")  # noqa: S608
        return
    width = KEYS[table]
    key = ", ".join(COLUMNS[table][:width])
    after: tuple[Any, ...] | None = None
    while True:
        beyond = f"WHERE ({key}) > ({', '.join('?' * width)})" if after else ""
        page = end.rows(f"SELECT {columns} FROM {table} {beyond} ORDER BY {key} LIMIT {PAGE}", after or ())  # noqa: S608
        yield from page
        if len(page) < PAGE:
            return
        after = tuple(page[-1][:width])
