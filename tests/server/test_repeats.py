"""A call whose answer was lost is asked again, and not done again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from besom.errors import StoreError
from besom.server.repeats import Repeats
from besom.server.tokens import Tokens
from besom.store import open_store
from besom.store.http.connections import Connections, parse_address
from besom.testing.servers import ServerProcess, server_options, serving
from besom.testing.stores.ground import claim, finish, sweep_with


def test_a_claim_that_is_repeated_gives_the_same_run_and_another_server_refuses_it(tmp_path: Path) -> None:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    sweep = sweep_with(behind)
    token = Tokens(tmp_path / "tokens.json").create("agent", seconds=None)[1]
    body = f'{{"sweep_id": "{sweep.id}", "agent_id": "a", "lease_seconds": 60}}'.encode()
    with serving(behind, server_options(tmp_path)) as url:
        connections = Connections(parse_address(url))

        def ask(**more: str) -> tuple[int, bytes]:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            named = {name.replace("_", "-"): value for name, value in more.items()}
            reply = connections.request("POST", "/v1/claim", body, {**headers, **named}, again={})
            return reply.status, reply.body

        first = ask(Besom_Call="one")
        assert first[0] == 200
        assert ask(Besom_Call="one") == first
        assert ask(Besom_Call="two") != first
        assert ask(Besom_Call="three", Besom_Server="a server before this one")[0] == 503
        connections.close()
    assert len(behind.list_runs(sweep.id)) == 2
    behind.close()


def test_a_batch_that_is_repeated_gives_the_same_runs(tmp_path: Path) -> None:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    sweep = sweep_with(behind, 5)
    token = Tokens(tmp_path / "tokens.json").create("agent", seconds=None)[1]
    body = f'{{"sweep_id": "{sweep.id}", "agent_id": "a", "count": 3, "lease_seconds": 60}}'.encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with serving(behind, server_options(tmp_path)) as url:
        connections = Connections(parse_address(url))
        first, again = (
            connections.request("POST", "/v1/claim_batch", body, {**headers, "Besom-Call": "one"}, again={})
            for _ in range(2)
        )
        connections.close()
    assert first.status == 200
    assert first.body == again.body
    assert [run.number for run in behind.list_runs(sweep.id)] == [1, 2, 3]
    behind.close()


def test_answers_are_forgotten_from_the_oldest_on_when_they_are_too_many_or_too_large() -> None:
    done: list[str] = []

    async def main() -> None:
        few: Repeats[str] = Repeats(len, answers=2)
        small: Repeats[str] = Repeats(len, total=10)

        async def ask(repeats: Repeats[str], name: str, size: int = 1) -> str:
            async def do() -> str:
                done.append(name)
                return name * size

            return await repeats.once(("token", name), do)

        for name in "abcbca":
            await ask(few, name)
        assert done == ["a", "b", "c", "a"]
        done.clear()
        for name in "abcba":
            assert await ask(small, name, 8) == name * 8
        assert done == ["a", "b", "c", "a"]

    asyncio.run(main())


def test_a_client_goes_on_when_the_server_was_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerProcess(tmp_path, f"sqlite:///{tmp_path / 'besom.db'}")
    monkeypatch.setenv("BESOM_TOKEN", server.token)
    server.start()
    store = open_store(server.url)
    sweep = sweep_with(store)
    run = claim(store, sweep)
    server.kill()
    with pytest.raises(StoreError, match="is the server there"):
        store.get_sweep(sweep.id)
    server.start()
    assert finish(store, run, 1.0).value == 1.0
    server.kill()
    server.start()
    taken: list[Any] = []
    with pytest.raises(StoreError, match="started anew"):  # a claim on a connection that had died
        taken.append(claim(store, sweep))
    taken.append(claim(store, sweep))
    assert [one.number for one in taken] == [2]
    store.close()
    server.kill()
