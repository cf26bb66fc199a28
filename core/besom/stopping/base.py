"""The Stopper protocol: whether a running run is worth going on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Point:
    """One value of the sweep's metric; a loss is the metric, negated where the goal is to maximize."""

    run_id: str
    count: int  # finite values of this run so far, this one included
    step: int
    loss: float
    best: float  # lowest loss of this run so far, this one included
    resource: float  # where the run stands on the sweep's resource axis: `count` unless the sweep says else
    since: float  # the furthest it stood before; rungs in (since, resource] are passed by this value
    improved: float  # resource at which the loss last fell below all before by more than `min_delta`

    def passes(self, rung: float) -> bool:
        """Say whether this value is the first at or beyond a rung."""
        return self.since < rung <= self.resource


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to stop, and why, in one sentence."""

    stop: bool
    reason: str


class Board(Protocol):
    """What the runs of a sweep have left at its rungs, as seen by the run that is judged."""

    def size(self, rung: int) -> int:
        """Count the runs that have reached a rung."""
        ...

    def kth(self, rung: int, k: int) -> float:
        """Give the `k`-th lowest loss (from 0) at a rung."""
        ...

    def own(self, rung: int) -> float | None:
        """Give the loss that the judged run itself has left at a rung; None if it left none."""
        ...

    def leader(self) -> Mapping[int, float]:
        """Give what the best other run has left, loss by rung; nothing while the judged run is the best."""
        ...


class Stopper(Protocol):
    """Judges a run at its reports against what others had at the same rung; keeps no state of its own."""

    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        """Give the (rung, loss) pairs that this report leaves for all to see; mostly none."""
        ...

    def judge(self, point: Point, board: Board) -> Verdict:
        """Say whether the run should stop; called after its marks are on the board."""
        ...
