"""A network that is cut between agents and their store for 30 seconds: programs go on, and all is delivered.

Store and agents share a network namespace that has nothing but a loopback device. Taking that down drops
every packet and tells nobody, as a broken switch does. The test itself looks at the store by its files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from besom.records import RunState
from besom.store import open_store
from besom.testing.agents import open_lab
from besom.testing.postgres import find_server, postgres_server
from besom.testing.servers import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CUT_SECONDS = 30.0
STEPS = 120

PROGRAM = f"""
    import os, time
    import besom

    said = os.open(os.environ["ACKNOWLEDGED"], os.O_WRONLY | os.O_APPEND)
    run = besom.init()
    for number in range({STEPS}):
        run.log({{"number": number, "x": run.config["x"]}})
        os.write(said, f"{{run.id}} {{number}}\\n".encode())
        time.sleep(0.4)
    run.finish()
"""


@pytest.mark.parametrize("kind", ["postgresql", "server"])
def test_a_network_cut_for_30_seconds_delays_reports_and_loses_none(kind: str, tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("network namespaces are made by root")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    done = subprocess.run(
        ["unshare", "--net", sys.executable, __file__, kind, str(tmp_path)],
        env=kept,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def network(state: str) -> None:
    """Put the namespace's only device up or down."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


@contextmanager
def served(kind: str, folder: Path) -> Generator[tuple[str, str]]:
    """Give the store's address by its files and by the network."""
    if kind == "server":
        home = folder / "server"
        home.mkdir()
        server = ServerProcess(home, f"sqlite:///{home}/besom.db")
        os.environ["BESOM_TOKEN"] = server.token
        server.start()
        try:
            yield f"sqlite:///{home}/besom.db", server.url
        finally:
            server.kill()
        return
    programs = find_server()
    assert programs, "no PostgreSQL server is installed here (Debian: apt install postgresql)"
    with postgres_server(programs, settings={"listen_addresses": "127.0.0.1"}) as postgres:
        yield postgres.url("cut"), "postgresql://besom@127.0.0.1/postgres?schema=cut&tcp_user_timeout=5000"


def cut_and_mend(kind: str, folder: Path) -> None:
    """Run a sweep whose network is away for a while; AssertionError when anything is lost."""
    network("up")
    home = folder / "agents"
    home.mkdir()
    os.chdir(home)
    said = home / "acknowledged"
    said.touch()
    os.environ |= {"BESOM_DIR": str(home / ".besom"), "ACKNOWLEDGED": str(said)}

    def count() -> int:
        return said.read_text().count("\n")

    with served(kind, folder) as (near, far), open_lab(home, url=near) as lab:
        sweep = lab.python_sweep(PROGRAM, "[0, 1]", max_attempts=10)
        looking, lab.store = lab.store, open_store(far)
        agent = lab.start_agent(sweep, workers=2, lease_seconds=120.0)
        lab.store.close()
        lab.store = looking
        lab.wait(lambda: len(lab.runs(sweep)) == 2 and count() > 10, seconds=60)
        network("down")
        before = count()
        time.sleep(CUT_SECONDS)
        stored = sum(len(lab.store.history(run.id)) for run in lab.runs(sweep))
        now = count()
        network("up")
        assert now > before + 60, "programs did not go on"
        assert now > stored + 50, "the network was not cut"
        assert agent.wait(150) == 0, lab.agent_output()
        runs = lab.runs(sweep)
        assert [(run.state, run.attempt) for run in runs] == [(RunState.FINISHED, 1)] * 2
        for run in runs:
            assert [row.data["number"] for row in lab.store.history(run.id)] == list(range(STEPS))


if __name__ == "__main__":
    cut_and_mend(sys.argv[1], Path(sys.argv[2]))
