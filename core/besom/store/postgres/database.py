"""Connections to the server, its time, and the schema."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from besom.errors import StoreError, StoreVersionError, UsageError
from besom.store.address import hide_password
from besom.store.clock import since_boot
from besom.store.postgres.address import Address
from besom.store.postgres.failure import explain
from besom.store.relational.database import Answer, Time, Transaction
from besom.store.relational.queries import Queries, read_sql

if TYPE_CHECKING:
    import psycopg
    from psycopg.types.composite import CompositeInfo

    Connected = psycopg.Connection[tuple[Any, ...]]
    Cursor = psycopg.Cursor[tuple[Any, ...]]

PACKAGE = "besom.store.postgres"
MIGRATIONS = (
    "0001_first",
    "0002_proposer",
    "0003_agent_job",
    "0004_wait",
    "0005_at_once",
    "0006_claim_batch",
)
VERSION = len(MIGRATIONS)
"""Of the schema."""

CONNECT_SECONDS = 10
PREPARE_AFTER = 2  # uses of a statement
CLOCK_SECONDS = 10.0  # how often the server is asked for the time
AWAIT_SECONDS = 600.0  # for how long one who waits may be told; later he looks for himself
LOOK_SECONDS = (
    5.0  # how often one who waits looks for himself: a pooler in between may swallow what he is told
)
FLUSH = "SELECT pg_logical_emit_message(true, 'besom', '')"
"""A transaction of its own that changes nothing. Its commit waits for the disk, or the standby, as the server
is set to: for its own record, and thereby for all before it."""
AWAIT = """
UPDATE tally SET awaited = extract(epoch FROM clock_timestamp()) + 2 * %(seconds)s
WHERE sweep = %(sweep)s AND awaited < extract(epoch FROM clock_timestamp()) + %(seconds)s
"""
"""Asks to be told; for twice as long as needed, so that of many who wait one writes."""
SETTINGS = (
    "SELECT set_config('search_path', %s, false), set_config('plan_cache_mode', 'force_generic_plan', false),"
    " set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)"
)
"""All that is often asked has an index, whatever its parameters. So one plan is enough, and a table that was
small when it was made is not scanned forever. What is asked seldom and has none is not worth compiling."""
MIGRATING = 0x6265736D  # the advisory lock of whoever makes the schema


class ServerClock:
    """The server's time, followed by this machine's steady clock in between questions."""

    def __init__(self, ask: Callable[[], float]) -> None:
        self._ask = ask
        self._offset = 0.0
        self._asked = float("-inf")

    def wall(self) -> float:
        """Give the server's time of day, right to the time a question takes."""
        now = since_boot()
        if now - self._asked >= CLOCK_SECONDS:
            told = self._ask()
            self._offset, self._asked = told - (now + since_boot()) / 2, now
            now = since_boot()
        return now + self._offset

    def lease(self) -> float:
        """Give the same: PostgreSQL has no steadier clock that all of its clients share."""
        return self.wall()


