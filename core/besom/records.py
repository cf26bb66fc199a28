"""The frozen records that travel between besom's layers, and the states they can be in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, cast

Params = Mapping[str, Any]
"""A run's parameters as its program sees them: JSON values, nested where the sweep file nests."""

Goal = Literal["minimize", "maximize"]


class SweepState(str, Enum):
    """Where a sweep stands."""

    PENDING = "pending"  # no agent has joined yet
    RUNNING = "running"
    PAUSED = "paused"  # no new runs; running ones go on; agents wait
    STOPPED = "stopped"  # no new runs; running ones go on; agents leave
    FINISHED = "finished"  # every point has been handed out and has ended, or run_cap or target is reached
    CANCELED = "canceled"  # no new runs; running ones are killed


class RunState(str, Enum):
    """Where a run stands."""

    PENDING = "pending"  # waits in the queue: enqueued, to be retried, or its agent died
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # ended early on request or by a Stopper: a good ending
    FAILED = "failed"  # its program ended with an error
    CRASHED = "crashed"  # its lease ran out too often
    KILLED = "killed"  # its sweep was canceled
    PREEMPTED = "preempted"  # was interrupted and waits in the queue to go on


QUEUED = frozenset({RunState.PENDING, RunState.PREEMPTED})
GOOD_ENDINGS = frozenset({RunState.FINISHED, RunState.STOPPED})
BAD_ENDINGS = frozenset({RunState.FAILED, RunState.CRASHED})
ENDED = GOOD_ENDINGS | BAD_ENDINGS | {RunState.KILLED}

