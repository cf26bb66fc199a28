"""128 agents at once on the stores of several machines: every run once, no error."""

from __future__ import annotations

from pathlib import Path

import pytest

from besom.testing.load import carry
from besom.testing.servers import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

AGENTS = 128
RUNS = 4_000


def test_128_agents_on_postgresql_finish_each_run_once(postgres_url: str) -> None:
    assert len(carry(postgres_url, agents=AGENTS, runs=RUNS).seconds) == RUNS


def test_128_agents_behind_a_server_finish_each_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerProcess(tmp_path, f"sqlite:///{tmp_path}/besom.db", max_rate=1e6)
    monkeypatch.setenv("BESOM_TOKEN", server.token)
    server.start()
    try:
        assert len(carry(server.url, agents=AGENTS, runs=RUNS).seconds) == RUNS
    finally:
        server.kill()
