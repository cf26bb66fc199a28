"""The Method protocol: how a sweep decides what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from besom.records import Batch, Observation, Params


class History(Protocol):
    """What a method may read of its sweep; nothing is loaded that is not asked for."""

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        """Give ended runs with `changed` above `after`, in that order."""
        ...

    def active(self) -> Sequence[Params]:
        """Give the parameters of what is running, queued or buffered."""
        ...


class Method(Protocol):
    """Proposes points. A pure function of its sweep's config, the cursor and the history.

    It keeps nothing that a restart would lose.

    `lookahead` is how many suggestions may wait in the buffer without getting worse for it: many for grid and
    random, few for methods that learn.
    """

    lookahead: int

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose up to `count` points after `cursor`.

        The batch may be empty, short or hold points that were run before (the store drops those); then it
        is asked again from the batch's cursor, which has moved. `exhausted` says that nothing follows.
        """
        ...
