"""What becomes of a multirun when its processes are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from besom.records import Run, RunState
from besom.testing.agents import Lab

POINTS = 50
COMMAND = [
    "train.py",
    "-m",
    "hydra/sweeper=besom",
    "hydra/launcher=besom",
    "hydra.launcher.workers=2",
    "hydra.sweep.dir=out",
    f"x=range({POINTS})",
]
BODY = """
import time
with open(f"begun-{cfg.x}", "a") as file:
    file.write("x")
time.sleep(0.02)
return float(cfg.x)
"""


class Multirun:
    """A multirun in a process of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        with (self.lab.folder / "multirun.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *COMMAND], cwd=self.lab.folder, stdout=log, stderr=log, text=True
            )
        return self.process

    def runs(self) -> list[Run]:
        sweeps = self.lab.store.list_sweeps()
        return self.lab.store.list_runs(sweeps[0].id) if sweeps else []

    def finished(self) -> int:
        return Counter(run.state for run in self.runs())[RunState.FINISHED]

    def wait_for(self, count: int) -> None:
        self.lab.wait(lambda: self.finished() >= count or self.over, 60)

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def workers(self) -> list[int]:
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(word) for word in path.read_text().split()]
        except OSError:
            return []

    def kill(self, what: str, chance: random.Random) -> None:
        """Kill the sweeper or one of its workers."""
        assert self.process is not None
        workers = self.workers()
        victim = chance.choice(workers) if what == "worker" and workers else self.process.pid
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        if victim == self.process.pid:
            self.process.wait(30)

    def end(self) -> None:
        """Let it run to its end, starting it again where it was killed or something failed."""
        for _ in range(10):
            if self.process is None or self.over:
                if self.finished() == POINTS:
                    return
                self.start()
            assert self.process is not None
            self.process.wait(60)
        raise AssertionError((self.lab.folder / "multirun.log").read_text())


@pytest.fixture
def multirun_process(lab: Lab, app: Callable[..., Path]) -> Multirun:
    app(BODY)
    lab.write("conf/config.yaml", "x: 0\n")
    return Multirun(lab)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_grid_that_is_killed_five_times_has_each_point_once(multirun_process: Multirun, seed: int) -> None:
    chance, multirun = random.Random(seed), multirun_process
    for done in sorted(chance.sample(range(POINTS - 2), 5)):
        if multirun.process is None or multirun.over:
            multirun.start()
        multirun.wait_for(done)
        time.sleep(chance.uniform(0, 0.05))
        if not multirun.over:
            multirun.kill(chance.choice(["sweeper", "worker"]), chance)
    multirun.end()

    runs = multirun.runs()
    assert [run.state for run in runs] == [RunState.FINISHED] * POINTS
    assert sorted(run.params["x"] for run in runs) == list(range(POINTS))
    assert all(run.summary == {"return_value": float(run.params["x"])} for run in runs)
    folders = [path for path in (multirun.lab.folder / "out").iterdir() if path.is_dir()]
    assert sorted(int(path.name) for path in folders) == list(range(POINTS))
    again = sum(len(path.read_text()) - 1 for path in multirun.lab.folder.glob("begun-*"))
    assert again <= 10  # what was running, at five kills of two workers


@pytest.mark.slow
def test_a_killed_sweeper_takes_its_jobs_along(multirun_process: Multirun, lab: Lab) -> None:
    multirun = multirun_process
    multirun.start()
    multirun.wait_for(3)
    lab.wait(lambda: bool(multirun.workers()), 20)
    workers = multirun.workers()
    multirun.kill("sweeper", random.Random(0))
    lab.wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)


@pytest.mark.slow
def test_a_terminated_sweeper_gives_its_jobs_back(multirun_process: Multirun) -> None:
    multirun = multirun_process
    process = multirun.start()
    multirun.wait_for(3)
    process.terminate()
    assert process.wait(30) == 143
    assert not [run for run in multirun.runs() if run.state is RunState.RUNNING]
    multirun.end()
    assert [run.state for run in multirun.runs()] == [RunState.FINISHED] * POINTS
