"""What an agent is asked to do, what it tells while it works, and what it leaves with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from besom.records import Outcome, Run, RunState


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """How an agent works; all times in seconds."""

    count: int | None = None  # runs to take before leaving; None: as many as there are
    workers: int = 1  # runs at a time
    gpus_per_run: int = 0
    forward_signals: bool = False  # what the agent receives goes to its programs too
    timeout: float | None = None  # how long a run may take
    grace: float = 30.0  # from SIGTERM to SIGKILL
    wait: bool = True  # False: leave instead of waiting for what others run, or for a paused sweep
    lease_seconds: float = 60.0
    show_output: bool = False  # an event for every line a program prints
    flapping: bool = True  # leave when the first runs all fail
    max_initial_failures: int = 5
    max_consecutive_failures: int | None = None
    store_patience: float = 300.0  # how long to go on without a store
    allow_programs: Sequence[str] = ()  # run these files only; by default any, from a server any here
    allow_any_command: bool = False  # also what a server's sweep says


EventKind = Literal[
    "joined",  # detail: the agent's id
    "started",  # a program was started
    "output",  # detail: a line it printed
    "stopping",  # a program is being ended; detail: why
    "ended",  # outcome says how; `run` is as the store has it now, queued again or ended
    "lost",  # a later attempt has the run; nothing of this one was kept
    "waiting",  # nothing to take now, but runs of others may come back
    "paused",
    "store",  # the store fails; detail: how
    "leaving",  # no more runs are taken; detail: why
]


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """Something that happened to an agent or one of its runs."""

    kind: EventKind
    run: Run | None = None
    outcome: Outcome | None = None
    detail: str = ""


def ignore(event: AgentEvent) -> None:
    """Take an event and do nothing about it."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How an agent left.

    `exit_code` is 0 when there was nothing left to do, 1 when its runs kept failing, 128 + N when signal N
    told it to leave. `reason` is for people.
    """

    exit_code: int
    reason: str = ""
    counts: Mapping[RunState, int] = field(default_factory=dict[RunState, int])  # how its runs ended
