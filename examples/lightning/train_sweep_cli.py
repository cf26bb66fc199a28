"""The same with SweepCLI in LightningCLI's place, which also logs to the sweep, and resumes."""

from digits import Classifier, Digits

from besom_lightning import SweepCLI as LightningCLI

if __name__ == "__main__":
    LightningCLI(Classifier, Digits)
