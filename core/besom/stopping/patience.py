"""Patience: a run that has stopped getting better ends, whatever others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.stopping.base import Board, Point, Verdict
from besom.stopping.words import PLAIN, Words, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True, slots=True)
class Patience:
    """Stops a run once the resource went on by `patience` without a loss better than all before it."""

    patience: float
    min_iter: float = 0
    min_delta: float = 0.0  # applied where `Point.improved` is made; here for the reason
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave nothing: nobody is compared."""
        del point
        return []

    def judge(self, point: Point, board: Board) -> Verdict:
        """Count from the last improvement, or from `min_iter` if that came later."""
        del board
        waited = point.resource - max(point.improved, self.min_iter)
        by = f" by more than {self.min_delta:g}" if self.min_delta else ""
        stop = waited >= self.patience
        since = self.words.here(point.improved)
        return Verdict(
            stop,
            f"patience: {self.words.metric} {self.words.value(point.loss)} {self.words.here(point.resource)};"
            f" it last got better{by} {since} (best {self.words.value(point.best)}),"
            f" and its patience of {self.patience:g} {'is over' if stop else 'lasts'}",
        )


def create_patience(config: SweepConfig) -> Patience:
    """Build the stopper from `early_terminate`."""
    settings = config.early_terminate or {}
    return Patience(
        settings["patience"], settings.get("min_iter", 0), settings.get("min_delta", 0.0), words_of(config)
    )
