"""Random: independent draws, and in a finite space no point twice and every point in the end.

Where all points are equally likely, a pseudo-random permutation of their indices is walked: the cursor's
image is the next point. Where they are not, the first 2 N cursors are draws (repeats are dropped by their
keys), and then a permutation visits what they left out. In an infinite space every cursor is a draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.errors import UsageError
from besom.records import Batch, Params
from besom.search.base import History
from besom.search.collect import LOOKAHEAD, MAX_TRIES, batch, collect
from besom.search.permutation import permuted
from besom.space import SearchSpace

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

HOPELESS = 100_000
"""Draws in a row that constraints may rule out before an infinite space is given up."""


@dataclass(frozen=True)
class Random:
    """Random points, the same ones for the same seed."""

    space: SearchSpace
    seed: int
    source: str = "sweep config"
    lookahead: int = LOOKAHEAD

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Give the points of the next cursors; UsageError when constraints leave nothing of endless ones."""
        end = self.end
        tries = max(MAX_TRIES, count) if end is None else min(end - cursor, max(MAX_TRIES, count))
        found, used = collect(self.space, range(cursor, cursor + tries), count, self._point)
        if end is None and not found and count > 0:
            more = range(cursor + used, cursor + HOPELESS)
            found, further = collect(self.space, more, 1, self._point)
            used += further
            if not found:
                raise UsageError(
                    f"{self.source}: none of {HOPELESS} random points satisfies the constraints; loosen them"
                )
        return batch(found, cursor + used, end)

    @property
    def end(self) -> int | None:
        """The cursor at which every point has come; None in an infinite space."""
        size = self.space.size
        if size is None:
            return None
        return size if self.space.even else 3 * size

    def _point(self, cursor: int) -> Params | None:
        size = self.space.size
        if size is None:
            return self.space.draw(self.seed, cursor)
        if self.space.even:
            return self.space.nth(permuted(cursor, size, self.seed))
        if cursor < 2 * size:
            return self.space.draw(self.seed, cursor)
        return self.space.nth(permuted(cursor - 2 * size, size, self.seed))


def create_random(config: SweepConfig) -> Random:
    """Build the method; without a seed in the config it is 0."""
    return Random(config.space, config.seed or 0, config.source)
