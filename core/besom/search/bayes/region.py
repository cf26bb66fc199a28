"""Where to search: everything, or, in many dimensions, a box around the best run that grows with success.

From `MANY` numeric axes on, the corners of the space are so many and so far from every run that a model knows
nothing there, and expected improvement would spend all runs on them. So the search is held to a trust region
(Eriksson et al. 2019, "Scalable global optimization via local Bayesian optimization"): its sides follow the
length scales, it doubles after a few improvements in a row, halves after many runs without one, and starts
again when it has become tiny. Its size is computed from the sequence of values, so nothing has to be
remembered.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from besom.search.bayes.encoding import Domain
from besom.search.bayes.kernel import Array

MANY = 15
FIRST, LARGEST, SMALLEST = 0.8, 1.6, 0.01
SUCCESSES = 3


@dataclass(frozen=True, slots=True)
class Box:
    """The part of the numeric axes to search in."""

    low: Array
    high: Array

    def clip(self, domain: Domain, rows: Array) -> Array:
        """Move the numeric entries of rows into the box, in place."""
        rows[:, domain.numeric] = np.clip(rows[:, domain.numeric], self.low, self.high)
        return rows


def region(domain: Domain, points: Array, values: Array, log_scales: Array) -> Box:
    """Give the box to search in, from the runs in the order in which they ended and the length scales."""
    count = len(domain.numeric)
    whole = Box(np.zeros(count), np.ones(count))
    if count < MANY:
        return whole
    scales = log_scales[domain.numeric]
    sides = side_length(values, patience=max(4, count // 2)) * np.exp(
        np.clip(scales - scales.mean(), -2.0, 2.0)
    )
    center = points[int(values.argmin()), domain.numeric]
    center = np.where(np.isnan(center), 0.5, center)
    sides = np.where(np.isnan(points[int(values.argmin()), domain.numeric]), 2.0, sides)
    return Box(np.maximum(center - sides / 2, 0.0), np.minimum(center + sides / 2, 1.0))


def side_length(values: Array, patience: int) -> float:
    """Give the side of the trust region after runs with these values: a fold over the sequence."""
    length, wins, losses = FIRST, 0, 0
    best = np.inf
    values = values / (np.abs(values).max() or 1.0)  # squares of 1e300 overflow
    step = 1e-3 * float(np.std(values))
    for value in values:
        if value < best - step:
            wins, losses = wins + 1, 0
        else:
            wins, losses = 0, losses + 1
        best = min(best, float(value))
        if wins == SUCCESSES:
            length, wins = min(2.0 * length, LARGEST), 0
        elif losses == patience:
            length, losses = length / 2.0, 0
            if length < SMALLEST:
                length = FIRST
    return length
