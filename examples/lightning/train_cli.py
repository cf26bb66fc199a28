"""A LightningCLI program. It knows nothing of sweeps: sweep_cli.yaml says how its parameters reach it."""

from digits import Classifier, Digits
from lightning.pytorch.cli import LightningCLI

if __name__ == "__main__":
    LightningCLI(Classifier, Digits)
