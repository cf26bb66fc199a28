"""Agents that wait for runs at a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from besom.server.app import App
from besom.server.listen import Listening, bind, make_server
from besom.server.tokens import Tokens
from besom.server.waits import Waits
from besom.store import open_store
from besom.store.base import Store
from besom.testing.servers import server_options
from besom.testing.stores.ground import batch, sweep_with

CALLERS = 60
PATIENCE = 60.0


@dataclass
class Server:
    """A server with two threads for calls, in a thread of its own."""

    url: str
    waits: Waits
    stop: Callable[[], None]
    told: list[str] = field(default_factory=list[str])

    def wait(self, sweep_id: str, seen: str, *, seconds: float) -> threading.Thread:
        """Wait for news in a thread, as another client."""

        def ask() -> None:
            store = open_store(self.url)
            self.told.append(store.wait(sweep_id, seen, seconds=seconds))
            store.close()

        thread = threading.Thread(target=ask)
        thread.start()
        return thread

    def wait_for(self, callers: int) -> None:
        """Wait until so many clients wait for news."""
        deadline = time.monotonic() + PATIENCE
        while self.waits.callers != callers:
            assert time.monotonic() < deadline, f"{self.waits.callers} wait"
            time.sleep(0.01)


@contextmanager
def serve(store: Store, folder: Path) -> Generator[Server]:
    app = App(store, server_options(folder, threads=2))
    where = Listening(port=0)
    with bind(where) as listener:
        server = make_server(app, where)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()

        try:
            yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", app.waits, stop)
        finally:
            stop()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Store]:
    """The store behind the server."""
    tokens = Tokens(server_options(tmp_path).tokens)
    monkeypatch.setenv("BESOM_TOKEN", tokens.create("admin", seconds=None)[1])
    store = open_store(f"sqlite:///{tmp_path}/besom.db")
    yield store
    store.close()


def test_many_wait_for_a_sweep_while_others_are_served(tmp_path: Path, kept: Store) -> None:
    sweep = sweep_with(kept, 0, exhausted=False)
    with serve(kept, tmp_path) as server:
        store = open_store(server.url)
        word = store.wait(sweep.id, "", seconds=0)
        waiting = [server.wait(sweep.id, word, seconds=PATIENCE) for _ in range(CALLERS)]
        server.wait_for(CALLERS)
        assert store.get_sweep(sweep.id) == sweep
        assert server.told == []
        kept.offer(sweep.id, batch([0]), version=1, cursor=0)  # not by way of the server
        for thread in waiting:
            thread.join(PATIENCE)
        assert len(server.told) == CALLERS
        assert word not in server.told
        assert server.waits.callers == 0
        store.close()


def test_a_server_that_ends_lets_go_those_who_wait(tmp_path: Path, kept: Store) -> None:
    sweep = sweep_with(kept, 0)
    word = kept.wait(sweep.id, "", seconds=0)
    with serve(kept, tmp_path) as server:
        waiting = server.wait(sweep.id, word, seconds=10)
        server.wait_for(1)
        server.stop()
        waiting.join(PATIENCE)
        assert server.told == [word]
