# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""Checkpoints, preemption, and going on: in the same run, or from another run's checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import besom

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")
torch = pytest.importorskip("torch")


from besom_lightning import SweepCallback, SweepLogger  # noqa: E402

BoringModel: Any = boring.BoringModel
ModelCheckpoint: Any = pl.callbacks.ModelCheckpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Model(BoringModel):  # type: ignore[misc]
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.step(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


@pytest.mark.parametrize("with_logger", [False, True])
def test_checkpoints_go_to_the_runs_folder_and_are_noted(
    sweeps: Any, trainer: Callable[..., Any], with_logger: bool
) -> None:
    sweeps.enter(sweeps.create())
    with besom.init() as live:
        logger = SweepLogger() if with_logger else False
        made = trainer(callbacks=[SweepCallback()], enable_checkpointing=True, logger=logger)
        made.fit(Model())
        noted = Path((live.dir / "checkpoint").read_text())
    assert made.default_root_dir == str(live.dir)
    assert noted.name == "epoch=1-step=8.ckpt"
    assert noted.parent == live.dir / "checkpoints"


def test_a_folder_that_runs_would_share_is_warned_of(
    sweeps: Any, trainer: Callable[..., Any], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweeps.enter(sweeps.create())
    with besom.init() as live:
        for place in (home / "shared", home / "shared" / live.id):
            caplog.clear()
            trainer(callbacks=[SweepCallback(), ModelCheckpoint(place)], enable_checkpointing=True).fit(
                Model()
            )
            told = [record for record in caplog.records if record.levelno == logging.WARNING]
            assert len([record for record in told if "saves its checkpoints in" in record.message]) == (
                place.name == "shared"
            )


def test_the_state_in_a_checkpoint_is_of_plain_types(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init() as live:
        trainer(callbacks=[SweepCallback()], enable_checkpointing=True, max_epochs=1).fit(Model())
        [path] = (live.dir / "checkpoints").iterdir()
    loaded = torch.load(path, weights_only=True)
    assert loaded["callbacks"]["SweepCallback"] == {"run_id": run.id}


def test_another_runs_checkpoint_is_gone_on_from_with_ones_own_parameters(
    sweeps: Any, trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = sweeps.create()
    sweeps.enter(sweep_id)
    with besom.init() as first:
        trainer(callbacks=[SweepCallback()], enable_checkpointing=True).fit(Model(first.config.lr))
        [path] = (first.dir / "checkpoints").iterdir()
    run = sweeps.enter(sweep_id)
    with besom.init() as second:
        made, model = trainer(callbacks=[SweepCallback()], max_epochs=3), Model(second.config.lr)
        made.fit(model, ckpt_path=path, weights_only=False)
        assert second.config.lr == 0.2
    # Three epochs of a schedule that halves, from the second run's rate and not from the first's.
    assert made.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.2 * 0.5**3)
    assert sweeps.steps(run.id) == [12]


PROGRAM = """
    import os, signal
    import torch
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel
    from besom_lightning import SweepCallback
    import besom

    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == 5 and besom.run.attempt == 1 and self.global_rank == 0:
                SEND
            with open("steps", "a") as file:
                file.write(f"{besom.run.attempt}.{self.trainer.global_step} ")
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.step(batch))

    torch.set_num_threads(1)
    INIT
    trainer = pl.Trainer(max_epochs=2, limit_train_batches=4, limit_val_batches=1, accelerator="cpu",
                         logger=False, enable_progress_bar=False, enable_model_summary=False,
                         callbacks=[SweepCallback()], num_sanity_val_steps=0)
    trainer.fit(Model(), ckpt_path=run.resume_path, weights_only=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("init", ["run = besom.init()", "run = besom.init().__enter__()"])
def test_a_preempted_run_goes_on_at_its_step(
    sweeps: Any, agent: Callable[..., Any], number: str, init: str
) -> None:
    send = f"os.kill(os.getpid(), signal.{number})"
    sweeps.program(PROGRAM.replace("SEND", send).replace("INIT", init))
    sweep_id = sweeps.create(parameters={"lr": {"values": [0.1]}})
    done = agent(sweep_id, "-v", environment={"SLURM_JOB_ID": "17"})
    [run] = sweeps.store.list_runs(sweep_id)
    told = done.stdout + done.stderr
    assert run.state.value == "finished", told
    assert [attempt.state.value for attempt in sweeps.store.attempts(run.id)] == ["preempted", "finished"], (
        told
    )
    steps = (sweeps.home / "steps").read_text().split()
    assert steps == ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "2.6", "2.7"], told