class Database:
    """A schema on a server, used by any number of threads, each with a connection of its own.

    A child process made by fork gets connections of its own at its first call, and so does a thread whose
    connection was lost.
    """

    queries = Queries(PACKAGE)

    def __init__(self, address: Address, clock: Time | None) -> None:
        self.address = address
        self.where = hide_password(address.url)
        self.url = address.url
        self.clock: Time = clock or ServerClock(self._server_time)
        self._connections: dict[int, Connected] = {}
        self._cursors: dict[int, Cursor] = {}
        self._run: CompositeInfo | None = None  # the type of a run's row, as this server knows it
        self._closed = False
        _opened.add(self)

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """Give this thread's connection, between BEGIN and COMMIT."""
        connection = self._connection()
        statements = _Statements(connection)
        try:
            connection.execute("BEGIN")
            yield statements
            connection.execute("COMMIT")
            if statements.flushes:
                connection.execute(FLUSH)
        except BaseException as error:
            self._undo(connection)
            if isinstance(error, Exception) and (told := explain(error, self.where)) is not error:
                raise told from error
            raise

    def once(self, sql: str, parameters: Any) -> bool:
        """Do one statement as a transaction of its own, in one round trip; says whether it did anything."""
        with self._cursor() as cursor:
            return cursor.execute(_text(sql), _values(parameters)).rowcount > 0

    def call(self, sql: str, parameters: Any) -> Any:
        """Call a procedure that commits by itself, in one round trip; gives a run's row, rows, or None."""
        with self._cursor() as cursor:
            row: Any = cursor.execute(_text(sql), _values(parameters)).fetchone()
            return row[0]

    def lock_sweep(self, transaction: Transaction, sweep_id: str | None) -> None:
        """Hold the sweep's row of counts until the end of the transaction; what it did is flushed after that.

        So others wait for the row no longer than the transaction itself takes, and share its flush to disk.
        """
        transaction.execute(self.queries.lock_sweep, (sweep_id or "",))
        cast("_Statements", transaction).flushes = True

    def lock_run(self, transaction: Transaction, run_id: str) -> None:
        """Hold the row of counts of the run's sweep."""
        transaction.execute(self.queries.lock_run, (run_id,))
        cast("_Statements", transaction).flushes = True

    def read(self, sql: str, parameters: Any = ()) -> list[Any]:
        """Give the rows of a query that writes nothing; takes no lock."""
        with self._explained() as connection:
            return connection.execute(_text(sql), _values(parameters)).fetchall()

    @contextmanager
    def listen(self, sweep_id: str, seconds: float) -> Generator[Callable[[float], None]]:
        """Give a pause that ends when another connection has changed the sweep's row or its counts."""
        own = threading.get_ident() in self._connections
        connection = self._connection()
        awaited = {"sweep": sweep_id, "seconds": min(seconds, AWAIT_SECONDS)}

        def pause(longest: float) -> None:
            for told in connection.notifies(timeout=min(longest, LOOK_SECONDS)):
                if told.payload == sweep_id:
                    break

        try:
            connection.execute(_text(f"LISTEN {self.address.schema}"))
            connection.execute(AWAIT, awaited)
            yield pause
            connection.execute("UNLISTEN *")
        except Exception as error:
            self._undo(connection)
            if (told := explain(error, self.where)) is not error:
                raise told from error
            raise
        finally:
            if not own:  # servers have few: a thread that only waits keeps none
                self._connections.pop(threading.get_ident(), None)
                connection.close()

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        self._closed = True
        while self._connections:
            self._connections.popitem()[1].close()

    def forget(self) -> None:
        """Leave the parent's connections alone; called in a forked child."""
        _inherited.extend(self._connections.values())
        self._connections, self._cursors = {}, {}

    @contextmanager
    def _explained(self) -> Generator[Connected]:
        """Give this thread's connection; what goes wrong with it is raised as it is to be told."""
        connection = self._connection()
        try:
            yield connection
        except Exception as error:
            self._undo(connection)
            if (told := explain(error, self.where)) is not error:
                raise told from error
            raise

    @contextmanager
    def _cursor(self) -> Generator[Cursor]:
        """Give this thread's cursor, for what is read at once: to make one costs as much as to use it."""
        with self._explained() as connection:
            cursor = self._cursors.get(threading.get_ident())
            if cursor is None or cursor.connection is not connection:
                cursor = self._cursors[threading.get_ident()] = self._make_cursor(connection)
            yield cursor

    def _make_cursor(self, connection: Connected) -> Cursor:
        """Give a cursor that reads a run's row as a tuple where it comes as one value."""
        from psycopg.types.composite import CompositeInfo, register_composite

        if self._run is None:
            self._run = CompositeInfo.fetch(connection, "run")
            assert self._run is not None
        register_composite(self._run, connection)
        return connection.cursor()

    def _connection(self) -> Connected:
        found = self._connections.get(threading.get_ident())
        if found is not None and not found.closed:
            return found
        self._require_open()
        connection = self._connect()
        self._connections[threading.get_ident()] = connection
        self._require_open()
        return connection

    def _require_open(self) -> None:
        """Raise StoreError for a store that was closed; so is what another thread has opened meanwhile."""
        if self._closed:
            self.close()
            raise StoreError(f"{self.where}: this store was closed")

    def _connect(self) -> Connected:
        import psycopg

        try:
            connection = psycopg.connect(
                self.address.conninfo,
                autocommit=True,
                prepare_threshold=PREPARE_AFTER,
                connect_timeout=CONNECT_SECONDS,
                application_name="besom",
            )
            connection.execute(_text(SETTINGS), (self.address.schema,))
        except psycopg.ProgrammingError as error:  # libpq's word for an address it cannot read
            raise UsageError(f"{self.where}: {error}") from error
        except psycopg.Error as error:
            raise explain(error, self.where) from error
        return connection

    def _undo(self, connection: Connected) -> None:
        """Leave no transaction open; a connection that cannot even do that is given up."""
        import psycopg

        try:
            if not connection.closed:
                connection.rollback()
        except psycopg.Error:
            connection.close()

    def _server_time(self) -> float:
        now: float = self.read("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0]
        return now


class _Statements:
    """A connection as the shared logic sees it."""

    __slots__ = ("_connection", "flushes")

    def __init__(self, connection: Connected) -> None:
        self._connection = connection
        self.flushes = False  # its COMMIT does not wait for the disk, so that must be done afterwards

    def execute(self, sql: str, parameters: Any = (), /) -> Answer:
        """Do one statement."""
        return cast("Answer", self._connection.execute(_text(sql), _values(parameters)))

    def executemany(self, sql: str, rows: Sequence[Any], /) -> Answer:
        """Do one statement for each of `rows`, without waiting for each."""
        cursor = self._connection.cursor()
        cursor.executemany(_text(sql), [_values(row) for row in rows])
        return cast("Answer", cursor)


def _text(sql: str) -> Any:
    """Give SQL of ours as psycopg's types ask for it: it takes literals only."""
    return sql


def _values(parameters: Any) -> Any:
    """Give parameters with NUL as an escape: PostgreSQL's text has no such character."""
    if isinstance(parameters, Mapping):
        named = cast("Mapping[str, Any]", parameters)
        return {name: _value(value) for name, value in named.items()}
    return None if parameters is None else tuple(map(_value, parameters))


def _value(value: Any) -> Any:
    return value.replace("\0", "\\x00") if isinstance(value, str) and "\0" in value else value


_opened: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Any] = []


