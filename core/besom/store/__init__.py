"""Everything besom remembers: `open_store` gives the Store behind an address."""

from __future__ import annotations

from besom.folders import default_store
from besom.plugins import load_plugin
from besom.store.base import Store

__all__ = ["Store", "open_store"]


def open_store(url: str | None = None) -> Store:
    """Open the store at `url`, creating it where there is none; None means the default one.

    `sqlite:///relative.db`, `sqlite:////absolute.db` or a bare path mean SQLite; other schemes are looked up
    among the installed store plugins.
    """
    url = url or default_store()
    scheme, separator, _ = url.partition("://")
    store: Store = load_plugin("besom.stores", scheme if separator else "sqlite")(url)
    return store
