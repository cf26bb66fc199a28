"""Wilcoxon: a run ends once it is significantly worse than the best one on the same folds.

For runs that log one value for each fold, instance or seed: what is compared must not be a learning curve,
whose values depend on each other. The test is the one-sided signed-rank test (Wilcoxon, *Individual
Comparisons by Ranking Methods*, 1945), with Pratt's treatment of equal values: ranked, then left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.stopping.base import Board, Point, Verdict
from besom.stopping.words import PLAIN, Words, amount, words_of

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

EXACT = 50  # pairs up to which the null distribution is counted out


@dataclass(frozen=True, slots=True)
class Wilcoxon:
    """Stops a run that the test tells to be worse than the best run with an error probability below `p`."""

    p: float = 0.1
    min_iter: int = 2  # pairs before the test says anything
    words: Words = PLAIN

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Leave every value, at its whole place on the axis."""
        whole = point.resource == int(point.resource)
        return [(int(point.resource), point.loss)] if whole else []

    def judge(self, point: Point, board: Board) -> Verdict:
        """Test against the best run's values at the places both have reached."""
        del point
        pairs = [(own, loss) for rung, loss in board.leader().items() if (own := board.own(rung)) is not None]
        differences = [own - loss for own, loss in pairs]
        count = len(pairs)
        if count < self.min_iter or math.fsum(differences) <= 0:
            return Verdict(
                stop=False,
                reason=f"wilcoxon: {self.words.metric} is not worse than the best run's on"
                f" {amount(count, 'common value')}",
            )
        p = p_worse(differences)
        own, other = (math.fsum(side) / count for side in zip(*pairs, strict=True))
        stop = p < self.p
        return Verdict(
            stop,
            f"wilcoxon: {self.words.metric} {self.words.value(own)} on average over {amount(count, 'value')}"
            f" is {'' if stop else 'not '}significantly worse than the best run's {self.words.value(other)}"
            f" (p {p:.2g}, limit {self.p:g})",
        )


def p_worse(differences: Sequence[float]) -> float:
    """Give the probability of a rank sum this high if the differences were as often negative as positive."""
    ranks = _doubled_ranks([abs(difference) for difference in differences])
    signed = [(rank, d) for rank, d in zip(ranks, differences, strict=True) if d != 0]
    positive = sum(rank for rank, difference in signed if difference > 0)
    used = [rank for rank, _ in signed]
    if not used:
        return 1.0
    return _exact(used, positive) if len(used) <= EXACT else _normal(used, positive)


def _doubled_ranks(sizes: Sequence[float]) -> list[int]:
    """Give each size's rank from 1, equal ones sharing the middle rank; doubled, so that all are whole."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    ranks = [0] * len(sizes)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and sizes[order[end]] == sizes[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = start + 1 + end
        start = end
    return ranks


def _exact(ranks: Sequence[int], positive: int) -> float:
    """Count the choices of signs with a rank sum of at least `positive`."""
    ways = [1] + [0] * sum(ranks)
    top = 0
    for rank in ranks:
        top += rank
        for total in range(top, rank - 1, -1):
            ways[total] += ways[total - rank]
    return sum(ways[positive:]) / (1 << len(ranks))


def _normal(ranks: Sequence[int], positive: int) -> float:
    deviation = math.sqrt(math.fsum(rank * rank for rank in ranks)) / 2
    return 0.5 * math.erfc((positive - sum(ranks) / 2) / deviation / math.sqrt(2))


def create_wilcoxon(config: SweepConfig) -> Wilcoxon:
    """Build the stopper from `early_terminate`."""
    settings = config.early_terminate or {}
    return Wilcoxon(settings.get("p", 0.1), settings.get("min_iter", 2), words_of(config))
