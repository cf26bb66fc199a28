"""Generated learning curves: what early termination is judged by.

Every curve is a power law, `end + (start - end) * t**-rate`, of which the kinds make something harder. Where
it ends is given, or drawn; nothing is drawn but from the seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LENGTH = 100  # reports of a run that is not stopped
RUNS = 64  # of a sweep


@dataclass(frozen=True, slots=True)
class Curve:
    """One run: what it reports, and what its model is really worth, after each report."""

    reported: Sequence[float]
    true: Sequence[float]


def power(chance: random.Random, end: float) -> list[float]:
    """Good runs lead from early on, nearly always: the rate does not depend on the end."""
    rate = math.exp(chance.gauss(math.log(0.7), 0.4))
    start = 1.5 + 0.5 * chance.random()
    return [end + (start - end) * t**-rate for t in range(1, LENGTH + 1)]


def crossing(chance: random.Random, end: float) -> list[float]:
    """What ends well begins slowly: the better the end, the lower the rate."""
    rate = 0.45 + 1.2 * end + 0.2 * chance.random()
    start = 1.5 + 0.5 * chance.random()
    return [end + (start - end) * t**-rate for t in range(1, LENGTH + 1)]


def diverging(chance: random.Random, end: float) -> list[float]:
    """One run in four gets worse from somewhere in its second half on; those that lead do it as often."""
    curve = power(chance, end)
    if chance.random() < 0.25:
        turn = chance.randrange(LENGTH // 2, LENGTH)
        slope = 0.02 + 0.05 * chance.random()
        curve = [loss + slope * max(0, t - turn) for t, loss in enumerate(curve)]
    return curve


def plateau(chance: random.Random, end: float) -> list[float]:
    """Runs stay at the start for a while, up to a tenth of the whole, before they learn."""
    curve = power(chance, end)
    wait = chance.randrange(0, LENGTH // 10)
    return [curve[0]] * wait + curve[: LENGTH - wait]


KINDS: dict[str, tuple[Callable[[random.Random, float], list[float]], float]] = {
    "power laws": (power, 0.0),
    "crossing": (crossing, 0.0),
    "noisy": (power, 0.05),
    "diverging late": (diverging, 0.01),
    "plateaus": (plateau, 0.01),
    "crossing and noisy": (crossing, 0.03),
}
"""What makes a true curve, and the deviation of the noise on what is reported."""


def curve_of(kind: str, shape: random.Random, noise: random.Random, end: float) -> Curve:
    """Give the curve of a run that ends at `end`, if it does not diverge."""
    make, deviation = KINDS[kind]
    true = make(shape, end)
    return Curve([loss + noise.gauss(0.0, deviation) for loss in true], true)


def sweep_of(kind: str, seed: int) -> list[Curve]:
    """Give the runs of one sweep, in the order in which they begin; few of them end well."""
    chance = random.Random(f"{kind}-{seed}")
    return [curve_of(kind, chance, chance, chance.betavariate(1.2, 3.0)) for _ in range(RUNS)]
