"""Grid: every point of a finite space, in order. The cursor is the index of the next point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.errors import UsageError
from besom.records import Batch
from besom.search.base import History
from besom.search.collect import LOOKAHEAD, MAX_TRIES, batch, collect
from besom.space import SearchSpace

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


@dataclass(frozen=True)
class Grid:
    """Walks the points of a finite space by index; nothing is ever listed."""

    space: SearchSpace
    size: int
    lookahead: int = LOOKAHEAD

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Give the next points from index `cursor` on."""
        last = min(self.size, cursor + max(MAX_TRIES, count))
        found, used = collect(self.space, range(cursor, last), count, self.space.nth)
        return batch(found, cursor + used, self.size)


def create_grid(config: SweepConfig) -> Grid:
    """Build the method; UsageError when the space has no end."""
    if config.space.size is None:
        raise UsageError(f"{config.source}: a grid needs parameters with finitely many values")
    return Grid(config.space, config.space.size)
