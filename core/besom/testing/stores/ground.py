"""What the parts of the contract stand on: a clock in the test's hands, a store, words for common steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from besom.records import (
    Batch,
    HistoryRow,
    Metric,
    Outcome,
    Run,
    RunState,
    Suggestion,
    Sweep,
    SweepDraft,
    SweepState,
)
from besom.store.base import Store

MINUTE = 60.0


@dataclass
class Time:
    """The time a store under test sees; tests move its parts separately."""

    wall_now: float = 1_700_000_000.0
    lease_now: float = 1_000.0

    def wall(self) -> float:
        """The time of day."""
        return self.wall_now

    def lease(self) -> float:
        """The time leases are measured in."""
        return self.lease_now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_now += seconds
        self.lease_now += seconds


class Ground:
    """Fixtures and steps; the parts of the contract inherit them."""

    def open(self, folder: Path, time: Time) -> Store:
        """Open the store that lives in `folder`, on the given clock."""
        raise NotImplementedError

    @pytest.fixture
    def time(self) -> Time:
        return Time()

    @pytest.fixture
    def store(self, tmp_path: Path, time: Time) -> Iterator[Store]:
        store = self.open(tmp_path, time)
        yield store
        store.close()


def sweep_with(store: Store, points: int = 3, *, exhausted: bool = True, **draft: Any) -> Sweep:
    """Create a sweep with suggestions k0, k1, ... in its buffer."""
    draft = {
        "config": {"method": "grid"},
        "name": "demo",
        "method": "grid",
        "metric": Metric("loss"),
        **draft,
    }
    sweep = store.create_sweep(SweepDraft(**draft))
    assert store.offer(sweep.id, batch(range(points), exhausted=exhausted), version=1, cursor=0) == points
    return store.get_sweep(sweep.id)


def batch(numbers: Sequence[int], *, cursor: int | None = None, exhausted: bool = False) -> Batch:
    """Give a batch of the points with these numbers."""
    suggestions = tuple(point(number) for number in numbers)
    return Batch(suggestions, max(numbers, default=-1) + 1 if cursor is None else cursor, exhausted)


def point(number: int) -> Suggestion:
    """Give the suggestion k<number>."""
    return Suggestion(f"k{number}", {"x": number})


def claim(store: Store, sweep: Sweep, *, seconds: float = MINUTE) -> Run:
    """Claim a run that must be there."""
    run = store.claim(sweep.id, "agent", lease_seconds=seconds)
    assert run is not None
    return run


def claims_nothing(store: Store, sweep: Sweep) -> bool:
    """Say whether a claim comes back empty."""
    return store.claim(sweep.id, "agent", lease_seconds=MINUTE) is None


def finish(store: Store, run: Run, value: float | None = None, state: RunState = RunState.FINISHED) -> Run:
    """End a run."""
    return store.finish(run.lease, Outcome(state, exit_code=0, value=value))


def set_state(store: Store, sweep: Sweep, state: SweepState) -> Sweep:
    """Set a sweep's state from any other."""
    return store.set_sweep_state(sweep.id, state, allowed=tuple(SweepState))


def row(seq: int, **data: Any) -> HistoryRow:
    """Give a history row."""
    return HistoryRow(seq=seq, step=seq - 1, time=1.5 * seq, data=data or {"loss": 1 / seq})
