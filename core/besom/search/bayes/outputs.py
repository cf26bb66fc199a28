"""From metric values to what a Gaussian process can model: standardized, the bad tail drawn in.

How bad a bad run was matters little, and its spread can swamp the rest: a diverged loss of 1e6 beside losses
around 0.3. What is worse than the median by r (in units of the better half's spread) becomes log(1 + c r) /
c; what is better keeps its proportions. Which c is right, the likelihood decides: a change of variables y ->
t costs sum(log dt/dy).
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import numpy as np

from besom.search.bayes.kernel import Array

TAILS = (0.0, 0.3, 1.5)
"""The values of c to choose from; 0 leaves values as they are."""

_MOST = 1e8  # keeps squares finite


def standardize(values: Array, tail: float) -> tuple[Array, float]:
    """Give values with mean 0 and deviation 1, and -sum(log dt/dy) up to what no `tail` changes."""
    values = values / (np.abs(values).max() or 1.0)  # squares of 1e300 overflow
    low, middle = np.quantile(values, [0.1, 0.5])
    scale = float(middle - low)
    if not scale > 0.0:
        scale = float(np.std(values)) or 1.0
    with np.errstate(over="ignore"):
        relative = np.clip((values - middle) / scale, -_MOST, _MOST)
    cost = 0.0
    if tail:
        above = np.log1p(tail * np.maximum(relative, 0.0))
        cost = float(above.sum())
        relative = np.where(relative > 0.0, above / tail, relative)
    spread = float(relative.std())
    if not spread > 1e-12:
        spread = 1.0
    return (relative - relative.mean()) / spread, cost + len(values) * float(np.log(spread))
