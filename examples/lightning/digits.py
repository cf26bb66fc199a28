"""A small classifier of handwritten digits, and its data: what every example here trains."""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Digits(pl.LightningDataModule):
    """1,797 pictures of 8 x 8 pixels that scikit-learn brings along."""

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 16
        data = TensorDataset(pictures, torch.tensor(digits.target))
        self.train, self.val = random_split(data, [0.7, 0.3], torch.Generator().manual_seed(0))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, 512)


class Classifier(pl.LightningModule):
    """Two layers; nothing in it knows of sweeps."""

    def __init__(self, lr: float = 1e-3, hidden: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.layers = nn.Sequential(
            nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10)
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        pictures, labels = batch
        loss = nn.functional.cross_entropy(self.layers(pictures), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        pictures, labels = batch
        guesses = self.layers(pictures)
        self.log("val_loss", nn.functional.cross_entropy(guesses, labels), sync_dist=True)
        self.log("val_acc", (guesses.argmax(1) == labels).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.lr)
