"""The store behind a server keeps every promise of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from besom.server.tokens import Tokens
from besom.store import Store, open_store
from besom.store.http.operations import ONCE, TABLE
from besom.store.sqlite import Clock, open_sqlite
from besom.testing.servers import server_options, serving
from besom.testing.stores import StoreContract, Time


class TestHttp(StoreContract):
    @pytest.fixture(autouse=True)
    def serve(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        tokens = Tokens(tmp_path / "tokens.json")
        monkeypatch.setenv("BESOM_TOKEN", tokens.create("admin", seconds=None)[1])
        self.urls: dict[Path, str] = {}
        with ExitStack() as self.running:
            yield

    def open(self, folder: Path, time: Time) -> Store:
        if folder not in self.urls:
            behind = open_sqlite(
                f"sqlite:///{folder / 'besom.db'}", clock=Clock(time.wall, time.lease, "boot")
            )
            self.running.callback(behind.close)
            self.urls[folder] = self.running.enter_context(serving(behind, server_options(folder)))
        return open_store(self.urls[folder])


def test_every_operation_of_the_protocol_is_served() -> None:
    operations = {name for name in vars(Store) if not name.startswith("_")} - {"url", "close"}
    assert set(TABLE) == operations
    assert operations >= ONCE
