"""Threshold: a run whose metric leaves given bounds ends, whatever others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.stopping.base import Board, Point, Verdict
from besom.stopping.words import PLAIN, Words, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True, slots=True)
class Threshold:
    """Stops a run whose metric is above `upper` or below `lower`, from `min_iter` on."""

    lower: float | None = None
    upper: float | None = None
    min_iter: float = 0
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave nothing: nobody is compared."""
        del point
        return []

    def judge(self, point: Point, board: Board) -> Verdict:
        """Hold the metric, as it was logged, against the bounds."""
        del board
        value = point.loss if self.words.goal == "minimize" else -point.loss
        what = f"threshold: {self.words.metric} {value:.6g} {self.words.here(point.resource)}"
        if point.resource < self.min_iter:
            return Verdict(stop=False, reason=f"{what} is not judged before {self.min_iter:g}")
        if self.upper is not None and value > self.upper:
            return Verdict(stop=True, reason=f"{what} is above {self.upper:g}")
        if self.lower is not None and value < self.lower:
            return Verdict(stop=True, reason=f"{what} is below {self.lower:g}")
        return Verdict(stop=False, reason=f"{what} is within its bounds")


def create_threshold(config: SweepConfig) -> Threshold:
    """Build the stopper from `early_terminate`."""
    settings = config.early_terminate or {}
    return Threshold(
        settings.get("lower"), settings.get("upper"), settings.get("min_iter", 0), words_of(config)
    )
