"""Rungs: where on the resource axis runs are compared."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from besom.stopping.base import Point

MAX_RUNG = 2**53  # no run gets further; keeps the rungs finite for any eta


def geometric(first: float, eta: float, *, end: float = MAX_RUNG, most: int = 100) -> tuple[int, ...]:
    """Give up to `most` rungs `first`, `first*eta`, ..., none beyond `end`; equal ones are one."""
    rungs: set[int] = set()
    rung = first
    for _ in range(most):
        if rung > end:
            break
        rungs.add(int(rung))
        rung *= eta
    return tuple(sorted(rungs))


def passed_now(rungs: Sequence[int], point: Point) -> Sequence[int]:
    """Give the ascending rungs that a report passes: one, more when the resource leaps, mostly none."""
    return rungs[bisect_right(rungs, point.since) : bisect_right(rungs, point.resource)]


def last_passed(rungs: Sequence[int], point: Point) -> int | None:
    """Give the last of the ascending rungs that a run has reached; None before the first."""
    passed = bisect_right(rungs, max(point.since, point.resource))
    return rungs[passed - 1] if passed else None
