"""The Bayesian method: which point to run next, given how the others went.

A suggestion is a pure function of config, cursor and history. What an instance keeps between calls (the
history as arrays, the latest hyperparameters) it could compute again: hyperparameters are searched only at
certain numbers of ended runs, from the runs up to there, so a restart in between finds the same ones.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from besom.errors import UsageError
from besom.records import Batch, Params, Suggestion
from besom.search.base import History
from besom.search.bayes.design import design, design_size, farthest, fit_size
from besom.search.bayes.goals import draw_weights
from besom.search.bayes.kernel import Array
from besom.search.bayes.model import Evidence, Fitted, acquisition, doubted, fit_models
from besom.search.bayes.points import Translation
from besom.search.bayes.propose import Effort, Search, candidates, maximize
from besom.search.bayes.records import Ledger
from besom.search.bayes.region import region
from besom.search.permutation import permuted

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

COUNTABLE = 100_000
"""Finite spaces up to this size are walked to the last point; of larger ones this many points are tried."""

DONE = 2**62
"""The cursor behind the last point of a space."""

DOUBT_EVERY = 4
"""One suggestion in so many is made with length scales that are doubted."""

LEADERS = 5
"""How many of the best runs have their neighborhoods searched."""

GUESSES = 8
"""Before a run has a value, the farthest of so many random points is taken; of many more it is a corner."""


@dataclass
class Bayes:
    """Points where a Gaussian process over the ended runs expects most improvement."""

    config: SweepConfig
    lookahead: int = 1

    def __post_init__(self) -> None:
        self.space = self.config.space
        self.seed = self.config.seed or 0
        self._translation = Translation(self.space)
        self._ledger = Ledger(self._translation, self.config.metric, self.config.metrics)
        self._fitted: tuple[tuple[int, int], Fitted] | None = None
        self._threads = ThreadpoolController()

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose up to `lookahead` new points; exhausted when a finite space has none left."""
        # The matrices are small: more threads cost ten times the work, and the cores belong to the runs.
        with self._threads.limit(limits=1):
            return self._suggest(cursor, count, history)

    def _suggest(self, cursor: int, count: int, history: History) -> Batch:
        if cursor >= DONE:
            return Batch((), cursor, exhausted=True)
        self._ledger.update(history.observations(after=self._ledger.changed))
        active = list(history.active())
        found: list[Suggestion] = []
        for step in range(min(count, self.lookahead)):
            point = self._next(cursor + step, active)
            if point is None:
                return Batch(tuple(found), DONE, exhausted=True)
            params = self._translation.params(point)
            found.append(self.space.suggestion(params))
            active.append(params)
        return Batch(tuple(found), cursor + len(found))

    def _next(self, cursor: int, active: list[Params]) -> Array | None:
        """Give the first point in the order of preference that is allowed and new; None if none is left."""
        domain = self._translation.domain
        rng = np.random.default_rng([self.seed, cursor])
        weights = self._weights(cursor)
        evidence = self._ledger.evidence(active, weights=weights)
        seen = self._ledger.seen.union(domain.keys(evidence.pending))
        if self.space.size is not None and len(seen) >= self.space.size:
            return None
        for rows in self._preferred(cursor, evidence, weights, rng) if domain.axes else ():
            for point in domain.settle(rows):
                exact = self._translation.exact(point)
                if domain.keys(exact[None])[0] not in seen and self._translation.allowed(exact[None])[0]:
                    return exact
        return self._leftover(seen, cursor)

    def _weights(self, cursor: int) -> Array | None:
        """Give how much each goal counts for this suggestion; None for a single one."""
        goals = len(self.config.metrics)
        return draw_weights(goals, np.random.default_rng([self.seed, cursor, goals])) if goals else None

    def _preferred(
        self, cursor: int, evidence: Evidence, weights: Array | None, rng: np.random.Generator
    ) -> Iterator[Array]:
        domain = self._translation.domain
        started = len(self._ledger) + len(evidence.pending)
        first = design_size(len(domain.axes))
        if started < first:
            yield domain.place(design(len(domain.axes), first, self.seed)[started][None])
        if started < first or not len(evidence.values):
            known = np.vstack([evidence.points, evidence.failed, evidence.pending])
            yield farthest(domain, domain.draw(rng, GUESSES), known)
        else:
            fitted = self._fit(evidence) if weights is None else fit_models(domain, evidence)
            if cursor % DOUBT_EVERY == DOUBT_EVERY - 1:
                fitted = doubted(fitted)
            box = region(domain, evidence.points, evidence.merit, fitted.metric.metric.scale)
            target = acquisition(domain, evidence, fitted)
            leaders = evidence.points[np.argsort(evidence.merit, kind="stable")[:LEADERS]]
            effort = Effort()
            rows = candidates(domain, leaders, box, effort, rng)
            allowed = self._translation.allowed if self.space.constraints else None
            yield maximize(Search(domain, target, box, effort, allowed), rows)[0]
        yield domain.draw(rng, 1000)

    def _fit(self, present: Evidence) -> Fitted:
        """Give the hyperparameters found at the latest number of ended runs at which they are searched."""
        runs = fit_size(len(self._ledger))
        evidence = self._ledger.evidence((), runs)
        if not len(evidence.values) or evidence.feasible.any() != present.feasible.any():
            runs = len(self._ledger)
            evidence = self._ledger.evidence((), runs)
        key = runs, self._ledger.revision
        if self._fitted is None or self._fitted[0] != key:
            self._fitted = key, fit_models(self._translation.domain, evidence)
        return self._fitted[1]

    def _leftover(self, seen: set[bytes], cursor: int) -> Array | None:
        """Find any new point: walk a countable space whole, else look at many random points."""
        space, size = self.space, self.space.size
        valid = False
        for index in range(COUNTABLE if size is None else min(COUNTABLE, size)):
            if size is not None and size <= COUNTABLE:
                params = space.nth(permuted(index, size, self.seed))
            else:
                params = space.draw(self.seed, cursor * COUNTABLE + index)
            if params is None:
                continue
            valid = True
            point = self._translation.point(params)
            if point is not None and self._translation.domain.keys(point[None])[0] not in seen:
                return point
        if not valid and (size is None or size > COUNTABLE):
            raise UsageError(
                f"{self.config.source}: none of {COUNTABLE} random points satisfies the constraints;"
                " loosen them"
            )
        return None
