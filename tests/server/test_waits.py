"""Agents that wait for runs at a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from besom.server.app import App
from besom.server.listen import Listening, bind, make_server
from besom.server.tokens import Tokens
from besom.server.waits import THREADS, Waits
from besom.store import open_store
from besom.store.base import Store
from besom.store.postgres.address import parse_address
from besom.testing.servers import server_options
from besom.testing.stores.ground import batch, point, sweep_with

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


def test_however_many_wait_a_server_holds_few_connections_to_postgresql(
    tmp_path: Path, kept: Store, postgres_url: str
) -> None:
    behind = open_store(postgres_url)
    sweeps = [sweep_with(behind, 0, exhausted=False) for _ in range(3)]
    with (
        serve(behind, tmp_path) as server,
        psycopg.connect(parse_address(postgres_url).conninfo, autocommit=True) as other,
    ):

        def connections() -> int:
            found = other.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'besom'")
            return int(found.fetchall()[0][0])

        before = connections()

        def look_and_wait(number: int) -> None:
            store = open_store(server.url)
            sweep = sweeps[number % len(sweeps)]
            for _ in range(3):
                word = store.wait(sweep.id, "", seconds=0)
                server.told.append(store.wait(sweep.id, word, seconds=PATIENCE))
            store.close()

        agents = [threading.Thread(target=look_and_wait, args=(number,)) for number in range(CALLERS)]
        for agent in agents:
            agent.start()
        number = 0
        while any(agent.is_alive() for agent in agents):
            assert connections() <= before + 2 + THREADS
            for sweep in sweeps:
                behind.enqueue(sweep.id, point(number))
            number += 1
        assert len(server.told) == 3 * CALLERS
        deadline = time.monotonic() + PATIENCE
        while connections() > before + 2:  # of the two threads for calls
            assert time.monotonic() < deadline
            time.sleep(0.05)
    behind.close()
