"""train.py on two processes: nothing but strategy and devices differs. Both have the run's parameters."""

import lightning.pytorch as pl
from digits import Classifier, Digits

import besom
from besom_lightning import SweepCallback, SweepLogger

with besom.init(config={"lr": 1e-3, "hidden": 64, "batch_size": 64, "epochs": 4}) as run:
    pl.seed_everything(0)
    trainer = pl.Trainer(
        max_epochs=run.config.epochs,
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=SweepLogger(),
        callbacks=[SweepCallback()],
    )
    model = Classifier(lr=run.config.lr, hidden=run.config.hidden)
    trainer.fit(model, Digits(run.config.batch_size), ckpt_path=run.resume_path)
    print(f"rank {trainer.global_rank}: lr {run.config.lr}, {trainer.global_step} steps")
