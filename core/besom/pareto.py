"""Which of several outcomes no other one beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def front(values: Sequence[Sequence[float]]) -> list[int]:
    """Give the indices of the rows that no other row dominates, in their order; lower is better.

    A row dominates another when it is at least as good in every column and better in one, so that equal rows
    stay together.
    """
    import numpy as np

    rows: Any = np.asarray(values, dtype=float)
    if not len(rows):
        return []
    # Along this order no row dominates one before it, so each is compared with what is left behind it.
    left: Any = np.lexsort(rows.T[::-1])
    found: list[int] = []
    while len(left):
        first = left[0]
        found.append(int(first))
        rest = left[1:]
        dominated = np.all(rows[first] <= rows[rest], axis=1) & np.any(rows[first] < rows[rest], axis=1)
        left = rest[~dominated]
    return sorted(found)
