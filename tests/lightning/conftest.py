from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Lightning and what it imports, at its import
    torch = pytest.importorskip("torch")
    pl = pytest.importorskip("lightning.pytorch")

import besom
from besom.folders import RunFolder, run_environment, run_folder, write_run_folder
from besom.records import Run
from besom.run.active import active_run
from besom.scheduler import Scheduler
from besom.store import Store, open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with no run of any agent around, and no run left behind."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    for name in [*(name for name in os.environ if name.startswith(("BESOM_", "WANDB_", "SLURM_"))), *ranks]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield tmp_path
    if (run := active_run()) is not None:
        run.finish()


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store()
    yield store
    store.close()


class Sweeps:
    """Makes sweeps and lets this process, or one it starts, be the program of a run."""

    def __init__(self, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.home = home
        self.monkeypatch = monkeypatch

    def create(self, metric: str | None = "val_loss", goal: str = "minimize", **config: Any) -> str:
        described = {
            "program": "train.py",
            "method": "grid",
            "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}},
            **({"metric": {"name": metric, "goal": goal}} if metric else {}),
            **config,
        }
        return besom.sweep(described)

    def claim(self, sweep_id: str) -> tuple[Run, RunFolder]:
        agent = self.store.add_agent(sweep_id, host="here", pid=os.getpid())
        run = Scheduler(self.store, sweep_id, agent_id=agent.id).claim()
        assert isinstance(run, Run)
        folder = run_folder(run.id)
        write_run_folder(folder, run, self.store.get_sweep(sweep_id))
        return run, folder

    def enter(self, sweep_id: str) -> Run:
        """Make this process one that an agent started for the sweep's next run."""
        run, folder = self.claim(sweep_id)
        for name, value in run_environment(folder, run, self.store.url).items():
            self.monkeypatch.setenv(name, value)
        return run

    def stopping(self, **config: Any) -> str:
        """Create a sweep that stops its runs at their second report."""
        return self.create(early_terminate={"type": "threshold", "upper": -1e9, "min_iter": 2}, **config)

    def steps(self, run_id: str, metric: str = "val_loss") -> list[int]:
        """Give the steps at which a metric was logged in the latest attempt."""
        return [row.step for row in self.store.history(run_id) if metric in row.data]

    def program(self, text: str, name: str = "train.py") -> Path:
        path = self.home / name
        path.write_text(textwrap.dedent(text))
        return path


@pytest.fixture
def sweeps(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    return Sweeps(store, home, monkeypatch)


@pytest.fixture
def python(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python text or file in a process of its own, with besom to import and no warnings of others."""

    def start(
        *words: str, environment: Mapping[str, str] | None = None, timeout: float = 100
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", *words],
            env={**os.environ, "PYTHONPATH": python_path(), **(environment or {})},
            cwd=home,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    return start


def python_path() -> str:
    return os.pathsep.join([str(ROOT / "core"), str(ROOT / "integrations")])


@pytest.fixture
def trainer() -> Callable[..., Any]:
    """Makes small quiet Trainers."""

    def make(**arguments: Any) -> Any:
        quiet = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "limit_train_batches": 4,
            "limit_val_batches": 2,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
        }
        return pl.Trainer(**{**quiet, **arguments})

    return make


@pytest.fixture
def agent(python: Callable[..., Any], sweeps: Sweeps) -> Callable[..., Any]:
    """Runs an agent of a sweep to its end."""

    def run(sweep_id: str, *words: str, **arguments: Any) -> Any:
        return python("-m", "besom", "agent", sweep_id, *words, **arguments)

    return run
