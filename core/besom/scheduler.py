"""One step of a sweep: hand out the next run, refilling an empty buffer; judge what a run reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from besom.errors import StateError
from besom.records import (
    Batch,
    Directive,
    HistoryRow,
    Lease,
    Observation,
    Params,
    Run,
    Sweep,
    SweepState,
)
from besom.stopping import create_judge

if TYPE_CHECKING:
    from besom.search.base import Method
    from besom.stopping.judge import Judge
    from besom.store.base import Store

log = logging.getLogger(__name__)

PAGE = 1000  # rows read at a time, so that memory stays flat
LARGEST_BATCH = 16_384  # suggestions asked for at a time while a nearly finished space is walked
HANDING_OUT = frozenset({SweepState.PENDING, SweepState.RUNNING})


class Idle(Enum):
    """Why there is no run to hand out."""

    WAIT = "wait"  # runs of this sweep still run and may come back
    AGAIN = "again"  # the method has moved on without finding anything new: ask again at once
    PAUSED = "paused"
    DONE = "done"


class Scheduler:
    """Hands out a sweep's runs to one agent."""

    def __init__(self, store: Store, sweep_id: str, *, agent_id: str, lease_seconds: float = 60.0) -> None:
        self.store = store
        self.agent_id = agent_id
        self.lease_seconds = lease_seconds
        self.sweep: Sweep = store.get_sweep(sweep_id)
        """The sweep as it stood at the latest claim."""
        self._method: tuple[int, Method] | None = None  # and the version of the config it was made from
        self._stride = 0  # suggestions to ask for at least, after a batch without anything new

    def claim(self) -> Run | Idle:
        """Give the next run with a lease for this agent, or why there is none.

        Asks the method for more only when nothing waits, and once at most, so that the caller is back soon
        also where nothing new is far away. Finishes the sweep when nothing can come any more.
        """
        run = self._take()
        if run is not None:
            return run
        batch = self._propose()
        if batch is None:
            return self._idle()
        new = self.store.offer(self.sweep.id, batch, version=self.sweep.version, cursor=self.sweep.cursor)
        # Points that were run before are walked in ever longer strides.
        self._stride = min(LARGEST_BATCH, 4 * max(self._stride, self.method.lookahead)) if new == 0 else 0
        if new == 0 and not batch.exhausted:
            return Idle.AGAIN
        run = self._take()
        if run is not None:
            return run
        return self._idle() if self.sweep.exhausted else Idle.AGAIN

    def _take(self) -> Run | None:
        run = self.store.claim(self.sweep.id, self.agent_id, lease_seconds=self.lease_seconds)
        self.sweep = self.store.get_sweep(self.sweep.id)
        return run

    @property
    def method(self) -> Method:
        """The method of the sweep's present config."""
        if self._method is None or self._method[0] != self.sweep.version:
            from besom.search import create_method
            from besom.sweepfile import from_mapping

            config = from_mapping(self.sweep.config, source=f"sweep {self.sweep.id}")
            self._method = (self.sweep.version, create_method(config))
        return self._method[1]

    def _propose(self) -> Batch | None:
        """Ask the method for what may follow; None when nothing may, or it waits for results itself."""
        sweep = self.sweep
        if sweep.state not in HANDING_OUT or sweep.exhausted:
            return None
        room = self._room()
        if room == 0:
            return None
        history = StoreHistory(self.store, sweep.id)
        count = max(self._stride, self.method.lookahead)
        if room is not None and self._stride == 0:
            count = min(count, room)
        batch = self.method.suggest(sweep.cursor, count, history)
        if room is not None and (fitting := self._fitting(batch, room)) is not None:
            batch = self.method.suggest(sweep.cursor, fitting, history)
        if not batch.suggestions and not batch.exhausted and batch.cursor == sweep.cursor:
            return None
        return batch

    def _room(self) -> int | None:
        """Count the runs that `run_cap` still allows; None when there is no cap."""
        if self.sweep.run_cap is None:
            return None
        progress = self.store.progress(self.sweep.id)
        return max(0, self.sweep.run_cap - progress.started - progress.buffered)

    def _fitting(self, batch: Batch, room: int) -> int | None:
        """Give how many suggestions to ask for so that at most `room` are new; None when `batch` is fine."""
        if len(batch.suggestions) <= room:
            return None
        new = 0
        for index, suggestion in enumerate(batch.suggestions):
            new += self.store.find_key(self.sweep.id, suggestion.key) is None
            if new > room:
                return index
        return None

    def _idle(self) -> Idle:
        if self.sweep.state is SweepState.PAUSED:
            return Idle.PAUSED
        if self.sweep.state not in HANDING_OUT:
            return Idle.DONE
        self.sweep = self.store.finish_sweep(self.sweep.id)
        return Idle.WAIT if self.sweep.state in HANDING_OUT else Idle.DONE


@dataclass(frozen=True, slots=True)
class StoreHistory:
    """What a method may read of its sweep, fetched only when it asks."""

    store: Store
    sweep_id: str

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        """Give ended runs with `changed` above `after`, in that order."""
        found: list[Observation] = []
        while page := self.store.observations(self.sweep_id, after=after, limit=PAGE):
            found += page
            after = page[-1].changed
        return found

    def active(self) -> Sequence[Params]:
        """Give the parameters of what is running, queued or buffered."""
        return self.store.active(self.sweep_id)


class Reporter:
    """Stores what one attempt at a run logs, and asks the sweep's stopper whether the run should go on."""

    def __init__(
        self, store: Store, lease: Lease, sweep: Sweep | None, *, lease_seconds: float = 60.0
    ) -> None:
        self.store = store
        self.lease = lease
        self.lease_seconds = lease_seconds
        self._judge = _judge(store, lease, sweep)

    def report(
        self,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
    ) -> Directive:
        """Store rows, summary and metric; say what is wanted of the run.

        A stopper that fails is logged and never disturbs the run.
        """
        new = self._judge.unseen(rows) if self._judge else ()
        directive = self.store.report(
            self.lease, rows, summary=summary, value=value, lease_seconds=self.lease_seconds
        )
        if self._judge is None or not new or directive.action in ("kill", "lost"):
            return directive
        try:
            reason = self._judge.stop_reason(new)
            if reason is None or directive.action == "stop":
                return directive
            self.store.request_stop(self.lease.run_id, reason)
        except StateError:  # the run has ended meanwhile
            return directive
        except Exception:
            log.exception("early termination could not judge run %s; it goes on", self.lease.run_id)
            return directive
        return Directive("stop", reason)


def _judge(store: Store, lease: Lease, sweep: Sweep | None) -> Judge | None:
    if sweep is None or sweep.metric is None or not sweep.config.get("early_terminate"):
        return None  # most runs: the config is not even parsed
    from besom.sweepfile import from_mapping

    try:
        config = from_mapping(sweep.config, source=f"sweep {sweep.id}")
        return create_judge(store, lease, sweep.id, config)
    except Exception:
        log.exception("early termination is off for run %s: its stopper cannot be made", lease.run_id)
        return None
