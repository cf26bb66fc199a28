"""The protocol, put together."""

from __future__ import annotations

from besom.store.relational.reading import Reading
from besom.store.relational.runs import Runs
from besom.store.relational.sweeps import Sweeps


class RelationalStore(Sweeps, Runs, Reading):
    """A Store on a relational database; see `besom.store.base.Store` for what every call promises."""

    @property
    def url(self) -> str:
        """The address that opens this store again."""
        return self._database.url

    def close(self) -> None:
        """Close the connections of all threads."""
        self._database.close()
