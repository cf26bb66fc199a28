"""`results.yaml` in the sweep's folder: the best run, how to run it again, and how the others ended."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from besom.jsonable import is_dict
from besom.records import Metric, Run, RunState, Sweep
from besom.summarize import summary_value
from besom_hydra.program import this_program
from besom_hydra.returned import RETURNED

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from besom.store.base import Store

log = logging.getLogger(__name__)

FILE = "results.yaml"
_GOOD = (RunState.FINISHED, RunState.STOPPED)


def best_run(store: Store, sweep: Sweep) -> tuple[Run, float] | None:
    """Give the best run that has ended well, and its value; None when there is none.

    By the sweep's metric; without one, by the lowest number that a task has returned.
    """
    metric = sweep.metric or Metric(RETURNED)
    valued = [
        (value, run)
        for run in store.list_runs(sweep.id, states=_GOOD)
        if (value := run.value if sweep.metric else summary_value(run.summary, metric)) is not None
    ]
    best: tuple[float, Run] | None = None
    for value, run in valued:
        if best is None or metric.better(value, best[0]):
            best = value, run
    return None if best is None else (best[1], best[0])


def write_results(
    store: Store,
    sweep_id: str,
    folder: Path,
    *,
    line_of: Callable[[Run], Sequence[str]],
    folder_of: Callable[[Run], Path],
    config: DictConfig,
) -> None:
    """Write the file, whole or not at all; a disk that is full or gone is a warning."""
    sweep = store.get_sweep(sweep_id)
    progress = store.progress(sweep_id)
    document: dict[str, Any] = {
        "sweep": sweep.id,
        "state": sweep.state.value,
        "method": sweep.method,
        "metric": _metric(sweep),
        "runs": {state.value: count for state, count in progress.counts.items() if count},
        "expected": sweep.expected_runs,
        "best": None,
    }
    if (best := best_run(store, sweep)) is not None:
        run, value = best
        line = list(line_of(run))
        document["best"] = {
            "run": run.id,
            "number": run.number - 1,
            "value": value,
            "folder": str(folder_of(run)),
            "overrides": line,
            "command": command_line(config, line),
        }
    try:
        _replace(folder / FILE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000))
    except OSError as error:
        log.warning("%s cannot be written: %s", folder / FILE, error)


def read_results(folder: Path) -> dict[str, Any] | None:
    """Give what the file in a folder says; None when there is none, or it is another program's."""
    try:
        found: Any = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if is_dict(found) and "sweep" in found else None


def command_line(config: DictConfig, overrides: Sequence[str]) -> str:
    """Give the shell command that runs one job of this app with these overrides."""
    program = this_program()
    if program is None:
        words = ["python", f"{config.hydra.job.name}.py"]
    elif program.module is None:
        words = ["python", _shown(program.file)]
    else:
        words = ["python", *program.words]
    if (name := config.hydra.job.config_name) is not None and "--config-name" in " ".join(sys.argv):
        words += ["--config-name", str(name)]
    return shlex.join([*words, *overrides])


def _shown(path: Path) -> str:
    relative = os.path.relpath(path.absolute())
    return str(path) if relative.startswith("..") else relative


def _metric(sweep: Sweep) -> dict[str, str] | None:
    return None if sweep.metric is None else {"name": sweep.metric.name, "goal": sweep.metric.goal}


def _replace(path: Path, text: str) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".results")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
