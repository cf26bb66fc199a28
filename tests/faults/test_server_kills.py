"""A PostgreSQL server that dies in the middle of a sweep costs nothing but time."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from besom.errors import StoreError
from besom.records import RunState
from besom.testing.agents import Lab, open_lab
from besom.testing.postgres import PostgresServer, find_server, postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 20
SIZE = 60

PROGRAM = """
    import os, time
    import besom

    said = os.open(os.environ["ACKNOWLEDGED"], os.O_WRONLY | os.O_APPEND)
    run = besom.init()
    for number in range(15):
        run.log({"number": number, "x": run.config["x"]})
        os.write(said, f"{run.id} {run.attempt} {number}\\n".encode())
        time.sleep(0.02)
    run.finish()
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    programs = find_server()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: apt install postgresql)")
    with postgres_server(programs) as server:
        yield server


@pytest.fixture
def lab(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with open_lab(tmp_path, url=server.url("besom")) as made:
        yield made


def test_a_server_killed_at_20_random_points_loses_and_doubles_nothing(
    lab: Lab, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(1)
    said = lab.folder / "acknowledged"
    said.touch()
    monkeypatch.setenv("ACKNOWLEDGED", str(said))
    sweep = lab.python_sweep(PROGRAM, str(list(range(SIZE))), max_attempts=1000)
    agents = [lab.start_agent(sweep, workers=2, flapping=False) for _ in range(2)]
    lab.wait(lambda: len(lab.store.list_agents(sweep.id)) == 2)
    for _ in range(KILLS):
        time.sleep(random.uniform(0.1, 0.6))
        server.kill()
        time.sleep(random.uniform(0.0, 0.2))
        server.start()
    for agent in agents:
        assert agent.wait(300) == 0, lab.agent_output()
    with suppress(StoreError):  # the connection that the last kill has cut
        lab.store.get_sweep(sweep.id)
    runs = lab.runs(sweep)
    assert Counter(run.state for run in runs) == {RunState.FINISHED: SIZE}
    assert sorted(run.params["x"] for run in runs) == list(range(SIZE))
    acknowledged: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for line in said.read_text().splitlines():
        words = line.split()
        acknowledged[words[0], int(words[1])].add(int(words[2]))
    for (run_id, attempt), numbers in acknowledged.items():
        stored = [row.data["number"] for row in lab.store.history(run_id, attempt=attempt)]
        assert stored == sorted(set(stored))
        assert numbers <= set(stored), f"{run_id} attempt {attempt} has lost {numbers - set(stored)}"
