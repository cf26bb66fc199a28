"""Population-based training: a population whose worst members go on from the best ones' checkpoints.

After Jaderberg et al. 2017, *Population based training of neural networks*. A run is a *segment*: it trains
one member for one generation. Its key says which, and whose checkpoint it goes on from, so that all there is
to know about the population stands in the sweep's own runs.

Nobody waits for a whole generation: a member whose segment has ended is compared with what the others have
shown by then, at the same generation where they have come that far. Earlier generations come first.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from besom.records import ENDED, GOOD_ENDINGS, Batch, Metric, Observation, Params, Segment, Suggestion
from besom.search.base import History
from besom.search.collect import DONE
from besom.search.explore import explore
from besom.search.random import Random

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

TRIES = 100
"""Explored points that constraints may rule out before a member goes on as its model was trained."""


@runtime_checkable
class KeyedHistory(Protocol):
    """A history that gives the keys of suggestions too."""

    def handed_out(self, *, after: int = 0) -> Sequence[Observation]:
        """Give what is buffered or under way, and what has ended with `changed` above `after`.

        All have keys, and summaries once they have begun.
        """
        ...


@dataclass
class Population:
    """Who has done what: per member and generation the segment that has ended, and who is busy."""

    ended: dict[tuple[int, int], Observation] = field(default_factory=dict[tuple[int, int], Observation])
    busy: dict[int, int] = field(default_factory=dict[int, int])  # generation by member
    others: dict[str, Observation] = field(default_factory=dict[str, Observation])
    """Ended runs of no generation, by id: prior ones, and those that somebody has enqueued."""
    changed: int = 0

    def update(self, told: Sequence[Observation], metric: Metric | None) -> None:
        """Take in what is under way now, and what has ended since; outside of a limit is without a value."""
        self.busy = {}
        for item in (_judged(item, metric) for item in told):
            segment = Segment.of(item.key or "")
            if item.state in ENDED:
                self.changed = max(self.changed, item.changed)
            if segment is None:
                if item.state in GOOD_ENDINGS and item.value is not None:
                    self.others[item.run_id] = item
            elif item.state in ENDED:
                self.ended[segment.generation, segment.member] = item
            else:
                self.ended.pop((segment.generation, segment.member), None)  # it is tried again
                self.busy[segment.member] = max(segment.generation, self.busy.get(segment.member, 0))

    def latest(self, member: int) -> int:
        """Give the generation a member is in or has ended last; -1 before its first."""
        done = [generation for generation, other in self.ended if other == member]
        return max(*done, self.busy.get(member, -1), -1)

    def shown(self, member: int, generation: int) -> Observation | None:
        """Give a member's segment of a generation, else its latest one before that ended well."""
        for earlier in range(generation, -1, -1):
            found = self.ended.get((earlier, member))
            if found is not None and found.state in GOOD_ENDINGS and found.value is not None:
                return found
        return None


def _judged(item: Observation, metric: Metric | None) -> Observation:
    """Give an observation without its summary, and without a value if that keeps no limit."""
    kept = metric is None or metric.feasible(item.summary or {})
    return replace(item, value=item.value if kept else None, summary=None)


