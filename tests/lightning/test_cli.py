"""SweepCLI in and outside of sweeps, with real agents and real LightningCLI programs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentOptions, run_agent
from besom.records import Run, RunState
from besom.store import Store, open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping

pytest.importorskip("lightning.pytorch")

from lightning.pytorch.cli import LightningCLI

pytestmark = pytest.mark.slow


class Own(LightningCLI):
    """Somebody's own command line."""


PROGRAM = """
import json, os, sys
import {root} as pl
from {root}.demos.boring_classes import BoringModel
from besom_lightning import SweepCLI as LightningCLI

class Model(BoringModel):
    def __init__(self, lr: float = 0.5, width: int = 1, word: str = ""):
        super().__init__()
        self.save_hyperparameters()
        print("built", json.dumps([lr, width, word]), flush=True)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

class Leave(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        print("epoch", trainer.current_epoch, "step", trainer.global_step, flush=True)
        if os.environ.get("BESOM_ATTEMPT") == "1" and trainer.current_epoch == 2 and "leave" in sys.argv[0]:
            os.kill(os.getpid(), 15)

class CLI(LightningCLI):
    def after_fit(self):
        trainer = self.trainer
        print("loggers", [type(each).__name__ for each in trainer.loggers])
        print("callbacks", [type(each).__name__ for each in trainer.callbacks].count("SweepCallback"))
        print("root", trainer.default_root_dir)

if __name__ == "__main__":
    CLI(Model, trainer_defaults=dict(max_epochs=4, limit_train_batches=2, limit_val_batches=1,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, callbacks=Leave()))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    for name in ("train.py", "leave.py"):
        (tmp_path / name).write_text(PROGRAM.format(root="lightning.pytorch"))
    return tmp_path


@pytest.fixture
def swept(folder: Path) -> Callable[..., tuple[Run, str]]:
    """Run a sweep of one run with these words and parameters; gives the run and what it printed."""

    def run(words: list[str], parameters: dict[str, Any], program: str = "train.py") -> tuple[Run, str]:
        store: Store = open_store()
        made = from_mapping(
            {
                "program": program,
                "command": ["${interpreter}", "${program}", "fit", *words],
                "method": "grid",
                "metric": {"name": "val_loss"},
                "parameters": {name: {"value": value} for name, value in parameters.items()},
            }
        )
        sweep = create_sweep(store, made)
        run_agent(store, sweep.id, AgentOptions())
        [ended] = store.list_runs(sweep.id)
        store.close()
        return ended, (folder / ".besom" / "runs" / ended.id / "output.log").read_text()

    return run


Swept = Callable[..., tuple[Run, str]]


def test_the_sweeps_parameters_win_over_files_and_command_line(swept: Swept, folder: Path) -> None:
    (folder / "base.yaml").write_text("model: {lr: 0.25, width: 2, word: base}\n")
    words = ["--config", "base.yaml", "--model.lr=0.125"]
    run, printed = swept(words, {"model.lr": 1e-05})
    assert run.state is RunState.FINISHED
    assert 'built [1e-05, 2, "base"]' in printed
    assert "--model.lr on the command line is ignored: the sweep has set model.lr" in printed
    assert run.value is not None


def test_callback_logger_and_root_folder_are_added(swept: Swept, folder: Path) -> None:
    run, printed = swept([], {"model.width": 3})
    assert "loggers ['SweepLogger']" in printed
    assert "callbacks 1" in printed
    assert f"root {folder / '.besom' / 'runs' / run.id}" in printed
    assert not (folder / "lightning_logs").exists()


def test_what_the_user_has_chosen_stays(swept: Swept, folder: Path) -> None:
    words = [
        "--trainer.callbacks+=besom_lightning.SweepCallback",
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        "--trainer.logger.save_dir=logs",
        "--trainer.default_root_dir=elsewhere",
    ]
    run, printed = swept(words, {"model.width": 3})
    assert run.state is RunState.FINISHED
    assert "loggers ['CSVLogger', 'SweepLogger']" in printed
    assert "callbacks 1" in printed
    assert (folder / "logs").exists()


def test_a_run_goes_on_from_its_checkpoint_with_the_sweeps_values(swept: Swept) -> None:
    run, printed = swept([], {"model.lr": 0.125, "model.word": "1e-5"}, program="leave.py")
    assert (run.state, run.attempt) == (RunState.FINISHED, 2)
    assert printed.count('built [0.125, 1, "1e-5"]') == 2
    epochs = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert epochs[:3] == ["epoch 0 step 0", "epoch 1 step 2", "epoch 2 step 4"]
    assert epochs[-1] == "epoch 3 step 6"
    assert "epoch 0 step 0" not in epochs[3:]


def test_hyperparameters_in_a_checkpoint_do_not_win(swept: Swept, folder: Path) -> None:
    made = subprocess.run(
        [sys.executable, "train.py", "fit", "--model.lr=0.75", "--model.width=7", "--trainer.logger=false"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    [checkpoint] = folder.rglob("*.ckpt")
    words = [f"--ckpt_path={checkpoint}", "--trainer.max_epochs=6"]
    run, printed = swept(words, {"model.lr": 1e-05})
    assert run.state is RunState.FINISHED, printed
    assert 'built [1e-05, 7, ""]' in printed  # the width is the checkpoint's, as LightningCLI has it


def test_outside_a_sweep_it_is_a_plain_lightning_cli(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "train.py", "fit", "--model.lr=0.75"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "built [0.75" in done.stdout
    assert "loggers ['CSVLogger']" in done.stdout
    assert "callbacks 0" in done.stdout
    assert not (folder / ".besom").exists()


def test_the_other_import_root_has_its_own_class(swept: Swept, folder: Path) -> None:
    (folder / "train.py").write_text(
        PROGRAM.format(root="pytorch_lightning") + "    assert 'lightning' not in sys.modules\n"
    )
    run, printed = swept([], {"model.width": 3})
    assert run.state is RunState.FINISHED, printed
    assert "loggers ['SweepLogger']" in printed


def test_a_wrong_parameter_fails_the_run_with_the_parsers_words(swept: Swept) -> None:
    run, printed = swept([], {"model.with": 3})
    assert run.state is RunState.FAILED
    assert "does not accept option" in printed


def test_a_function_of_an_agent_may_build_one(folder: Path) -> None:
    (folder / "whole.py").write_text(
        "import sys\nsys.argv = ['train.py']\nimport train, besom\n"
        "sweep = besom.sweep({'method': 'grid', 'metric': {'name': 'val_loss'},\n"
        "    'parameters': {'model': {'parameters': {'width': {'values': [3, 4]}}}}})\n"
        "besom.agent(sweep, lambda: train.CLI(train.Model, args=['fit', '--trainer.max_epochs=1']))\n"
        "print([run.state for run in besom.Api().sweep(sweep).runs])\n"
    )
    done = subprocess.run(
        [sys.executable, "whole.py"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "built [0.5, 3" in done.stdout
    assert "built [0.5, 4" in done.stdout
    assert "['finished', 'finished']" in done.stdout


def test_one_made_of_any_class_travels_to_a_spawned_process() -> None:
    from besom_lightning.cli import sweep_cli

    for base in (LightningCLI, Own):
        kind = sweep_cli(base)
        sent: Any = object.__new__(kind)
        sent.subcommand = "fit"
        arrived = pickle.loads(pickle.dumps(sent))
        assert type(arrived) is kind
        assert arrived.subcommand == "fit"
    assert sweep_cli(Own) is not sweep_cli()
