"""ASHA: at each rung only the best `1/eta` of the runs go on; decided at once, waiting for nobody.

After Li et al., *A System for Massively Parallel Hyperparameter Tuning*, https://arxiv.org/abs/1810.05934,
in its stopping form: runs are stopped instead of paused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.stopping.base import Board, Point, Verdict
from besom.stopping.rungs import MAX_RUNG, geometric, last_passed, passed_now
from besom.stopping.words import PLAIN, Words, amount, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True, slots=True)
class Asha:
    """Stops a run whose loss at the last rung it passed is not among the best `1/eta` of the losses there.

    The comparison is made anew at every report, so that a run which passed among few is held against those
    that came later.
    """

    rungs: tuple[int, ...]  # ascending
    eta: float
    min_runs: int = 1
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave the loss at each rung when it is passed."""
        return [(rung, point.loss) for rung in passed_now(self.rungs, point)]

    def judge(self, point: Point, board: Board) -> Verdict:
        """Compare the mark at the last rung with those of all who have passed it by now."""
        rung = last_passed(self.rungs, point)
        loss = None if rung is None else board.own(rung)
        if rung is None or loss is None:
            return Verdict(stop=False, reason="asha: no rung is passed yet")
        runs = board.size(rung)
        where = f"asha: {self.words.metric} {self.words.value(loss)} {self.words.here(rung)}"
        if runs < self.min_runs:
            return Verdict(
                stop=False, reason=f"{where} is one of {amount(runs, 'run')}; {self.min_runs} are compared"
            )
        kept = max(1, math.ceil(runs / self.eta))
        threshold = board.kth(rung, kept - 1)
        stop = loss > threshold
        side = "not among" if stop else "among"
        best = (
            f"the best {kept} of {amount(runs, 'run')}" if kept > 1 else f"the best of {amount(runs, 'run')}"
        )
        return Verdict(
            stop, f"{where} is {side} {best} (threshold {self.words.value(threshold)}, eta {self.eta:g})"
        )


def create_asha(config: SweepConfig) -> Asha:
    """Build the stopper from `early_terminate`."""
    settings = config.early_terminate or {}
    eta = settings.get("eta", 3)
    rungs = geometric(settings["min_iter"], eta, end=settings.get("max_iter", MAX_RUNG))
    return Asha(rungs, eta, settings.get("min_runs", 1), words_of(config))
