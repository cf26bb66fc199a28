"""Points of a mixed, conditional space as arrays.

A point is a row with one number per axis:

    real       its place in [0, 1]
    ordinal    the place in [0, 1] of the nearest of its levels
    category   the index of its value
    inactive   NaN: an axis whose condition on other axes does not hold has no value

Search moves on *full* rows, where inactive axes keep some value they would have; `settle` turns them into
points. The model sees *features*: numbers as they are, categories one-hot (scaled so that two different ones
are 1 apart), inactive axes as the middle of what they could be.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from besom.search.bayes.kernel import Array, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Parent:
    """What an axis must be for another one to be active: one of some levels, or in a range."""

    axis: int
    levels: tuple[int, ...] | None
    low: float = 0.0
    high: float = 1.0

    def holds(self, axis: Axis, column: Array) -> NDArray[np.bool_]:
        """Say for each entry of the parent's column whether it meets the condition; NaN never does."""
        if self.levels is None:
            return np.asarray((column >= self.low) & (column <= self.high))
        present = ~np.isnan(column)
        found = np.isin(axis.level(np.where(present, column, 0.0)), self.levels)
        return np.asarray(found & present)


@dataclass(frozen=True)
class Axis:
    """One parameter: real, ordinal with ascending `places` of its levels in [0, 1], or a category.

    It is active where all of `parents` hold.
    """

    places: Array | None = None
    categories: int = 0
    parents: tuple[Parent, ...] = ()

    @property
    def levels(self) -> int:
        """How many values there are; 0 for a real axis."""
        return self.categories or (0 if self.places is None else len(self.places))

    @cached_property
    def borders(self) -> Array:
        """The places where the nearest level of an ordinal axis changes."""
        assert self.places is not None
        return (self.places[1:] + self.places[:-1]) / 2

    def level(self, column: Array) -> NDArray[np.intp]:
        """Give the index of the level that each entry stands for."""
        if self.categories:
            return column.astype(np.intp)
        return np.searchsorted(self.borders, column)

    def entry(self, level: NDArray[np.intp]) -> Array:
        """Give the entries that stand for levels; undoes `level`."""
        return level.astype(float) if self.places is None else self.places[level]


@dataclass(frozen=True)
class Domain:
    """The axes of a space, parents before children."""

    axes: tuple[Axis, ...]

    @cached_property
    def layout(self) -> Layout:
        """How features belong to axes."""
        widths = [axis.categories or 1 for axis in self.axes]
        owner = np.repeat(np.arange(len(self.axes)), widths)
        numeric = [column for column, axis in enumerate(owner) if not self.axes[axis].categories]
        return Layout(owner, np.array(numeric, dtype=np.intp), len(self.axes))

    @cached_property
    def numeric(self) -> NDArray[np.intp]:
        """The axes that are no categories, in the order of the layout's numeric columns."""
        return np.array([index for index, axis in enumerate(self.axes) if not axis.categories], dtype=np.intp)

    @cached_property
    def real(self) -> NDArray[np.intp]:
        """The axes without levels."""
        return np.array([index for index, axis in enumerate(self.axes) if not axis.levels], dtype=np.intp)

    @cached_property
    def _conditional(self) -> list[int]:
        return [index for index, axis in enumerate(self.axes) if axis.parents]

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Draw full rows, every level of an axis equally likely."""
        return self.place(rng.random((count, len(self.axes))))

    def place(self, unit: Array) -> Array:
        """Turn numbers in [0, 1) into full rows."""
        rows = unit.copy()
        for index, axis in enumerate(self.axes):
            if axis.levels:
                level = np.minimum((unit[:, index] * axis.levels).astype(np.intp), axis.levels - 1)
                rows[:, index] = axis.entry(level)
        return rows

    def settle(self, rows: Array) -> Array:
        """Give the points that full rows stand for: nearest levels, NaN where inactive."""
        points = rows.copy()
        for index, axis in enumerate(self.axes):
            if axis.places is not None:
                points[:, index] = axis.places[np.searchsorted(axis.borders, rows[:, index])]
        for index in self._conditional:
            active = np.ones(len(points), dtype=bool)
            for parent in self.axes[index].parents:
                active &= parent.holds(self.axes[parent.axis], points[:, parent.axis])
            points[~active, index] = np.nan
        return points

    def fill(self, points: Array, rng: np.random.Generator) -> Array:
        """Give full rows for points: what is inactive gets a random value."""
        missing = np.isnan(points)
        if not missing.any():
            return points.copy()
        return np.where(missing, self.draw(rng, len(points)), points)

    def features(self, points: Array) -> Array:
        """Give what the model sees of points."""
        layout = self.layout
        if len(layout.numeric) == len(self.axes) and not self._conditional:
            return points
        features = np.zeros((len(points), len(layout.axis)))
        numeric = points[:, self.numeric]
        features[:, layout.numeric] = np.where(np.isnan(numeric), 0.5, numeric)
        start = 0
        for index, axis in enumerate(self.axes):
            if axis.categories:
                column = points[:, index]
                present = np.flatnonzero(~np.isnan(column))
                features[present, start + column[present].astype(np.intp)] = np.sqrt(0.5)
            start += axis.categories or 1
        return features

    def keys(self, points: Array) -> list[bytes]:
        """Give something equal exactly for equal points."""
        return [row.tobytes() for row in np.where(np.isnan(points), -1.0, points)]