Source = Literal["method", "enqueued", "prior", "solo"]
"""Where a run's parameters come from; `solo` is a run outside every sweep."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a run must keep to be of use: bounds, inclusive, of a (dotted) key of the summary."""

    name: str
    min: float | None = None
    max: float | None = None

    def room(self, summary: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Give how far inside each of its bounds a summary is, below 0 outside; None without the number."""
        value = metric_value(summary, self.name)
        if value is None:
            return None
        low = () if self.min is None else (value - self.min,)
        high = () if self.max is None else (self.max - value,)
        return (*low, *high)

    def kept(self, summary: Mapping[str, Any]) -> bool:
        """Say whether a summary has the number, within the bounds."""
        room = self.room(summary)
        return room is not None and all(distance >= 0 for distance in room)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a sweep optimises: a (dotted) key of the summary and the direction that is better."""

    name: str
    goal: Goal = "minimize"
    target: float | None = None
    impute: Literal["latest", "best", "worst"] = "worst"
    impute_while_running: Literal["latest", "best", "worst", "false"] = "false"
    limits: tuple[Limit, ...] = ()  # all that the sweep's runs must keep

    def feasible(self, summary: Mapping[str, Any]) -> bool:
        """Say whether a summary keeps every limit."""
        return all(limit.kept(summary) for limit in self.limits)

    def better(self, a: float, b: float) -> bool:
        """Say whether `a` is strictly better than `b`."""
        return a < b if self.goal == "minimize" else a > b

    def reached(self, value: float) -> bool:
        """Say whether `value` is at least as good as the target; never when there is none."""
        return self.target is not None and not self.better(self.target, value)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point to run; `key` is equal exactly for equal points of one sweep."""

    key: str
    params: Params


@dataclass(frozen=True, slots=True)
class Segment:
    """A run's place in population-based training: it trains one member for one generation, both from 0.

    `parent` is the id of the run whose checkpoint it goes on from; None where it starts from nothing.
    """

    generation: int
    member: int
    parent: str | None = None

    @property
    def key(self) -> str:
        """The key of its suggestion; who goes on with whom is kept nowhere else."""
        return f"pbt:{self.generation}:{self.member}:{self.parent or ''}"

    @classmethod
    def of(cls, key: str) -> Segment | None:
        """Read a key; None for one that is of no segment."""
        kind, *parts = key.split(":")
        if kind != "pbt" or len(parts) != 3:
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2] or None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A suggestion in the buffer, out of date once `stale_at` runs have ended; never if that is None."""

    key: str
    params: Params
    stale_at: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What a method proposes next, the cursor after it, and whether nothing can follow."""

    suggestions: tuple[Suggestion, ...]
    cursor: int
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class SweepDraft:
    """A sweep to be created; `config` is the sweep file as JSON, `text` as the user wrote it."""

    config: Mapping[str, Any]
    name: str
    method: str
    metric: Metric | None = None
    run_cap: int | None = None
    max_attempts: int | None = None
    expected_runs: int | None = None
    project: str | None = None
    entity: str | None = None
    text: str | None = None
    folder: str | None = None  # where the sweep file lies; programs are looked up there too


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as the store knows it; times are seconds since the epoch, by the store's clock."""

    id: str
    name: str
    state: SweepState
    method: str
    config: Mapping[str, Any]
    metric: Metric | None
    run_cap: int | None
    max_attempts: int | None
    expected_runs: int | None
    project: str | None
    entity: str | None
    text: str | None
    folder: str | None
    version: int  # grows with every `extend`
    cursor: int  # how far the method has got; only the method reads meaning into it
    exhausted: bool
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to report for a run; a later attempt takes it away."""

    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the store knows it; `value` is its metric, None unless finite."""

    id: str
    sweep_id: str | None
    number: int  # 1, 2, ... in its sweep, in the order of first claims
    name: str
    state: RunState
    params: Params
    key: str
    source: Source
    attempt: int  # 0 until first claimed
    failures: int
    crashes: int
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    value: float | None
    agent_id: str | None
    stop_reason: str | None  # set once a stop was asked for
    exit_code: int | None
    error: str | None
    created: float
    started: float | None  # of the latest attempt
    ended: float | None
    changed: int  # grows with every change of state anywhere in the store

    @property
    def lease(self) -> Lease:
        """The lease of the latest attempt."""
        return Lease(self.id, self.attempt)

    @property
    def parent(self) -> str | None:
        """The run whose checkpoint this one goes on from, in population-based training."""
        segment = Segment.of(self.key)
        return None if segment is None else segment.parent


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a run; `superseded` when its result came after its lease was lost."""

    run_id: str
    attempt: int
    agent_id: str | None
    started: float
    ended: float | None
    state: RunState  # RUNNING until it ends
    superseded: bool
    exit_code: int | None
    error: str | None
    summary: Mapping[str, Any]
    value: float | None


@dataclass(frozen=True, slots=True)
class Agent:
    """A process that takes runs from a sweep."""

    id: str
    sweep_id: str
    host: str
    pid: int
    started: float
    seen: float
    job: str | None = None  # the scheduler's job it is in, as "slurm:1234_7"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One `run.log` call; `seq` grows along an attempt's journal and makes replay idempotent."""

    seq: int
    step: int
    time: float
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Directive:
    """What the store wants of a running run, given back with every report and heartbeat."""

    action: Literal["continue", "stop", "kill", "lost"] = "continue"
    reason: str = ""


CONTINUE = Directive()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; `state` is one of FINISHED STOPPED FAILED KILLED PREEMPTED."""

    state: RunState
    exit_code: int | None = None
    error: str | None = None
    summary: Mapping[str, Any] | None = None  # None keeps what was reported, the value too
    value: float | None = None  # the metric in the summary


@dataclass(frozen=True, slots=True)
class Observation:
    """What a method learns from one run: its point, how it stands, and its metric if finite."""

    run_id: str
    state: RunState
    params: Params
    value: float | None
    changed: int
    summary: Mapping[str, Any] | None = None  # only where it was asked for
    key: str | None = None  # only where it was asked for
    marks: Mapping[int, float] | None = None  # finite losses by rung, only where they were asked for


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is: runs by state, Est. Runs, and what a method still has in the buffer."""

    state: SweepState
    counts: Mapping[RunState, int] = field(default_factory=dict[RunState, int])
    expected: int | None = None
    exhausted: bool = False
    buffered: int = 0
    best: float | None = None
    started: int = 0  # runs that were handed out at least once: what run_cap limits

    def count(self, *states: RunState) -> int:
        """Give the number of runs in any of `states`; of all runs when none is named."""
        return sum(self.counts.get(state, 0) for state in states or RunState)


def metric_value(summary: Mapping[str, Any], name: str) -> float | None:
    """Give the finite number under `name`, a key or a dotted path; None when there is none."""
    found: Any = summary.get(name)
    if found is None:
        found = summary
        for part in name.split("."):
            found = cast("Mapping[str, Any]", found).get(part) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
