"""Several goals as one: a weighted way of measuring how far a run is from the best of each.

The augmented Chebyshev scalarization of ParEGO (Knowles 2006): with goals scaled so that the present front
spans [0, 1] in each, max_i w_i f_i + 0.05 sum_i w_i f_i. Each weight vector has its own best point on the
front, also where the front is concave; weights are drawn anew for each suggestion, so all of it is reached.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from besom.pareto import front
from besom.search.bayes.kernel import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUGMENTATION = 0.05


def draw_weights(goals: int, rng: np.random.Generator) -> Array:
    """Give weights that sum to 1, all of them equally likely."""
    return np.asarray(rng.dirichlet(np.ones(goals)))


def scalarize(values: Array, feasible: NDArray[np.bool_], weights: Array) -> Array:
    """Give one value per row of `values`, lower being better; the front is that of the `feasible`, if any."""
    if not len(values):
        return np.empty(0)
    with np.errstate(over="ignore", invalid="ignore"):
        values = values / np.maximum(np.abs(values).max(0), 1e-300)  # differences of 1e308 overflow
        useful = values[feasible] if feasible.any() else values
        best = useful[front(useful.tolist())]
        low, span = best.min(0), np.ptp(best, axis=0)
        spread = np.ptp(useful, axis=0)
        span = np.where(span > 1e-9 * spread, span, spread)
        scaled = weights * (values - low) / np.where(span > 0.0, span, 1.0)
    return np.asarray(scaled.max(1) + AUGMENTATION * scaled.sum(1))
