"""A run that its machine takes away after its third epoch. Its second attempt goes on from there."""

import os
import signal
import sys
from pathlib import Path

import lightning.pytorch as pl

sys.path.append(str(Path(__file__).parents[1]))
from digits import Classifier, Digits

import besom
from besom_lightning import SweepCallback, SweepLogger


class Preemption(pl.Callback):
    """Sends the SIGTERM that a cluster would send, in the first attempt."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if run.attempt == 1 and trainer.current_epoch == 3:
            os.kill(os.getpid(), signal.SIGTERM)


with besom.init(config={"lr": 1e-3, "epochs": 6}) as run:
    trainer = pl.Trainer(
        max_epochs=run.config.epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=SweepLogger(),
        callbacks=[SweepCallback(), Preemption()],
    )
    print(
        f"attempt {run.attempt} begins with {run.resume_path.name if run.resume_path else 'nothing'}",
        flush=True,
    )
    trainer.fit(Classifier(lr=run.config.lr), Digits(), ckpt_path=run.resume_path)
    print(f"done after {trainer.global_step} steps in {trainer.current_epoch} epochs")
