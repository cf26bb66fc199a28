"""Fills a batch from a source of points, skipping those that a constraint rules out or that came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from besom.records import Batch, Params, Suggestion
from besom.space import SearchSpace

MAX_TRIES = 10_000
"""Cursors that one call looks at: it always returns soon, with the cursor moved."""

DONE = 2**62
"""The cursor behind the last suggestion of a method that tells its end from its history."""

LOOKAHEAD = 64
"""How many suggestions may wait: they do not get worse for it, and filling the buffer is rare."""


def collect(
    space: SearchSpace, cursors: Iterable[int], count: int, point_at: Callable[[int], Params | None]
) -> tuple[tuple[Suggestion, ...], int]:
    """Give up to `count` different suggestions from the points at `cursors`, and how many were looked at."""
    found: dict[str, Suggestion] = {}
    used = 0
    for cursor in cursors:
        if len(found) >= count:
            break
        used += 1
        point = point_at(cursor)
        if point is not None:
            suggestion = space.suggestion(point)
            found.setdefault(suggestion.key, suggestion)
    return tuple(found.values()), used


def batch(found: tuple[Suggestion, ...], cursor: int, end: int | None) -> Batch:
    """Give a batch that is exhausted once the cursor has reached the end."""
    return Batch(found, cursor, exhausted=end is not None and cursor >= end)
