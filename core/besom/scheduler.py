"""One step of a sweep: hand out the next run, refilling an empty buffer; judge what a run reports."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from besom.errors import StateError, StoreError
from besom.proposer import HANDING_OUT, Proposer, Refilled, StoreHistory
from besom.records import Batch, Directive, HistoryRow, Lease, Run, Sweep, SweepState
from besom.stopping import create_judge
from besom.store.base import MAX_CLAIMED

if TYPE_CHECKING:
    from besom.search.base import Method
    from besom.stopping.judge import Judge
    from besom.store.base import Store

__all__ = ["Idle", "Reporter", "Scheduler", "StoreHistory"]

log = logging.getLogger(__name__)

DEAR = frozenset({"bayes", "optuna", "ax"})
"""Methods whose suggestions cost more than a claim should wait for: they are made ahead."""

PATIENCE = 1.0  # seconds a claim waits for the sweep's proposer
PAUSE = 0.005
GUESSES = 8


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
        self._proposer = Proposer(store)
        self._asked_at: float | None = None  # since when the proposer is waited for
        self._in_vain = 0  # guesses since the latest one that was new

    def claim(self) -> Run | Idle:
        """Give the next run with a lease for this agent, or why there is none: a batch of one."""
        answer = self.claim_batch(1)
        return answer if isinstance(answer, Idle) else answer[0]

    def claim_batch(self, count: int) -> list[Run] | Idle:
        """Give up to `count` of the next runs, with leases for this agent, or why there is none.

        They are those that wait already, so that none is held up: another call may give more. Asks the method
        only when nothing waits, and once at most, so that the caller is back soon also where nothing new is
        far away. Finishes the sweep when nothing can come any more.

        While another holds the sweep's proposer lease, its suggestions are waited for, a moment per call and
        `PATIENCE` seconds in all; then a point is guessed.
        """
        runs = self._take(count)
        if runs:
            return runs
        if not self._proposer.may_refill(self.sweep):
            return self._idle()
        if self.sweep.method not in DEAR:
            return self._refill(None, count)
        seconds = self._proposer.lease_seconds
        lease = self.store.lease_proposer(self.sweep.id, self.agent_id, lease_seconds=seconds)
        if lease is None:
            return self._await_proposer()
        try:
            return self._refill(lease, count)
        finally:
            self.store.lease_proposer(self.sweep.id, self.agent_id, lease_seconds=0)

    def _refill(self, term: int | None, count: int) -> list[Run] | Idle:
        refilled = self._proposer.refill(self.sweep, term=term)
        if refilled is Refilled.NOTHING:
            return self._idle()
        if refilled is Refilled.SEEN:
            return Idle.AGAIN
        runs = self._take(count)
        if runs:
            return runs
        return self._idle() if self.sweep.exhausted else Idle.AGAIN

    def _await_proposer(self) -> list[Run] | Idle:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        if now - self._asked_at < PATIENCE:
            time.sleep(PAUSE)
            return Idle.AGAIN
        self._asked_at = None
        return self._guess()

    def _guess(self) -> list[Run] | Idle:
        """Take a guess that is new; the cursor stays, so that the proposer's work is not lost."""
        from besom.search.guess import guess
        from besom.sweepfile import from_mapping

        sweep = self.sweep
        config = from_mapping(sweep.config, source=f"sweep {sweep.id}")
        best, started = self.store.best_run(sweep.id), self.store.progress(sweep.id).started
        first = started + self._in_vain
        for index in range(first, first + GUESSES):
            suggestion = guess(config.space, config.seed or 0, index, best.params if best else None)
            if suggestion is None:
                continue
            batch = Batch((suggestion,), sweep.cursor)
            if self.store.offer(sweep.id, batch, version=sweep.version, cursor=sweep.cursor) != 0:
                self._in_vain = 0
                return self._take(1) or Idle.AGAIN
        self._in_vain += GUESSES
        return Idle.AGAIN

    @property
    def method(self) -> Method:
        """The method of the sweep's present config."""
        return self._proposer.method(self.sweep)

    def _take(self, count: int) -> list[Run]:
        sweep_id, lease_seconds = self.sweep.id, self.lease_seconds
        if count == 1:
            run = self.store.claim(sweep_id, self.agent_id, lease_seconds=lease_seconds)
            runs = [] if run is None else [run]
        else:
            most = min(count, MAX_CLAIMED)
            runs = self.store.claim_batch(sweep_id, self.agent_id, most, lease_seconds=lease_seconds)
        if runs:
            self._asked_at = None
        try:
            self.sweep = self.store.get_sweep(sweep_id)
        except StoreError:
            if not runs:
                raise  # else they would wait for their leases to run out
        return runs

    def _idle(self) -> Idle:
        if self.sweep.state is SweepState.PAUSED:
            return Idle.PAUSED
        if self.sweep.state not in HANDING_OUT:
            return Idle.DONE
        self.sweep = self.store.finish_sweep(self.sweep.id)
        return Idle.WAIT if self.sweep.state in HANDING_OUT else Idle.DONE


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
    if sweep is None or sweep.metric is None:
        return None
    if sweep.method != "pbt" and not sweep.config.get("early_terminate"):
        return None  # most runs: the config is not even parsed
    from besom.sweepfile import from_mapping

    try:
        config = from_mapping(sweep.config, source=f"sweep {sweep.id}")
        return create_judge(store, lease, sweep.id, config)
    except Exception:
        log.exception("early termination is off for run %s: its stopper cannot be made", lease.run_id)
        return None
