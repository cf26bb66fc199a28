"""What SweepLogger does, whichever import root its base class comes from."""

from __future__ import annotations

import logging
import math
import sys
import weakref
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import besom
from besom.jsonable import jsonable
from besom.run import LiveRun
from besom_lightning.checkpoints import last_saved
from besom_lightning.joining import find_run, keeps
from besom_lightning.reports import Axis
from besom_lightning.roots import ROOTS, loaded_roots
from besom_lightning.traveling import Traveler

logger = logging.getLogger(__name__)

_SAME = 1e-6  # relative; what a parameter may lose on its way through a float of 32 bits


class SweepLogging(Traveler):
    """Logs to the run that this process belongs to, or to a new one outside every sweep.

    `save_dir` is where other callbacks put their files, by default the run's folder; `prefix` and a hyphen
    go before the name of each metric.
    """

    _LOCAL = frozenset({"_run", "_keeps", "_follows", "_dummy"})

    def __init__(self, save_dir: str | Path | None = None, prefix: str = "") -> None:
        self._save_dir = save_dir
        self._prefix = prefix
        self._clear()

    def _clear(self) -> None:
        self._run: LiveRun | None = None
        self._keeps = False
        self._follows: tuple[weakref.ref[Any], Axis] | None = None
        self._handed: dict[str, str] = {}
        self._dummy: Any = None

    # ---- whose metrics these are

    @property
    def experiment(self) -> Any:
        """The run, `besom.run.LiveRun`; on ranks above 0 a dummy that takes every call."""
        run = self._joined()
        if self._keeps:
            return run
        if self._dummy is None:
            self._dummy = _dummy_experiment()
        return self._dummy

    def _joined(self) -> LiveRun:
        run = self._run
        if run is None or run.ended:
            run = self._run = find_run(self._handed) or besom.init()
            self._keeps = keeps(run)
        return run

    def follow(self, trainer: Any, axis: Axis) -> None:
        """Log at the trainer's `global_step`, and nothing that the callback with this axis has reported."""
        self._follows = (weakref.ref(trainer), axis)

    @property
    def name(self) -> str:
        """The sweep's id; "besom" outside sweeps."""
        run = self._run or find_run(self._handed)
        return (run and run.sweep_id) or "besom"

    @property
    def version(self) -> str | None:
        """The run's id; None before there is a run."""
        run = self._run or find_run(self._handed)
        return run.id if run is not None else None

    @property
    def save_dir(self) -> str | None:
        """Where other callbacks put their files."""
        if self._save_dir is not None:
            return str(self._save_dir)
        run = self._run or find_run(self._handed)
        return str(run.dir) if run is not None else None

    @property
    def root_dir(self) -> str | None:
        """The same as `save_dir`."""
        return self.save_dir

    @property
    def log_dir(self) -> str | None:
        """The same as `save_dir`: a run's folder is its own."""
        return self.save_dir

    # ---- what is logged

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics at a step of the Trainer."""
        run = self._run
        if run is None or run.ended:
            run = self._joined()
        if not self._keeps:
            return
        if self._prefix:
            metrics = {f"{self._prefix}-{name}": value for name, value in metrics.items()}
        follows = self._follows
        trainer = follows[0]() if follows is not None and follows[1].run is run else None
        if follows is not None and trainer is not None:
            new = follows[1].new(trainer.global_step, metrics)
            if new is not None:
                run.log_later(*new)
        elif step is None:
            run.log(metrics)
        else:
            run.log_later(dict(metrics), step=max(step, run.floor))

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None, *_: Any, **__: Any) -> None:
        """Add hyperparameters to the run's config; those of the sweep stay.

        One that differs from what the sweep has set is kept under `hparams`, with one warning for all.
        """
        run = self._joined()
        if not self._keeps or params is None:
            return
        given = vars(params) if isinstance(params, Namespace) else dict(params)
        chosen = _leaves(run.params)
        other = {
            name: value
            for name, value in _leaves(given).items()
            if name in chosen and not _close(chosen[name], value)
        }
        free = {name: value for name, value in _leaves(given).items() if name not in chosen}
        if other:
            logger.warning(
                "the program's hyperparameters are not those of the sweep: %s; they are kept in the run's "
                "config under 'hparams'",
                ", ".join(f"{name} is {value!r}, not {chosen[name]!r}" for name, value in other.items()),
            )
            free["hparams"] = other
        run.config.update(free, allow_val_change=True)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Do nothing: a run keeps no graph."""

    def save(self) -> None:
        """Do nothing: what was logged is written within a second, and before the program ends."""

    def finalize(self, status: str) -> None:
        """Do nothing: the run goes on until the program ends it, and a Trainer may be used again."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Note the checkpoint as what the run's next attempt goes on from."""
        run = self._joined()
        path = last_saved(checkpoint_callback)
        if self._keeps and path is not None:
            run.save_checkpoint(path)


def _dummy_experiment() -> Any:
    import importlib

    root = loaded_roots()[0]
    fabric = "lightning.fabric" if root == ROOTS[0] else "lightning_fabric"
    module: Any = sys.modules.get(f"{fabric}.loggers.logger") or importlib.import_module(
        f"{fabric}.loggers.logger"
    )
    return module._DummyExperiment()  # noqa: SLF001 - what every logger of Lightning gives there


def _leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _close(chosen: Any, given: Any) -> bool:
    """Say whether two values are the same parameter, a float of 32 bits and a tuple for a list included."""
    numbers = (int, float)
    if isinstance(chosen, numbers) and isinstance(given, numbers):
        return math.isclose(chosen, given, rel_tol=_SAME)
    return bool(jsonable(given) == chosen)
