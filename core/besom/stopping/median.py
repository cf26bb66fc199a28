"""The median stopping rule: a run goes on while its best is no worse than the median of the others.

After Golovin et al., *Google Vizier: A Service for Black-Box Optimization*, section 3.2.2,
https://research.google/pubs/google-vizier-a-service-for-black-box-optimization/, with two changes. Vizier
compares with running means, which the first values of a falling curve keep high for long: here bests are
compared with bests. And where Vizier keeps every value of every run, each run leaves its best at few rungs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.stopping.base import Board, Point, Verdict
from besom.stopping.words import PLAIN, Words, amount, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

DENSITY = 8  # rungs while the resource doubles, about: a run is judged at most an eighth late
MOST_AT_ONCE = 64  # rungs marked at one report, however far the resource leaps


@dataclass(frozen=True, slots=True)
class Median:
    """Stops a run whose best loss is above the median of the best losses that others had at this rung.

    Rungs are `interval` apart from `min_iter` on; without an interval every eighth part further than the
    last, so that a run of 10 000 reports leaves 90 marks.
    """

    min_iter: int = 1
    min_runs: int = 5  # others at a rung, before it stops anybody
    interval: int | None = None
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave the best loss so far at each rung when it is passed."""
        marks: list[tuple[int, float]] = []
        rung = self._rung_at(point.resource)
        while rung is not None and rung > point.since and len(marks) < MOST_AT_ONCE:
            marks.append((rung, point.best))
            rung = self._rung_at(rung - 1)
        return marks

    def judge(self, point: Point, board: Board) -> Verdict:
        """Compare at the last rung passed; a run is only judged when it passes one."""
        rung = self._rung_at(point.resource)
        own = None if rung is None else board.own(rung)
        if rung is None or own is None or not point.passes(rung):
            return Verdict(stop=False, reason="median: between two rungs")
        others = board.size(rung) - 1
        where = f"median: best {self.words.metric} {self.words.value(point.best)} {self.words.here(rung)}"
        if others < self.min_runs:
            return Verdict(
                stop=False,
                reason=f"{where} has {amount(others, 'other run')} beside it; {self.min_runs} are compared",
            )
        low, high = (others - 1) // 2, others // 2
        median = (_kth_other(board, rung, low, own) + _kth_other(board, rung, high, own)) / 2
        stop = point.best > median
        side = "worse" if stop else "no worse"
        return Verdict(
            stop,
            f"{where} is {side} than the median {self.words.value(median)} of the bests of"
            f" {amount(others, 'other run')}",
        )

    def _rung_at(self, resource: float) -> int | None:
        """Give the last rung at or before a place on the axis."""
        if resource < self.min_iter:
            return None
        if self.interval is not None:
            return self.min_iter + int((resource - self.min_iter) // self.interval) * self.interval
        whole = int(resource)
        spacing = 1 << max(0, whole.bit_length() - DENSITY.bit_length())
        return max(self.min_iter, whole // spacing * spacing)


def _kth_other(board: Board, rung: int, k: int, own: float) -> float:
    """Give the `k`-th lowest loss at a rung, the run's own left out."""
    loss = board.kth(rung, k)
    return loss if loss < own else board.kth(rung, k + 1)


def create_median(config: SweepConfig) -> Median:
    """Build the stopper from `early_terminate`."""
    settings = config.early_terminate or {}
    return Median(
        settings.get("min_iter", 1), settings.get("min_runs", 5), settings.get("interval"), words_of(config)
    )
