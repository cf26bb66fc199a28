# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnusedImport=false

"""Optuna's pruning callback for Lightning, with SweepCallback doing its work.

Each trial has a run of besom's. Its sweep stops runs at the first report if the study's pruner prunes at
all; what the run has reported, and whether it was stopped, is told to the trial after the fit.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import lightning.pytorch  # noqa: F401  # pyright: ignore[reportUnusedImport] - SweepCallback's root
import optuna

import besom
from besom.folders import run_environment, run_folder, write_run_folder
from besom.records import Run
from besom.scheduler import Scheduler
from besom.store import open_store
from besom_lightning import SweepCallback

Base: Any = SweepCallback


class PyTorchLightningPruningCallback(Base):  # type: ignore[misc]
    """Prunes a trial by what its run is told; `check_pruned` is to be called after a fit of several ranks."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        super().__init__(monitor)
        self._trial: optuna.Trial | None = trial
        prunes = trial.study.pruner.prune(trial.study, optuna.trial.create_trial(value=0.0))
        begin_run(monitor, prunes=prunes)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_trial": None}  # the trial stays in the main process

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_validation_end(trainer, pl_module)
        if self.monitor not in trainer.callback_metrics:
            warnings.warn(f"the metric {self.monitor!r} was not logged", UserWarning, stacklevel=2)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_fit_end(trainer, pl_module)
        if trainer.world_size == 1:
            self.check_pruned()

    def check_pruned(self) -> None:
        """Tell the trial what its run has reported; TrialPruned if the run was stopped."""
        assert self._trial is not None
        run, stopped = besom.init(), self.stopped
        run.finish()
        store = open_store()
        for row in store.history(run.id):
            if self.monitor in row.data:
                self._trial.report(row.data[self.monitor], row.data["epoch"])
        store.close()
        if stopped:
            raise optuna.TrialPruned


def begin_run(metric: str, *, prunes: bool) -> None:
    """Make this process the program of a run, in a sweep of its own."""
    early = {"early_terminate": {"type": "threshold", "upper": -1e9, "min_iter": 1}} if prunes else {}
    sweep_id = besom.sweep(
        {"method": "grid", "metric": {"name": metric}, "parameters": {"x": {"value": 1}}, **early}
    )
    store = open_store()
    agent = store.add_agent(sweep_id, host="here", pid=os.getpid())
    run = Scheduler(store, sweep_id, agent_id=agent.id).claim()
    assert isinstance(run, Run)
    folder = run_folder(run.id)
    write_run_folder(folder, run, store.get_sweep(sweep_id))
    os.environ.update(run_environment(folder, run, store.url))
    store.close()
