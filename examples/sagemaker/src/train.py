"""Trains a small net with Lightning; saves a checkpoint each epoch, and goes on from it when interrupted."""

import argparse
import logging

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import besom

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Net(pl.LightningModule):
    def __init__(self, hidden, lr):
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.mse_loss(self.layers(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.layers(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Report(pl.Callback):
    """Logs each epoch to besom, saves it, and stops where besom says so."""

    def __init__(self, run):
        self.run = run

    def on_train_epoch_end(self, trainer, module):
        path = self.run.dir / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path)
        self.run.save_checkpoint(path)
        self.run.log({"val_loss": float(trainer.callback_metrics["val_loss"])}, step=trainer.current_epoch)
        if self.run.should_stop:
            trainer.should_stop = True


def data(seed, rows):
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, :1] * x[:, 1:2] + x[:, 2:3]).sin())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    chosen, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    with besom.init(config=vars(chosen)) as run:
        trainer = pl.Trainer(
            max_epochs=chosen.epochs,
            callbacks=[Report(run)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        loaders = (DataLoader(data(seed, rows), batch_size=32) for seed, rows in ((1, 256), (2, 128)))
        trainer.fit(Net(chosen.hidden, chosen.lr), *loaders, ckpt_path=run.resume_path)


if __name__ == "__main__":
    main()
