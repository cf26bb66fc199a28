"""The SQLite backend: many processes of one machine share one file.

Reads go straight to the file. Writers queue up for a lock file first, because SQLite's own waiting starves
some of them; inside the queue every call is one transaction.
"""

from __future__ import annotations

from besom.store.clock import Clock
from besom.store.sqlite.store import SqliteStore, open_sqlite

__all__ = ["Clock", "SqliteStore", "open_sqlite"]
