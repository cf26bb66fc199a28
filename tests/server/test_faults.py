"""A server that dies, and a network that is cut, cost a sweep nothing but time."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from besom.errors import StoreError
from besom.records import RunState, Sweep
from besom.testing.agents import Lab, open_lab
from besom.testing.servers import ServerProcess

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


class Wire:
    """A connection to the server that can be cut: what is sent then is held back, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        sink.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerProcess]:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "server"
    home.mkdir()
    server = ServerProcess(home, f"sqlite:///{home / 'besom.db'}")
    monkeypatch.setenv("BESOM_TOKEN", server.token)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "agents"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BESOM_DIR", str(folder / ".besom"))
    (folder / "acknowledged").touch()
    monkeypatch.setenv("ACKNOWLEDGED", str(folder / "acknowledged"))
    return folder


def expect_all(lab: Lab, sweep: Sweep, size: int) -> None:
    """Every run once, and every acknowledged report once."""
    with suppress(StoreError):  # the connection that the last kill has cut
        lab.store.get_sweep(sweep.id)
    runs = lab.runs(sweep)
    assert Counter(run.state for run in runs) == {RunState.FINISHED: size}
    assert sorted(run.params["x"] for run in runs) == list(range(size))
    acknowledged: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for line in (lab.folder / "acknowledged").read_text().splitlines():
        words = line.split()
        acknowledged[words[0], int(words[1])].add(int(words[2]))
    assert len(acknowledged) >= size
    for (run_id, attempt), numbers in acknowledged.items():
        stored = [row.data["number"] for row in lab.store.history(run_id, attempt=attempt)]
        assert stored == sorted(set(stored))
        assert numbers <= set(stored), f"{run_id} attempt {attempt} has lost {numbers - set(stored)}"


def test_a_server_killed_at_20_random_points_loses_and_doubles_nothing(
    server: ServerProcess, folder: Path
) -> None:
    random = Random(1)
    with open_lab(folder, url=server.url) as lab:
        sweep = lab.python_sweep(PROGRAM, str(list(range(SIZE))), max_attempts=1000)
        agents = [lab.start_agent(sweep, workers=2, flapping=False, lease_seconds=10.0) for _ in range(2)]
        lab.wait(lambda: len(lab.store.list_agents(sweep.id)) == 2)
        for _ in range(KILLS):
            time.sleep(random.uniform(0.1, 0.6))
            server.kill()
            time.sleep(random.uniform(0.0, 0.2))
            server.start()
        for agent in agents:
            assert agent.wait(400) == 0, lab.agent_output()
        expect_all(lab, sweep, SIZE)


@pytest.mark.parametrize("seed", range(4))
def test_agents_killed_at_25_random_points_leave_the_grid_exact(
    seed: int, server: ServerProcess, folder: Path
) -> None:
    random = Random(seed)
    with open_lab(folder, url=server.url) as lab:
        sweep = lab.python_sweep(PROGRAM, str(list(range(SIZE))), max_attempts=1000)
        for _ in range(25):
            agent = lab.start_agent(sweep, workers=2, lease_seconds=1.0, flapping=False)
            lab.wait(lab.programs)
            time.sleep(random.uniform(0.0, 0.6))
            orphans = lab.programs() if random.random() < 0.5 else []
            agent.kill()
            for pid in orphans:  # half of the time the machine dies, else only the agent
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            agent.wait(20)
        assert Counter(lab.states(sweep)) != {RunState.FINISHED: SIZE}, "there was nothing left to kill"
        assert lab.agent(sweep, workers=2, lease_seconds=1.0, flapping=False).exit_code == 0
        expect_all(lab, sweep, SIZE)


def test_a_network_that_is_cut_for_30_seconds_delays_reports_and_loses_none(
    server: ServerProcess, folder: Path
) -> None:
    wire = Wire(server.port)
    with open_lab(folder, url=wire.url) as lab:
        sweep = lab.python_sweep(PROGRAM.replace("range(15)", "range(150)"), "[0, 1]", max_attempts=10)
        agent = lab.start_agent(sweep, workers=2)
        lab.wait(lambda: (folder / "acknowledged").read_text().count("\n") > 10)
        wire.cut()
        logged = (folder / "acknowledged").read_text().count("\n")
        time.sleep(30)
        assert (folder / "acknowledged").read_text().count("\n") > logged + 100, "programs did not go on"
        wire.mend()
        assert agent.wait(200) == 0, lab.agent_output()
        expect_all(lab, sweep, 2)
        assert all(run.attempt == 1 for run in lab.runs(sweep))
    wire.close()