class Pbt:
    """Members of a population, one generation after the other, each from a checkpoint that is worth it."""

    lookahead = 1

    def __init__(self, config: SweepConfig) -> None:
        self.space, self.metric, self.seed = config.space, config.metric, config.seed or 0
        settings = config.settings
        self.size, self.generations = int(settings["population"]), int(settings["generations"])
        self.quantile, self.resample = float(settings["quantile"]), float(settings["resample"])
        self.factors = tuple(settings["perturb"])
        self._first = Random(self.space, self.seed, config.source)
        self._population = Population()

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose the next segments of members that are free, of the earliest generations first.

        Waits (an empty batch at the same cursor) while every member is busy.
        """
        if cursor >= DONE:
            return Batch((), cursor, exhausted=True)
        people = self._population
        if isinstance(history, KeyedHistory):
            people.update(history.handed_out(after=people.changed), self.metric)
        standing = [people.latest(member) for member in range(self.size)]
        free = sorted(
            (standing[member], member)
            for member in range(self.size)
            if member not in people.busy and standing[member] + 1 < self.generations
        )
        found: list[Suggestion] = []
        for generation, member in free[:count]:
            suggestion = self._next(generation, member)
            if suggestion is None:
                return Batch((), DONE, exhausted=True)
            found.append(suggestion)
            standing[member] += 1
        left = any(generation + 1 < self.generations for generation in standing)
        return Batch(tuple(found), cursor + len(found) if left else DONE, exhausted=not left)

    def _next(self, generation: int, member: int) -> Suggestion | None:
        """Give a member's segment after `generation`; None when the space has no point."""
        if generation < 0:
            params = self._known(member) or self._beginning(member)
            return None if params is None else self._segment(0, member, None, params)
        own = self._population.ended[generation, member]
        fine = own.state in GOOD_ENDINGS and own.value is not None
        best, worst = self._extremes(generation)
        if fine and own not in worst:
            return self._segment(generation + 1, member, own.run_id, own.params)
        chance = random.Random(f"{self.seed}/{generation}/{member}")  # noqa: S311 - repeatable, not secret
        if not best:  # nothing has ever gone well
            params = self._beginning(member + self.size * (generation + 1))
            return None if params is None else self._segment(generation + 1, member, None, params)
        parent = chance.choice(best)
        return self._segment(generation + 1, member, parent.run_id, self._explored(parent.params, chance))

    def _extremes(self, generation: int) -> tuple[list[Observation], list[Observation]]:
        """Give the best and the worst members' segments, the quantile of each; one of each at least."""
        shown = [self._population.shown(member, generation) for member in range(self.size)]
        ranked = sorted((item for item in shown if item and item.value is not None), key=self._rank)
        most = min(math.ceil(self.quantile * len(ranked)), len(ranked) // 2)
        return ranked[: max(1, most)], ranked[len(ranked) - most :]

    def _known(self, member: int) -> Params | None:
        """Give the point of the best, second best, ... prior run to one half of the members."""
        if 2 * member >= self.size:
            return None
        found: dict[str, Params] = {}
        for item in sorted(self._population.others.values(), key=self._rank):
            if not self.space.check(item.params):
                found.setdefault(self.space.suggestion(item.params).key, item.params)
        return next(itertools.islice(found.values(), member, None), None)

    def _rank(self, item: Observation) -> tuple[float, int]:
        """Give what is lower for what is better; of equals, the one that ended first."""
        sign = -1.0 if self.metric is not None and self.metric.goal == "maximize" else 1.0
        return sign * (item.value or 0.0), item.changed

    def _beginning(self, index: int) -> Params | None:
        """Give the random point number `index`; a small space begins anew."""
        end = self._first.end
        found = self._first.suggest(index if end is None else index % end, 1, _NOTHING).suggestions
        if not found and end is not None:
            found = self._first.suggest(0, 1, _NOTHING).suggestions
        return found[0].params if found else None

    def _explored(self, params: Params, chance: random.Random) -> Params:
        for _ in range(TRIES):
            fresh = self.space.draw(chance.getrandbits(32), 0)
            if fresh is None:
                continue
            point = explore(
                self.space, params, fresh, factors=self.factors, resample=self.resample, chance=chance
            )
            if not self.space.check(point):
                return point
        return params

    def _segment(self, generation: int, member: int, parent: str | None, params: Params) -> Suggestion:
        params = self.space.suggestion(params).params
        return Suggestion(Segment(generation, member, parent).key, params)


class _Nothing:
    """The history that independent draws need."""

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        del after
        return ()

    def active(self) -> Sequence[Params]:
        return ()


_NOTHING = _Nothing()


def create_pbt(config: SweepConfig) -> Pbt:
    """Build the method; without a seed in the config it is 0."""
    return Pbt(config)
