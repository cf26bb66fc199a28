"""Starts runs by the image's own `train`, for programs that need what SageMaker's toolkit does, such as MPI.

Each run has a base folder of its own, so that several runs of a job do not see each other's parameters.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from besom.agent.process import Child, ProgramChild, child_environment, start_child
from besom.folders import RunFolder
from besom.records import Run, Sweep
from besom.sweep import sweep_config
from besom_sagemaker.inside.place import Place


@dataclass(frozen=True, slots=True)
class ToolkitChild:
    """A program below the image's `train`."""

    train: ProgramChild

    def signal(self, number: int) -> None:
        """Send a signal to the program and everything it started; nothing if they are gone.

        Not to `train` itself while it has started anything: it would die of it at once, and with it the pipe
        that the program prints into and the grace in which the program saves what it needs.
        """
        others = list(_group(self.train.process.pid))
        if number == signal.SIGKILL or not others:
            self.train.signal(number)
        for pid in others:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def reap(self) -> int:
        """Kill what is left of it, wait for its end, and give its exit code, -N for signal N."""
        return self.train.reap()


def _group(leader: int) -> Iterator[int]:
    """Give the processes of a process group but its leader."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(leader):
            with suppress(FileNotFoundError, ProcessLookupError):
                # pid (name) state parent group …; a name may have brackets and spaces in it
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[2]) == leader:
                    yield int(entry.name)


class ToolkitStarter:
    """Gives parameters as the hyperparameters that `train` passes on: one dotted flag for each leaf."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def check(self, sweep: Sweep) -> None:
        """Do nothing: only the image knows whether `train` is there."""

    def start(
        self,
        run: Run,
        sweep: Sweep,
        folder: RunFolder,
        *,
        environment: Mapping[str, str],
        on_end: Callable[[], None],
    ) -> Child:
        """Start `train` for a run; OSError where the image has none."""
        flat = sweep_config(sweep).space.flatten(run.params)
        base = self._base(run, folder, flat, Path(environment["SM_MODEL_DIR"]))
        theirs = {name: value for name, value in environment.items() if not name.startswith("SM_")}
        train = start_child(
            ["train"],
            environment=child_environment(os.environ, theirs, {"SAGEMAKER_BASE_DIR": str(base)}),
            folder=base,
            output=folder.output,
            on_end=on_end,
        )
        return ToolkitChild(train)

    def _base(self, run: Run, folder: RunFolder, flat: Mapping[str, object], model: Path) -> Path:
        """Make the folder that `train` takes for /opt/ml."""
        base = folder.path / f"toolkit.{run.attempt}"
        config = base / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (base / "output" / "data").mkdir(parents=True, exist_ok=True)
        for file in self._place.config.glob("*.json"):
            (config / file.name).write_bytes(file.read_bytes())
        given = self._place.read("hyperparameters") | {
            name: json.dumps(value) for name, value in flat.items()
        }
        (config / "hyperparameters.json").write_text(json.dumps(given))
        links = {
            base / "input" / "data": self._place.base / "input" / "data",
            base / "model": model,
            base / "checkpoints": folder.checkpoints.resolve(),
        }
        for link, target in links.items():
            if not link.is_symlink():
                link.symlink_to(target)
        return base
