from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from besom.folders import RunFolder, run_environment, run_folder, write_run_folder
from besom.records import Batch, Metric, Run, Suggestion, Sweep, SweepDraft
from besom.run.active import active_run
from besom.store import Store, open_store

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with no run of any agent around, and no run left behind."""
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))] + list(RANKS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    yield tmp_path
    if (run := active_run()) is not None:
        run.finish()


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store()
    yield store
    store.close()


class Sweeps:
    """Makes sweeps, claims their runs, and starts programs as an agent does."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.monkeypatch = monkeypatch

    def create(self, *points: Mapping[str, Any], metric: str | None = "loss", max_attempts: int = 1) -> Sweep:
        draft = SweepDraft(
            config={"method": "grid", "parameters": {"lr": {"values": [1]}}},
            name="sweep",
            method="grid",
            metric=Metric(metric) if metric else None,
            max_attempts=max_attempts,
            project="proj",
            entity="team",
        )
        sweep = self.store.create_sweep(draft)
        points = points or ({"lr": 0.5},)
        batch = Batch(tuple(Suggestion(str(i), point) for i, point in enumerate(points)), 1, exhausted=True)
        assert self.store.offer(sweep.id, batch, version=sweep.version, cursor=sweep.cursor) == len(points)
        return sweep

    def claim(self, sweep: Sweep) -> tuple[Run, RunFolder]:
        agent = self.store.add_agent(sweep.id, host="here", pid=os.getpid())
        run = self.store.claim(sweep.id, agent.id, lease_seconds=60)
        assert run is not None
        folder = run_folder(run.id)
        write_run_folder(folder, run, self.store.get_sweep(sweep.id))
        return run, folder

    def environment(self, run: Run, folder: RunFolder, *, agent_pid: int | None = None) -> dict[str, str]:
        lease = float(os.environ.get("BESOM_LEASE_SECONDS", "60"))
        found = run_environment(folder, run, self.store.url, lease_seconds=lease)
        return found if agent_pid is None else {**found, "BESOM_AGENT_PID": str(agent_pid)}

    def enter(self, run: Run, folder: RunFolder) -> None:
        """Make this process one that an agent started for the run."""
        for name, value in self.environment(run, folder).items():
            self.monkeypatch.setenv(name, value)


@pytest.fixture
def sweeps(store: Store, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    return Sweeps(store, monkeypatch)


@pytest.fixture
def python(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a process of its own."""

    def run(
        program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *arguments],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
