"""Finding the point of highest acquisition in a mixed space.

Random points and neighbors of the best runs are ranked; the best few are then improved, in turns, by L-BFGS
on the numeric axes (all points in one problem, so that each evaluation is one matrix product) and by the best
single change of a discrete axis, as long as there is one.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from besom.search.bayes.acquisition import Acquisition
from besom.search.bayes.encoding import Domain
from besom.search.bayes.gp import TOLERANCE
from besom.search.bayes.kernel import Array
from besom.search.bayes.region import Box


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to search."""

    draws: int = 400
    neighbors: int = 40  # per radius
    starts: int = 4
    rounds: int = 3
    steps: int = 25


Allowed = Callable[[Array], NDArray[np.bool_]]


def neighbors(domain: Domain, rows: Array, radius: float, rng: np.random.Generator) -> Array:
    """Give one changed copy of each full row: a few axes moved by about `radius`, or to another level."""
    count, axes = rows.shape
    chance = max(0.3, min(1.0, 1.5 / axes)) if axes < 12 else 4.0 / axes
    moved = rng.random(rows.shape) < chance
    moved[np.arange(count), rng.integers(axes, size=count)] = True
    shift = rng.normal(scale=radius, size=rows.shape)
    fresh = domain.draw(rng, count)
    result = rows.copy()
    for index, axis in enumerate(domain.axes):
        column = moved[:, index]
        if axis.categories:
            column = column & (rng.random(count) < 0.5)
            result[column, index] = fresh[column, index]
        else:
            step = shift[column, index]
            if axis.levels:
                step = step + np.sign(step) * 0.5 / axis.levels  # at least to the next level
            result[column, index] = np.clip(rows[column, index] + step, 0.0, 1.0)
    return result


def candidates(domain: Domain, best: Array, box: Box, effort: Effort, rng: np.random.Generator) -> Array:
    """Give full rows to start from: random ones, and neighbors of the `best` points at several radii."""
    parts = [domain.draw(rng, effort.draws)]
    for radius in (0.2, 0.07, 0.02):
        chosen = best[np.arange(effort.neighbors) % len(best)]
        parts.append(neighbors(domain, domain.fill(chosen, rng), radius, rng))
    return box.clip(domain, np.vstack(parts))


@dataclass(frozen=True, slots=True)
class Search:
    """What to maximize and where; points that are not `allowed` have an acquisition of -inf."""

    domain: Domain
    acquisition: Acquisition
    box: Box
    effort: Effort
    allowed: Allowed | None = None

    def value(self, rows: Array) -> Array:
        """Give the acquisition of the points that full rows stand for."""
        points = self.domain.settle(rows)
        worth = self.acquisition.value(self.domain.features(points))
        return worth if self.allowed is None else np.where(self.allowed(points), worth, -np.inf)


def maximize(search: Search, rows: Array) -> tuple[Array, Array]:
    """Improve the best of `rows`; give these and the others with their acquisition, best first.

    Levels are relaxed in the first turn alone. What goes best with a place between two levels does not go
    best with the nearer one, so after that the real axes are searched with all levels as they are.
    """
    domain, effort = search.domain, search.effort
    worth = search.value(rows)
    order = np.argsort(-worth, kind="stable")
    rows, worth = rows[order], worth[order]
    starts = _spread(domain, rows, effort.starts)
    kept, height = rows[starts], worth[starts]
    moving = np.arange(len(kept))
    for turn in range(effort.rounds):
        free = domain.numeric if turn == 0 else domain.real
        if len(free):
            kept[moving], height[moving] = _climb(search, kept[moving], height[moving], free)
        if not any(axis.levels > 1 for axis in domain.axes):
            break
        before = kept[moving]
        kept[moving], height[moving] = _change_levels(search, before, height[moving])
        if turn or len(free) == len(domain.real):
            moving = moving[(kept[moving] != before).any(1)]  # the others are at the top of where they are
        if not len(moving) or not len(domain.real):
            break
    rows, worth = np.vstack([kept, rows]), np.concatenate([height, worth])
    order = np.argsort(-worth, kind="stable")
    return rows[order], worth[order]


def _spread(domain: Domain, ranked: Array, count: int) -> list[int]:
    """Pick the first of the ranked rows, passing over those right beside one already picked."""
    features = domain.features(domain.settle(ranked[: 8 * count]))
    picked = [0]
    for index in range(1, len(features)):
        if len(picked) == count:
            break
        if np.square(features[picked] - features[index]).sum(1).min() > 1e-2:
            picked.append(index)
    return picked


def _climb(search: Search, rows: Array, height: Array, free: NDArray[np.intp]) -> tuple[Array, Array]:
    """Follow the gradient on the `free` numeric axes, levels relaxed; keep what is better once settled."""
    domain, box = search.domain, search.box
    points = domain.settle(rows)
    base = domain.features(points).copy()
    count, chosen = len(rows), np.searchsorted(domain.numeric, free)
    columns = domain.layout.numeric[chosen]
    active = ~np.isnan(points[:, free])

    def objective(flat: Array) -> tuple[float, Array]:
        base[:, columns] = np.where(active, flat.reshape(count, -1), 0.5)
        total, slope = search.acquisition.value_with_slope(base)
        return -float(total.sum()), -np.where(active, slope[:, columns], 0.0).ravel()

    low, high = np.tile(box.low[chosen], count), np.tile(box.high[chosen], count)
    found = minimize(
        objective,
        rows[:, free].ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low.tolist(), high.tolist(), strict=True)),
        options={"maxiter": search.effort.steps, "ftol": TOLERANCE},
    )
    way = found.x.reshape(count, -1) - rows[:, free]
    for part in (1.0,) if search.allowed is None else (1.0, 0.5, 0.2):  # as far as the constraints let it go
        moved = rows.copy()
        moved[:, free] += part * way
        worth = search.value(moved)
        up = worth > height
        rows, height = np.where(up[:, None], moved, rows), np.where(up, worth, height)
    return rows, height


def _change_levels(search: Search, rows: Array, height: Array) -> tuple[Array, Array]:
    """Make, for each row, the best single change of a discrete axis, as long as there is one."""
    rows, height = rows.copy(), height.copy()
    moving = np.arange(len(rows))
    for _ in range(2 * len(search.domain.axes)):
        trials = _single_changes(search.domain, rows[moving], search.box)
        worth = search.value(trials).reshape(len(moving), -1)
        pick = worth.argmax(1)
        top = worth[np.arange(len(moving)), pick]
        better = np.flatnonzero(top > height[moving] + 1e-9)
        if not len(better):
            break
        trials = trials.reshape(len(moving), -1, rows.shape[1])
        moving = moving[better]
        rows[moving], height[moving] = trials[better, pick[better]], top[better]
    return rows, height


def _single_changes(domain: Domain, rows: Array, box: Box) -> Array:
    """Give each row with another category or a near level on one axis, in all ways; equally many of each."""
    parts: list[Array] = []
    for index, axis in enumerate(domain.axes):
        if axis.levels < 2:
            continue
        level = axis.level(rows[:, index])
        offsets = np.arange(1, axis.levels) if axis.levels <= 8 else np.array([-3, -2, -1, 1, 2, 3])
        target = level[:, None] + offsets
        target = target % axis.levels if axis.levels <= 8 else np.clip(target, 0, axis.levels - 1)
        trials = np.repeat(rows[:, None], len(offsets), axis=1)
        trials[:, :, index] = axis.entry(target)
        parts.append(trials)
    return box.clip(domain, np.concatenate(parts, axis=1).reshape(-1, rows.shape[1]))
