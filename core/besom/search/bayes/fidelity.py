"""At which place on the resource axis runs are compared, where some of them were stopped early.

A loss after 3 epochs is no loss after 100. As in BOHB (Falkner, Klein, Hutter 2018), the model is made of
what runs had at one rung, the highest that enough of them have reached. BOHB forgets the runs that were
stopped below it, so that where they were looks like a place nobody has been to; here they are carried up to
it instead, by what the runs that have reached both rungs have typically gained on the way.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from besom.search.bayes.kernel import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = math.inf
"""The rung of runs that were not stopped: where they ended."""


def enough_runs(axes: int) -> int:
    """Give how many runs a rung must have for the model to be made there."""
    return axes + 2


def comparable(losses: Array, enough: int) -> Array:
    """Give one loss per run, all at the same rung: the highest that `enough` runs have reached.

    `losses` has a row per run and a column per rung, ascending, NaN where a run did not get. While no rung
    has enough runs, the one with most is taken, the higher one of equals. A run that did not get there has
    the loss at its own last rung, plus the median of what others gained from there on; one without any, NaN.
    """
    if not losses.shape[1]:
        return np.full(len(losses), np.nan)
    there = np.isfinite(losses)
    reached = there.sum(0)
    full = np.flatnonzero(reached >= enough)
    top = full[-1] if len(full) else np.flatnonzero(reached == reached.max())[-1]
    values = losses[:, top].copy()
    for rung in range(losses.shape[1]):
        lasting = there[:, rung] & ~there[:, rung + 1 :].any(1) & ~there[:, top]
        both = there[:, rung] & there[:, top]
        gained = np.median(losses[both, top] - losses[both, rung]) if both.any() else 0.0
        values[lasting] = losses[lasting, rung] + gained
    return np.asarray(values)


class Losses:
    """What runs had at the rungs: a table that grows by runs and by rungs."""

    def __init__(self) -> None:
        self._column: dict[float, int] = {}
        self._table = np.full((64, 8), np.nan)

    def put(self, row: int, losses: Mapping[float, float]) -> None:
        """Keep a run's losses by rung as row number `row`."""
        new = [rung for rung in losses if rung not in self._column]
        self._column.update({rung: len(self._column) + index for index, rung in enumerate(new)})
        rows, columns = self._table.shape
        if row >= rows or len(self._column) > columns:
            grown = np.full((max(rows, 2 * row), max(columns, 2 * len(self._column))), np.nan)
            grown[:rows, :columns] = self._table
            self._table = grown
        for rung, loss in losses.items():
            self._table[row, self._column[rung]] = loss

    def of(self, rows: NDArray[np.intp]) -> Array:
        """Give the losses of some runs, a column per rung, ascending."""
        columns = [self._column[rung] for rung in sorted(self._column)]
        return np.asarray(self._table[rows][:, columns])
