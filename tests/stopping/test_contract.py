from __future__ import annotations

from besom.stopping import Stopper
from besom.stopping.asha import Asha
from besom.stopping.median import Median
from besom.stopping.patience import Patience
from besom.stopping.threshold import Threshold
from besom.stopping.wilcoxon import Wilcoxon
from besom.testing.stoppers import ComparingStopperContract, StopperContract


class TestAsha(ComparingStopperContract):
    def stopper(self) -> Stopper:
        return Asha((1, 3, 9, 27), eta=3)


class TestAshaWithManyRungs(ComparingStopperContract):
    def stopper(self) -> Stopper:
        return Asha((2, 3, 4, 6, 9, 14, 21, 31), eta=1.5, min_runs=2)


class TestMedian(ComparingStopperContract):
    def stopper(self) -> Stopper:
        return Median(min_runs=1)


class TestMedianAtIntervals(ComparingStopperContract):
    def stopper(self) -> Stopper:
        return Median(min_iter=3, min_runs=3, interval=4)


class TestWilcoxon(ComparingStopperContract):
    def stopper(self) -> Stopper:
        return Wilcoxon(p=0.2)


class TestPatience(StopperContract):
    def stopper(self) -> Stopper:
        return Patience(3)


class TestThreshold(StopperContract):
    def stopper(self) -> Stopper:
        return Threshold(upper=1e6)  # the highest loss of the contract: the leader stays below
