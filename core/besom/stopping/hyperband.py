"""Hyperband as W&B Sweeps does it: at each band, only the best `1/eta` of the runs go on.

Bands are counts of finite values of the metric, as W&B's are, unless `resource` names a key. After Li et al.,
*Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization*, https://arxiv.org/abs/1603.06560;
bands and thresholds are W&B's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.stopping.base import Board, Point, Verdict
from besom.stopping.rungs import geometric, last_passed, passed_now
from besom.stopping.words import amount, place

if TYPE_CHECKING:
    from besom.records import Goal
    from besom.sweepfile import SweepConfig

GO_ON = Verdict(stop=False, reason="no band is reached yet")


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
    resource: str | None = None

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave the loss at each band when it is reached."""
        return [(band, point.loss) for band in passed_now(self.bands, point)]

    def judge(self, point: Point, board: Board) -> Verdict:
        """Compare with the threshold of the last band passed, as it stands now."""
        band = last_passed(self.bands, point)
        if band is None:
            return GO_ON
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
        where = place(band, self.resource)
        what = where if self.strict else f"(best so far, {where} or later)"
        side = {True: "worse than", False: "no worse than"}[stop]
        return (
            f"hyperband: {self.metric} {sign * loss:.6g} {what} is {side} the threshold"
            f" {sign * threshold:.6g} of {amount(runs, 'run')} (eta {self.eta:g})"
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
        resource=settings.get("resource"),
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
    return geometric(settings.get("min_iter", 1), settings.get("eta", 3))
