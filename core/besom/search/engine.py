"""A method around an engine of others: what every method keeps, whatever the engine proposes.

An engine is asked for points in its own order of preference. What was run before, or a constraint rules out,
is passed over; where it has nothing else to say, the points that are left are walked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from besom.errors import UsageError
from besom.records import Batch, Observation, Params, Suggestion
from besom.search.base import History
from besom.search.collect import DONE
from besom.search.permutation import permuted

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

TRIES = 4
"""Proposals that may be of no use before another point is looked for: each may cost an engine seconds."""

DRAWS = 10_000
"""Random points that constraints may rule out before an infinite space is given up."""


class Engine(Protocol):
    """Proposes points from what is known; a pure function of its arguments."""

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        """Give points, the best first; the caller takes the first one that is new."""
        ...


@dataclass
class EngineMethod:
    """An engine as a method: no point twice, and an end where there is one."""

    config: SweepConfig
    engine: Engine
    lookahead: int = 1
    _ended: dict[str, Observation] = field(default_factory=dict[str, Observation])
    _changed: int = 0

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose one new point; exhausted when a finite space has none left."""
        if cursor >= DONE:
            return Batch((), cursor, exhausted=True)
        for item in history.observations(after=self._changed):
            self._ended.pop(item.run_id, None)  # it now stands where it ended last
            self._ended[item.run_id] = item
            self._changed = item.changed
        if count < 1:
            return Batch((), cursor)
        active = list(history.active())
        found = self._next(cursor, active)
        if found is None:
            return Batch((), DONE, exhausted=True)
        return Batch((found,), cursor + 1)

    def _next(self, cursor: int, active: Sequence[Params]) -> Suggestion | None:
        space = self.config.space
        ended = list(self._ended.values())
        seen = {space.suggestion(params).key for params in (*(item.params for item in ended), *active)}
        if space.dimensions and (space.size is None or len(seen) < space.size):
            for params in islice(self.engine.propose(ended, active, cursor), TRIES):
                suggestion = space.suggestion(params)
                if suggestion.key not in seen and not space.check(params):
                    return suggestion
        return self._leftover(seen, cursor)

    def _leftover(self, seen: set[str], cursor: int) -> Suggestion | None:
        """Walk a finite space from a place that chance chooses; of an infinite one, draw a random point."""
        space, seed = self.config.space, self.config.seed or 0
        for index in range(DRAWS) if space.size is None else range(space.size):
            params = (
                space.draw(seed, cursor * DRAWS + index)
                if space.size is None
                else space.nth(permuted(index, space.size, seed))
            )
            if params is not None and (found := space.suggestion(params)).key not in seen:
                return found
        if space.size is None:
            raise UsageError(
                f"{self.config.source}: none of {DRAWS} random points satisfies the constraints; loosen them"
            )
        return None
