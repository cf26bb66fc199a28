"""The backend, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from besom.store.clock import Clock
from besom.store.relational.store import RelationalStore
from besom.store.sqlite.database import Database, open_database
from besom.store.sqlite.place import filesystem_of, parse_place, require_local


class SqliteStore(RelationalStore):
    """A Store in one SQLite file; `flushes` says whether each call waits for the disk."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.flushes = database.flushes is not None


def open_sqlite(
    url: str, *, clock: Clock | None = None, probe: Callable[[Path], str | None] = filesystem_of
) -> SqliteStore:
    """Open the store at `sqlite:///path` or a bare path, creating file and folders where there are none.

    StorePlaceError on a network filesystem, StoreVersionError for a file of a newer besom, StoreError for a
    file that is no store. `?synchronous=full` makes every call durable to loss of power, not only to the
    death of processes, at the price of a disk flush per call. `probe` tells the type of the filesystem.
    """
    place = parse_place(url)
    require_local(place.path, probe(place.path))
    return SqliteStore(open_database(place, clock or Clock()))
