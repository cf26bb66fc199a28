from __future__ import annotations

from pathlib import Path

from besom.store.sqlite import Clock, SqliteStore, open_sqlite
from besom.testing.stores import StoreContract, Time


class TestSqlite(StoreContract):
    def open(self, folder: Path, time: Time) -> SqliteStore:
        return open_sqlite(f"sqlite:///{folder}/besom.db", clock=Clock(time.wall, time.lease, "boot"))
