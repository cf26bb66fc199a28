"""What a Trainer pays for SweepLogger and SweepCallback, and a validation for its report and the decision.

Fits of Lightning's BoringModel that log at every step, in one process and one thread, the loggers by turns; a
round's time is divided by that of the same round without a logger. What is measured is the CPU time of the
process, so besom's own thread counts. WandbLogger (offline) takes part where wandb is installed; what its
helper process does is not counted. Optuna's median pruner decides over as many trials, on SQLite too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.harness import Figure, main

PROGRAM = """
import json, logging, statistics, sys, time, warnings
warnings.simplefilter("ignore")
import torch
import lightning.pytorch as pl
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers import CSVLogger, Logger
from torch.utils.data import DataLoader
import besom
from besom_lightning import SweepCallback, SweepLogger

torch.set_num_threads(1)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
ROUNDS, EPOCHS, STEPS, REPORTS = json.loads(sys.argv[1])
OTHERS = 10  # ended runs, or trials, that a decision looks back on


class Model(BoringModel):
    def training_step(self, batch, index):
        loss = self.step(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.step(batch))

    def train_dataloader(self):
        return DataLoader(RandomDataset(32, STEPS))

    def val_dataloader(self):
        return DataLoader(RandomDataset(32, 2))


class Empty(Logger):
    name = version = "empty"

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, *_, **__):
        pass


def fit(logger, callbacks=()):
    trainer = pl.Trainer(max_epochs=EPOCHS, logger=logger, callbacks=[*callbacks], log_every_n_steps=1,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    model = Model()
    began = time.process_time()
    trainer.fit(model)
    used = time.process_time() - began
    assert trainer.global_step == EPOCHS * STEPS, "it was stopped"
    return used / trainer.global_step


CASES = {
    "none": lambda: fit(False),
    "empty": lambda: fit(Empty(), [pl.Callback()]),
    "besom": lambda: fit(SweepLogger(), [SweepCallback()]),
    "csv": lambda: fit(CSVLogger("csv")),
}
try:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    def with_wandb():
        logger = WandbLogger(offline=True, project="bench", save_dir="wandb-runs")
        logger.experiment
        used = fit(logger)
        wandb.finish()
        return used

    CASES["wandb"] = with_wandb
except ImportError:
    pass


def rounds():
    for case in CASES.values():
        case()
    taken = {name: [] for name in CASES}
    for number in range(ROUNDS):
        names = list(CASES) if number % 2 == 0 else list(CASES)[::-1]
        for name in names:
            taken[name].append(CASES[name]())
    return taken


def per_call(report, count):
    for at in range(20):
        report(at)
    taken = []
    for at in range(20, 20 + count):
        began = time.process_time_ns()
        report(at)
        taken.append((time.process_time_ns() - began) / 1e6)
    return statistics.median(taken)


found = {}


def others(run):
    for at in range(REPORTS + 20):
        run.log({"loss": 1.0}, step=at)


def ours():
    run = besom.init()
    if run.config.number < OTHERS:
        others(run)
    else:
        assert run.ask_stop() is None
        found["report"] = per_call(lambda at: run.ask_stop({"loss": 0.5, "epoch": at}, step=at), REPORTS)


def optunas():
    import optuna

    optuna.logging.disable_default_handler()
    study = optuna.create_study(storage="sqlite:///optuna.db",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    for _ in range(OTHERS):
        trial = study.ask()
        for at in range(REPORTS + 20):
            trial.report(1.0, at)
        study.tell(trial, 1.0)
    trial = study.ask()

    def report(at):
        trial.report(0.5, at)
        assert not trial.should_prune()

    return per_call(report, REPORTS)


def fits():
    besom.init()
    found["fits"] = rounds()


fitting = besom.sweep({"method": "grid", "metric": {"name": "val_loss"}, "parameters": {"x": {"value": 1}}})
besom.agent(fitting, fits)
deciding = besom.sweep({"method": "grid", "metric": {"name": "loss"},
    "early_terminate": {"type": "median", "min_iter": 1},
    "parameters": {"number": {"values": list(range(OTHERS + 1))}}})
besom.agent(deciding, ours)
try:
    found["optuna"] = optunas()
except ImportError:
    found["optuna"] = None
print(json.dumps(found))
"""


def measure(quick: bool) -> list[Figure]:
    """Time fits with and without loggers by turns, then reports with their decisions."""
    sizes = [3, 2, 300, 40] if quick else [7, 4, 500, 100]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(sizes)],
            cwd=folder,
            env={
                **os.environ,
                "BESOM_DIR": f"{folder}/.besom",
                "OMP_NUM_THREADS": "1",
                "WANDB_SILENT": "true",
            },
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    fits: dict[str, list[float]] = found["fits"]
    note = f"{sizes[0]} rounds of {sizes[1]} x {sizes[2]} steps, CPU"
    none = statistics.median(fits["none"])
    figures = [
        Figure("a step without logger", none * 1e6, "µs", None, "lower", note),
        Figure("SweepLogger and SweepCallback", _ratio(fits, "besom"), "times", 1.03, "lower"),
        Figure(
            "a logger and a callback that do nothing",
            _ratio(fits, "empty"),
            "times",
            None,
            "lower",
            "Lightning's own share",
        ),
        Figure("CSVLogger", _ratio(fits, "csv"), "times", None, "lower"),
    ]
    if "wandb" in fits:
        figures.append(Figure("WandbLogger, offline", _ratio(fits, "wandb"), "times", None, "lower"))
    figures.append(
        Figure(
            "report and decision", found["report"], "ms", 0.2, "lower", "median of 10 ended runs, SQLite, CPU"
        )
    )
    if found["optuna"] is not None:
        figures.append(Figure("the same in Optuna", found["optuna"], "ms", None, "lower", "10 ended trials"))
    return figures


def _ratio(fits: dict[str, list[float]], case: str) -> float:
    return statistics.median([taken / none for taken, none in zip(fits[case], fits["none"], strict=True)])


if __name__ == "__main__":
    if importlib.util.find_spec("lightning") is None:
        sys.exit("benchmarks.lightning needs Lightning: pip install -e '.[test]'")
    main("lightning", measure)
