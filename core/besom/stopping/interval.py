"""Interval: a run of population-based training ends when its generation does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.records import Run, Segment
from besom.stopping.base import Board, Point, Verdict
from besom.stopping.words import PLAIN, Words, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True, slots=True)
class Interval:
    """Stops a run at `end` of the resource axis, whatever others do."""

    generation: int
    end: float
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave nothing: nobody is compared here."""
        del point
        return []

    def judge(self, point: Point, board: Board) -> Verdict:
        """Look at where the run stands."""
        del board
        over = point.resource >= self.end
        said = "is over" if over else f"ends at {self.end:g}"
        return Verdict(over, f"pbt: generation {self.generation} {said} ({self.words.here(point.resource)})")


def create_interval(config: SweepConfig, run: Run) -> Interval | None:
    """Build the stopper of one run; None for a run of no generation, such as an enqueued one.

    Without a `resource` a run's own values are counted; a `resource` goes on from one generation to the next.
    """
    segment = Segment.of(run.key)
    if segment is None:
        return None
    interval = config.settings["interval"]
    generations = segment.generation + 1 if "resource" in config.settings else 1
    return Interval(segment.generation, interval * generations, words_of(config))