def _forget_all() -> None:
    for database in _opened:
        database.forget()


os.register_at_fork(after_in_child=_forget_all)


def open_database(address: Address, clock: Time | None) -> Database:
    """Connect, and create the schema or bring it up to date."""
    from importlib.util import find_spec

    if find_spec("psycopg") is None:
        raise UsageError("a PostgreSQL store needs psycopg: pip install 'besom[postgres]'")
    database = Database(address, clock)
    try:
        if _version(database) != VERSION:
            _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _version(database: Database) -> int:
    """Give the version of the schema, 0 where there is none."""
    schema = database.address.schema
    # The catalog itself is asked: to_regclass may remember that there was none.
    there = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'store'"
    if not database.read(there, (schema,)):
        return 0
    version: int = database.read(f"SELECT version FROM {schema}.store")[0][0]  # noqa: S608 - a checked name
    if version > VERSION:
        raise StoreVersionError(
            f"{database.where} was written by a newer besom (its schema is {version}, this besom knows "
            f"{VERSION}); run `pip install --upgrade besom`, or name another store"
        )
    return version


def _prepare(database: Database) -> None:
    with database.transaction() as transaction:
        transaction.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
        version = _version(database)
        transaction.execute(f"CREATE SCHEMA IF NOT EXISTS {database.address.schema}")
        for name in MIGRATIONS[version:]:
            # Without parameters psycopg sends the script whole.
            transaction.execute(read_sql(PACKAGE, f"migrations/{name}.sql"), None)
        if version == 0:
            transaction.execute("INSERT INTO store VALUES (%s)", (VERSION,))
        else:
            transaction.execute("UPDATE store SET version = %s", (VERSION,))
