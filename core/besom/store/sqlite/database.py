"""Connections to the file, the queue of its writers, and its schema."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from besom.errors import StoreError, StoreVersionError
from besom.store.clock import Clock
from besom.store.relational.database import Transaction
from besom.store.relational.queries import Queries
from besom.store.sqlite.checkpoints import COMMITS, FLUSHED_COMMITS, Checkpoints
from besom.store.sqlite.failure import explain
from besom.store.sqlite.flush import Flushes
from besom.store.sqlite.migrations import MIGRATIONS, PACKAGE, migrations, statements
from besom.store.sqlite.place import Place
from besom.store.sqlite.turns import Turns

VERSION = len(MIGRATIONS)
"""Of the schema."""

APPLICATION_ID = 0x6265736D  # "besm": tells our files from other programs'
BUSY_SECONDS = 30.0
PAGE_BYTES = 2048  # a report rewrites two pages: small ones cost less
CHECKPOINT_PAGES = 64_000  # 128 MB: only where `checkpoints` were prevented, or a transaction is that large
LOOK_SECONDS = 0.05  # how often one who waits looks
OLDEST_SQLITE = (3, 35, 0)  # RETURNING
Committed = tuple["int | None", bool]  # the flush to wait for, and whether a checkpoint is due
FAULTS = (sqlite3.Error, OverflowError, UnicodeEncodeError, OSError)


class Database:
    """A store's file, used by any number of threads, each with a connection of its own.

    A child process made by fork gets connections of its own at its first call.
    """

    def __init__(self, place: Place, clock: Clock) -> None:
        self.place = place
        self.clock = clock
        full = place.synchronous == "full"
        # A process that waits for the disk after each transaction has no use for a longer turn.
        self.turns = Turns(place.path, 0.0) if full else Turns(place.path)
        self.flushes = Flushes(place.path, clock.boot) if full else None
        self.checkpoints = Checkpoints(self.turns, FLUSHED_COMMITS if full else COMMITS)
        self._connections: dict[int, Connection] = {}
        self._closed = False
        _opened.add(self)

    queries = Queries(PACKAGE)

    @property
    def where(self) -> str:
        """The file."""
        return str(self.place.path)

    @property
    def url(self) -> str:
        """The address of the file, absolute."""
        return self.place.url

    def once(self, sql: str, parameters: Any) -> bool:
        """Do one statement as a transaction of its own; False where the schema refuses it."""
        return self.transaction().once(sql, parameters)

    def lock_sweep(self, transaction: Transaction, sweep_id: str | None) -> None:
        """Do nothing: a write transaction keeps all others off."""

    def lock_run(self, transaction: Transaction, run_id: str) -> None:
        """Do nothing: a write transaction keeps all others off."""

    def transaction(self) -> Connection:
        """Give this thread's connection: `with database.transaction() as transaction:` writes."""
        found = self._connections.get(threading.get_ident())
        return found if found is not None else self._connect()

    def read(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Give the rows of a query that writes nothing; takes no lock."""
        connection = self.transaction()
        try:
            with connection.reading:
                return connection.execute(sql, parameters).fetchall()
        except FAULTS as error:
            raise self.explain(error) from error

    @contextmanager
    def listen(self, sweep_id: str, seconds: float) -> Generator[Callable[[float], None]]:
        """Give a short pause: other processes change the file without a word."""
        yield lambda longest: time.sleep(min(longest, LOOK_SECONDS))

    def explain(self, error: Exception) -> Exception:
        """Give the error to raise in place of `error`."""
        return explain(error, self.place.path)

    def close(self) -> None:
        """Close every connection; a second call does nothing. Other threads may be reading, not writing."""
        self._closed = True
        while self._connections:
            _, connection = self._connections.popitem()
            with connection.reading:
                connection.sqlite.close()
        self.turns.close()
        if self.flushes is not None:
            self.flushes.close()

    def forget(self) -> None:
        """Leave everything that belongs to the parent process alone; called in a forked child."""
        # Closing the parent's connections here would break its locks, so they are kept and never used again.
        _inherited.extend(self._connections.values())
        self._connections = {}
        self.turns.forget()
        if self.flushes is not None:
            self.flushes.forget()

    def _connect(self) -> Connection:
        self._require_open()
        try:
            sqlite = sqlite3.connect(
                self.place.path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            sqlite.execute("PRAGMA synchronous = normal")  # more is the business of `flushes`
            sqlite.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        except FAULTS as error:
            raise self.explain(error) from error
        connection = Connection(self, sqlite)
        self._connections[threading.get_ident()] = connection
        self._require_open()
        return connection

    def _require_open(self) -> None:
        """Raise StoreError for a store that was closed; so is what another thread has opened meanwhile."""
        if self._closed:
            self.close()
            raise StoreError(f"{self.place.path}: this store was closed")


class Connection:
    """One thread's connection; as a context manager, a write transaction in the queue of writers."""

    __slots__ = ("_database", "execute", "executemany", "reading", "sqlite")

    def __init__(self, database: Database, sqlite: sqlite3.Connection) -> None:
        self._database = database
        self.sqlite = sqlite
        self.reading = threading.Lock()  # held by its thread: to close it meanwhile would crash the process
        self.execute = sqlite.execute
        self.executemany = sqlite.executemany

    def __enter__(self) -> Connection:
        self._take_turn()
        try:
            self.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._database.turns.end()
            if isinstance(error, FAULTS):
                raise self._database.explain(error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        committed: Committed | None = None
        try:
            if error is None:
                self.execute("COMMIT")
                committed = self._note()
        except FAULTS as failure:
            raise self._database.explain(failure) from failure
        finally:
            # Not only after an error of the caller: a COMMIT that failed leaves its transaction open.
            if self.sqlite.in_transaction:
                self.sqlite.rollback()
            self._database.turns.end()
        if committed is not None:
            self._secure(committed)
        if isinstance(error, FAULTS):
            raise self._database.explain(error) from error

    def once(self, sql: str, parameters: Any) -> bool:
        """Do one statement as a transaction of its own, in a turn; False where the schema refuses it."""
        self._take_turn()
        try:
            self.execute(sql, parameters)
            committed = self._note()
        except sqlite3.IntegrityError:
            return False
        except FAULTS as error:
            raise self._database.explain(error) from error
        finally:
            self._database.turns.end()
        self._secure(committed)
        return True

    def _take_turn(self) -> None:
        try:
            self._database.turns.take()
        except OSError as error:
            raise self._database.explain(error) from error

    def _note(self) -> Committed:
        """Count what was just committed, while the turn lasts."""
        flushes = self._database.flushes
        return None if flushes is None else flushes.note(), self._database.checkpoints.note()

    def _secure(self, committed: Committed) -> None:
        """Do what a transaction asks for after its turn."""
        flush, checkpoint = committed
        if flush is not None and self._database.flushes is not None:
            try:
                self._database.flushes.wait(flush)
            except OSError as error:
                raise self._database.explain(error) from error
        if checkpoint:
            self._database.checkpoints.copy(self.sqlite)


_opened: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Connection] = []


def _forget_all() -> None:
    for database in _opened:
        database.forget()


os.register_at_fork(after_in_child=_forget_all)


def open_database(place: Place, clock: Clock) -> Database:
    """Open the file, creating it or bringing its schema up to date, and expire the leases of another boot."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"besom needs SQLite 3.35 or newer; this Python has {sqlite3.sqlite_version}")
    database = Database(place, clock)
    try:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        if _version(database) != VERSION:
            _prepare(database)
        if database.read(database.queries.get_boot) != [(clock.boot,)]:
            _expire(database)
    except OSError as error:
        database.close()
        raise database.explain(error) from error
    except BaseException:
        database.close()
        raise
    return database


def _version(database: Database) -> int:
    version: int = database.read("PRAGMA user_version")[0][0]
    ours = database.read("PRAGMA application_id")[0][0] == APPLICATION_ID
    path = database.place.path
    if not ours and (version or database.read("SELECT 1 FROM sqlite_master LIMIT 1")):
        raise StoreError(
            f"{path} is another program's database; name another file with BESOM_STORE or --store"
        )
    if version > VERSION:
        raise StoreVersionError(
            f"{path} was written by a newer besom (its schema is {version}, this besom knows {VERSION}); "
            "run `pip install --upgrade besom`, or name another store"
        )
    return version


def _prepare(database: Database) -> None:
    """Switch a new file to WAL and bring the schema to VERSION, with no other writer about."""
    database.turns.take()
    try:
        # Not in a transaction, where SQLite refuses to; without the turn, others would meet a lock.
        database.read(f"PRAGMA page_size = {PAGE_BYTES}")
        database.read("PRAGMA journal_mode = wal")
    finally:
        database.turns.end()
    with database.transaction() as transaction:
        version = _version(database)
        if version == 0:
            transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for script in migrations()[version:]:
            for statement in statements(script):
                transaction.execute(statement)
        transaction.execute(f"PRAGMA user_version = {VERSION}")


def _expire(database: Database) -> None:
    with database.transaction() as transaction:
        if transaction.execute(database.queries.get_boot).fetchone() != (database.clock.boot,):
            transaction.execute(database.queries.expire_leases)
            transaction.execute(database.queries.expire_tallies)
            transaction.execute(database.queries.expire_proposers)
            transaction.execute(database.queries.set_boot, (database.clock.boot,))
