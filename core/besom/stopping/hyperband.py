"""Hyperband as W&B Sweeps does it: at each band, only the best `1/eta` of the runs go on.

Bands are counts of finite values of the metric, not steps or epochs. After Li et al., *Hyperband: A Novel
Bandit-Based Approach to Hyperparameter Optimization*, https://arxiv.org/abs/1603.06560; bands and thresholds
are W&B's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.stopping.base import Board, Point, Verdict

if TYPE_CHECKING:
    from besom.records import Goal
    from besom.sweepfile import SweepConfig

GO_ON = Verdict(stop=False, reason="no band is reached yet")
MAX_BAND = 2**53  # no run reports more often; keeps the bands finite for any eta


@dataclass(frozen=True, slots=True)
class Hyperband:
    """Stops a run whose loss at the last band it passed is above what the best `1/eta` of the runs had there.

    With `strict` the loss AT the band counts, else the run's best so far.
    """

    bands: tuple[int, ...]  # ascending
    eta: float
    strict: bool
    metric: str = "loss"
    goal: Goal = "minimize"

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave the loss at each band when it is reached."""
        return [(point.count, point.loss)] if point.count in self.bands else []

    def judge(self, point: Point, board: Board) -> Verdict:
        """Compare with the threshold of the last band passed, as it stands now."""
        passed = bisect_right(self.bands, point.count)
        if passed == 0:
            return GO_ON
        band = self.bands[passed - 1]
        runs = board.size(band)
        loss = board.own(band) if self.strict else point.best
        if runs == 0 or loss is None:  # the stopper came after the run had passed this band
            return GO_ON
        rank = min(int(1.0 / self.eta * runs), runs - 1)
        threshold = board.kth(band, rank)
        stop = loss > threshold
        return Verdict(stop, self._reason(stop, loss, threshold, band, runs))

    def _reason(self, stop: bool, loss: float, threshold: float, band: int, runs: int) -> str:
        sign = 1 if self.goal == "minimize" else -1
        what = f"at report {band}" if self.strict else f"(best so far, at report {band} or later)"
        side = {True: "worse than", False: "no worse than"}[stop]
        return (
            f"hyperband: {self.metric} {sign * loss:.6g} {what} is {side} the threshold"
            f" {sign * threshold:.6g} of {runs} {'run' if runs == 1 else 'runs'} (eta {self.eta:g})"
        )


def create_hyperband(config: SweepConfig) -> Hyperband:
    """Build the stopper from `early_terminate`; UsageError when its numbers leave no band."""
    settings: Mapping[str, Any] = config.early_terminate or {}
    eta = settings.get("eta", 3)
    bands = (
        max_iter_bands(settings) if "s" in settings and "max_iter" in settings else min_iter_bands(settings)
    )
    if not bands:
        raise UsageError(
            f"{config.source}: early_terminate leaves no band: max_iter ({settings.get('max_iter')}) divided"
            f" by eta ({eta}) is below 1; raise max_iter or s, or lower eta"
        )
    return Hyperband(
        bands=bands,
        eta=eta,
        strict=bool(settings.get("strict", True)),
        metric=config.metric.name if config.metric else "loss",
        goal=config.metric.goal if config.metric else "minimize",
    )


def max_iter_bands(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Give up to `s` bands from `max_iter` down: `max_iter/eta`, `max_iter/eta^2`, ... while at least 1."""
    band = settings["max_iter"]
    bands: set[int] = set()
    for _ in range(int(settings["s"])):
        band /= settings.get("eta", 3)
        if band < 1:
            break
        bands.add(int(band))
    return tuple(sorted(bands))


def min_iter_bands(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Give 100 bands from `min_iter` up: `min_iter`, `min_iter*eta`, ...; equal ones are one."""
    band = settings.get("min_iter", 1)
    bands: set[int] = set()
    for _ in range(100):
        if band > MAX_BAND:
            break
        bands.add(int(band))
        band *= settings.get("eta", 3)
    return tuple(sorted(bands))
