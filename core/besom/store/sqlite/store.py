"""The backend, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from besom.store.sqlite.clock import Clock
from besom.store.sqlite.database import open_database
from besom.store.sqlite.place import filesystem_of, parse_place, require_local
from besom.store.sqlite.reading import Reading
from besom.store.sqlite.runs import Runs
from besom.store.sqlite.sweeps import Sweeps


class SqliteStore(Sweeps, Runs, Reading):
    """A Store in one SQLite file; see `besom.store.base.Store` for what every call promises."""

    @property
    def url(self) -> str:
        """The address of the file, absolute."""
        return self._database.place.url

    def close(self) -> None:
        """Close the connections of all threads."""
        self._database.close()


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
