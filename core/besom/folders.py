"""Where besom keeps things on disk, which store it opens by default, and what a run's process is told.

The environment of a run's process:

    BESOM_STORE BESOM_DIR BESOM_SWEEP_ID BESOM_RUN_ID BESOM_ATTEMPT BESOM_RUN_DIR BESOM_PARAMS_FILE
    BESOM_AGENT_PID BESOM_LEASE_SECONDS

A run id in the environment means "attach to this run", never "claim one".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom.records import Metric, Run, Sweep


def besom_dir() -> Path:
    """Give the folder for runs and the default store, without creating it.

    `BESOM_DIR`; else `.besom` inside `WANDB_DIR`; else the nearest `.besom` upward from the working
    directory; else `.besom` in it. A `~` at the start of either variable is the home folder.
    """
    if named := os.environ.get("BESOM_DIR"):
        return Path(named).expanduser().absolute()
    if wandb_dir := os.environ.get("WANDB_DIR"):
        return Path(wandb_dir).expanduser().absolute() / ".besom"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".besom").is_dir():
            return folder / ".besom"
    return here / ".besom"


def default_store() -> str:
    """Give the address of the store: `BESOM_STORE`, else `besom.db` in `besom_dir()`."""
    return os.environ.get("BESOM_STORE") or f"sqlite:///{escape_path(str(besom_dir() / 'besom.db'))}"


def escape_path(path: str) -> str:
    """Give `path` as it stands in a store's address, where `?` begins the options and `%` an escape."""
    return path.replace("%", "%25").replace("?", "%3F")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder and the files in it."""

    path: Path

    @property
    def home(self) -> Path:
        """The folder it was made in, `besom_dir()` unless another was named."""
        return self.path.parents[1]

    @property
    def params_file(self) -> Path:
        """The run's parameters as JSON, with their true types."""
        return self.path / "params.json"

    @property
    def run_file(self) -> Path:
        """What the run's process must know beside its parameters (`RunFile`)."""
        return self.path / "run.json"

    @property
    def output(self) -> Path:
        """What the program printed, all attempts after one another."""
        return self.path / "output.log"

    @property
    def code(self) -> Path:
        """The snapshot that `log_code` takes."""
        return self.path / "code"

    @property
    def checkpoints(self) -> Path:
        """Where a program saves what it resumes from."""
        return self.path / "checkpoints"

    @property
    def polls_stop(self) -> Path:
        """Exists once the program has asked `should_stop`: it ends by itself when told to stop."""
        return self.path / "polls-stop"

    def beside(self, run_id: str) -> RunFolder:
        """Give the folder of another run of the same home."""
        return RunFolder(self.path.parent / run_id)

    def journal(self, attempt: int) -> Path:
        """Give the journal of one attempt."""
        return self.path / f"journal.{attempt}.jsonl"


def run_folder(run_id: str, home: Path | None = None) -> RunFolder:
    """Give a run's folder inside `home` (None: `besom_dir()`), without creating it."""
    return RunFolder((home or besom_dir()) / "runs" / run_id)


@dataclass(frozen=True, slots=True)
class RunFile:
    """What `run.json` holds."""

    run_id: str
    attempt: int
    number: int
    name: str
    sweep_id: str | None = None
    project: str | None = None
    entity: str | None = None
    metric: Metric | None = None
    resumed: bool = False  # an earlier process of this same attempt was interrupted
    parent: str | None = None  # the run whose checkpoint it goes on from; its folder lies beside this one


def write_run_folder(folder: RunFolder, run: Run, sweep: Sweep | None) -> None:
    """Create the folder with `params.json` and `run.json` for the run's latest attempt."""
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    described = {
        "run_id": run.id,
        "attempt": run.attempt,
        "number": run.number,
        "name": run.name,
        "sweep_id": run.sweep_id,
        "project": sweep.project if sweep else None,
        "entity": sweep.entity if sweep else None,
        "metric": {"name": sweep.metric.name, "goal": sweep.metric.goal} if sweep and sweep.metric else None,
        "parent": run.parent,
    }
    folder.params_file.write_text(json.dumps(run.params))
    folder.run_file.write_text(json.dumps(described))


def read_run_file(folder: RunFolder) -> RunFile:
    """Give what `write_run_folder` wrote about the run."""
    described: dict[str, Any] = json.loads(folder.run_file.read_text())
    metric: Mapping[str, Any] | None = described.pop("metric")
    return RunFile(**described, metric=Metric(**metric) if metric else None)


def run_environment(
    folder: RunFolder, run: Run, store_url: str, *, lease_seconds: float = 60.0
) -> dict[str, str]:
    """Give the variables that make a process of this agent attach to the run."""
    return process_environment(
        folder, run.id, run.attempt, run.sweep_id, store_url, lease_seconds=lease_seconds
    )


def process_environment(
    folder: RunFolder,
    run_id: str,
    attempt: int,
    sweep_id: str | None,
    store_url: str,
    *,
    lease_seconds: float,
) -> dict[str, str]:
    """Give the variables that make a process that this one starts attach to an attempt at a run."""
    return {
        "BESOM_STORE": store_url,
        "BESOM_DIR": str(folder.home),
        "BESOM_SWEEP_ID": sweep_id or "",
        "BESOM_RUN_ID": run_id,
        "BESOM_ATTEMPT": str(attempt),
        "BESOM_RUN_DIR": str(folder.path),
        "BESOM_PARAMS_FILE": str(folder.params_file),
        "BESOM_AGENT_PID": str(os.getpid()),
        "BESOM_LEASE_SECONDS": f"{lease_seconds:g}",
    }
