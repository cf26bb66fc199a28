"""A method around an engine of others: what every method keeps, whatever the engine proposes.

An engine is asked for points in its own order of preference. What was run before, or a constraint rules out,
is passed over; where it has nothing else to say, the points that are left are walked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from besom.errors import UsageError
from besom.records import BAD_ENDINGS, GOOD_ENDINGS, Batch, Observation, Params, Suggestion
from besom.search.base import History
from besom.search.collect import DONE
from besom.search.permutation import permuted
from besom.space.distributions import Choice, Distribution, Lattice
from besom.summarize import goal_values

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

TRIES = 4
"""Proposals that may be of no use before another point is looked for: each may cost an engine seconds."""

COUNTABLE = 100_000
"""Finite spaces up to this size are walked to the last point; of larger ones points are drawn."""

DRAWS = 10_000
"""Random points that constraints may rule out before a space that is not walked is given up."""

SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class Told:
    """What a run that went well says: the value of each goal, and how far inside each bound it ended."""

    values: tuple[float, ...]
    room: tuple[float, ...]


def told(config: SweepConfig, item: Observation) -> Told | None:
    """Give what an ended run says; None where it failed, or lacks a goal or the number of a limit.

    With `impute: latest` or `best`, a failed run that has reported them all has not failed.
    """
    imputed = item.state in BAD_ENDINGS and config.goals[0].impute != "worst"
    summary = item.summary or {}
    values = goal_values(item.value, summary, config.goals)
    room = [distances for limit in config.limits if (distances := limit.room(summary)) is not None]
    if values is None or len(room) < len(config.limits) or not (item.state in GOOD_ENDINGS or imputed):
        return None
    return Told(values, tuple(itertools.chain.from_iterable(room)))


def seed_of(config: SweepConfig, cursor: int) -> int:
    """Give the seed for one suggestion, as small as engines take them."""
    return ((config.seed or 0) * 1_000_003 + cursor) % SEEDS


def place_of(distribution: Distribution, value: Any) -> int | float:
    """Give where a value stands on an engine's axis: which one it is of few, else its quantile."""
    quantile = distribution.encode(value)
    if isinstance(distribution, (Choice, Lattice)):
        return min(int(quantile * distribution.size), distribution.size - 1)
    return quantile


def value_at(distribution: Distribution, place: float) -> Any:
    """Give the value at a place on an engine's axis; undoes `place_of`."""
    listed = isinstance(distribution, (Choice, Lattice))
    return distribution.nth(int(place)) if listed else distribution.decode(float(place))


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
    _keys: dict[str, str] = field(default_factory=dict[str, str])  # of those that are points of the space
    _changed: int = 0

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose one new point; exhausted when a finite space has none left."""
        if cursor >= DONE:
            return Batch((), cursor, exhausted=True)
        for item in history.observations(after=self._changed):
            self._ended.pop(item.run_id, None)  # it now stands where it ended last
            self._ended[item.run_id] = item
            self._changed = item.changed
            if not self.config.space.check(item.params):
                self._keys[item.run_id] = self.config.space.suggestion(item.params).key
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
        seen = {*self._keys.values(), *(space.suggestion(params).key for params in active)}
        if space.dimensions and (space.size is None or len(seen) < space.size):
            for params in itertools.islice(self.engine.propose(ended, active, cursor), TRIES):
                suggestion = space.suggestion(params)
                if suggestion.key not in seen and not space.check(params):
                    return suggestion
        return self._leftover(seen, cursor)

    def _leftover(self, seen: set[str], cursor: int) -> Suggestion | None:
        """Walk a countable space in the order that the seed picks; of a larger one, draw random points."""
        space, seed, size = self.config.space, self.config.seed or 0, self.config.space.size
        walked = size is not None and size <= COUNTABLE
        points = (
            (space.nth(permuted(index, size, seed)) for index in range(size))
            if size is not None and walked
            else (space.draw(seed, cursor * DRAWS + index) for index in range(DRAWS))
        )
        for params in points:
            if params is not None and (found := space.suggestion(params)).key not in seen:
                return found
        if not walked:
            raise UsageError(
                f"{self.config.source}: none of {DRAWS} random points satisfies the constraints; loosen them"
            )
        return None
