"""A Lightning script with parameters from a sweep; alone (`python train.py`) it trains with its defaults."""

import lightning.pytorch as pl
from digits import Classifier, Digits

import besom
from besom_lightning import SweepCallback, SweepLogger

with besom.init(config={"lr": 1e-3, "hidden": 64, "batch_size": 64, "epochs": 8}) as run:
    pl.seed_everything(0)
    trainer = pl.Trainer(
        max_epochs=run.config.epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=SweepLogger(),
        callbacks=[SweepCallback()],
    )
    model = Classifier(lr=run.config.lr, hidden=run.config.hidden)
    trainer.fit(model, Digits(run.config.batch_size), ckpt_path=run.resume_path)
    print(f"val_acc {trainer.callback_metrics['val_acc']:.3f} after {trainer.global_step} steps")
