"""Custom: a sweep that proposes nothing itself; its runs are enqueued from outside.

Agents wait for enqueued runs until the sweep is closed (`besom.Sweep.close`), and then take what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from besom.records import Batch
from besom.search.base import History

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


class Custom:
    """Waits: whatever runs was enqueued."""

    lookahead = 1

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        """Propose nothing; the cursor stays, so nobody asks again and again."""
        del count, history
        return Batch((), cursor)


def create_custom(config: SweepConfig) -> Custom:
    """Build the method; it needs nothing from the config."""
    del config
    return Custom()
