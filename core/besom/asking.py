"""Ask and tell: a program of your own asks a sweep for points and tells it what became of them."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import StateError, UsageError
from besom.front import goals_of
from besom.jsonable import jsonable
from besom.records import Batch, Lease, Metric, Outcome, Params, Run, RunState
from besom.records import Sweep as SweepRecord
from besom.scheduler import Idle, Scheduler
from besom.store import open_store
from besom.summarize import lookup, summary_value
from besom.sweep import create_sweep, enqueue_run, sweep_id_of
from besom.sweepfile.tree import did_you_mean

if TYPE_CHECKING:
    from besom.store.base import Store

LEASE_SECONDS = 3600.0
PAUSE = 0.1
CLOSING_TRIES = 100
ENDINGS = {
    word.value: word for word in (RunState.FINISHED, RunState.FAILED, RunState.STOPPED, RunState.KILLED)
}


@dataclass(frozen=True, slots=True)
class AskedRun:
    """A point to evaluate; `attempt` counts how often it was handed out."""

    id: str
    params: Params
    attempt: int


class Sweep:
    """A sweep to ask for points: a new one from a config, or by its id one that is there.

    Everything is in the store, so several processes may ask one sweep, and a program that was killed goes on
    by the sweep's id. A run that is not told within `lease_seconds` is handed out again.
    """

    def __init__(
        self,
        sweep: Mapping[str, Any] | str,
        *,
        store: Store | str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        if not (lease_seconds > 0 and math.isfinite(lease_seconds)):
            raise UsageError(f"lease_seconds must be a number of seconds above 0, not {lease_seconds!r}")
        self._owned = store is None or isinstance(store, str)
        self.store = open_store(store) if store is None or isinstance(store, str) else store
        try:
            if isinstance(sweep, str):
                self.id = self.store.get_sweep(sweep_id_of(sweep)).id
            else:
                from besom.sweepfile import from_mapping

                self.id = create_sweep(self.store, from_mapping(sweep)).id
            agent = self.store.add_agent(self.id, host=socket.gethostname(), pid=os.getpid())
        except BaseException:
            self._let_go()
            raise
        self._scheduler = Scheduler(self.store, self.id, agent_id=agent.id, lease_seconds=lease_seconds)

    @property
    def record(self) -> SweepRecord:
        """Everything the store knows about the sweep."""
        return self.store.get_sweep(self.id)

    def ask(self, *, wait: float | None = None) -> AskedRun | None:
        """Give the next run; None when the sweep has no more, or none came within `wait` seconds.

        Without `wait` it waits as long as others run, the sweep is paused, or a custom one is open.
        """
        until = math.inf if wait is None else time.monotonic() + wait
        while True:
            answer = self._scheduler.claim()
            if isinstance(answer, Run):
                return AskedRun(answer.id, answer.params, answer.attempt)
            if answer is Idle.DONE or time.monotonic() >= until:
                return None
            if answer is not Idle.AGAIN:
                time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))

    def tell(
        self, run: AskedRun, result: float | Mapping[str, Any] | None = None, *, state: str = "finished"
    ) -> None:
        """End a run with its metric's value, or with a mapping of metrics.

        `state` is finished, failed, stopped or killed; a failed run may go without a result. UsageError if a
        finished one lacks the metric or a goal, or the sweep has none for a number. What was told once stays.
        StateError if the run was handed out again meanwhile, or ended otherwise.
        """
        if state not in ENDINGS:
            raise UsageError(f"tell(state={state!r}): it is one of {', '.join(ENDINGS)}")
        if result is None and state == "finished":
            raise UsageError("tell: give the metric's value or a mapping of metrics, or state='failed'")
        record = self.record
        metric = record.metric
        summary: dict[str, Any] = {}
        if isinstance(result, Mapping):
            summary = jsonable(result)
        elif result is not None:
            if metric is None:
                raise UsageError(f"sweep {self.id} has no metric to give a number to; tell a mapping instead")
            summary = jsonable({metric.name: result})
        if state == "finished":
            _require_goals(summary, goals_of(record))
        value = summary_value(summary, metric) if metric else None
        lease = Lease(run.id, run.attempt)
        ended = self.store.finish(lease, Outcome(ENDINGS[state], summary=summary, value=value))
        mine = [tried for tried in self.store.attempts(run.id) if tried.attempt == run.attempt]
        if ended.attempt != run.attempt or any(tried.superseded for tried in mine):
            raise StateError(
                f"run {run.id} was handed out again before it was told; ask with a longer lease_seconds"
            )

    def enqueue(self, params: Params) -> str:
        """Add a chosen point, to be run before all others, and give its run's id."""
        return enqueue_run(self.store, self.id, params).id

    def best(self) -> Run | None:
        """Give the best run so far; None when none has a value."""
        return self.store.best_run(self.id)

    def close(self) -> None:
        """Say that nothing will be proposed any more: agents take what is queued, and leave."""
        for _ in range(CLOSING_TRIES):
            sweep = self.record
            last = Batch((), sweep.cursor, exhausted=True)
            if self.store.offer(self.id, last, version=sweep.version, cursor=sweep.cursor) is not None:
                return
        raise StateError(f"sweep {self.id} keeps changing; close it again")

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._owned:
            self.store.close()


def _require_goals(summary: Mapping[str, Any], goals: Sequence[Metric]) -> None:
    """Refuse a result in which a goal is not even named; a NaN is a result, of a run that went wrong."""
    for goal in goals:
        if lookup(summary, goal.name.split(".")) is None:
            hint = did_you_mean(goal.name, summary)
            raise UsageError(
                f"tell: the mapping has no {goal.name!r}, which the sweep optimizes{hint};"
                " a run without a result is told as state='failed'"
            )
