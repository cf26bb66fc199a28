"""The first points, before there is anything to learn from; and how often the model learns."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import numpy as np

from besom.search.bayes.encoding import Domain
from besom.search.bayes.kernel import Array


def design_size(axes: int) -> int:
    """Give how many runs come before the model is asked."""
    return max(4, min(8, axes + 1))


def design(axes: int, count: int, seed: int) -> Array:
    """Give the middle of all axes, and a Latin hypercube of the other `count` - 1 points.

    Wherever the optimum is, no point is less far from it at worst than the middle; and people choose ranges
    around what they expect. In every axis, each of `count` - 1 equal parts of [0, 1] holds one other point.
    """
    rng = np.random.default_rng([seed, count, axes])
    parts = count - 1
    cells = np.stack([rng.permutation(parts) for _ in range(axes)], axis=1)
    return np.vstack([np.full((1, axes), 0.5), (cells + rng.random((parts, axes))) / parts])


def farthest(domain: Domain, rows: Array, known: Array) -> Array:
    """Give full rows with those farthest from all known points first."""
    if not len(known):
        return rows
    features, others = domain.features(domain.settle(rows)), domain.features(known)
    gaps = np.square(features[:, None, :] - others[None, -100:, :]).sum(2).min(1)
    return rows[np.argsort(-gaps, kind="stable")]


def fit_size(runs: int) -> int:
    """Give the latest number of ended runs, up to `runs`, at which hyperparameters are searched.

    That is each number up to 20; then they are 8 % apart.
    """
    size = 20
    if runs <= size:
        return runs
    while size + max(1, size // 12) <= runs:
        size += max(1, size // 12)
    return size
