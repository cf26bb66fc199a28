"""What becomes of a driver's runs in the store: what they report, how they end, and how many ended how."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable

from besom.agent.breaker import Breaker
from besom.agent.ending import counts
from besom.agent.options import AgentEvent, AgentOptions, EventKind
from besom.errors import NotFoundError, StoreError
from besom.records import ENDED, Directive, Outcome, Run, RunState, Sweep
from besom.store.base import Store
from besom_sagemaker.mirror import Mirror

log = logging.getLogger(__name__)


class Book:
    """Writes a driver's runs into the store."""

    def __init__(self, store: Store, *, lease_seconds: float, on_event: Callable[[AgentEvent], None]) -> None:
        self.counts: Counter[RunState] = Counter()
        self.taken: set[str] = set()
        """Ids of the runs that were taken and not given back."""
        self.tripped = ""
        """Why no more runs should be taken, once too many have failed."""
        self._store, self._lease_seconds, self._on_event = store, lease_seconds, on_event
        self._breaker = Breaker(AgentOptions(), os.environ, now=time.monotonic())

    def emit(
        self, kind: EventKind, run: Run | None = None, *, outcome: Outcome | None = None, detail: str = ""
    ) -> None:
        """Tell whoever watches."""
        self._on_event(AgentEvent(kind, run, outcome, detail))

    def finish(self, run: Run, outcome: Outcome) -> None:
        """End a run; one that was removed, or lost to somebody else, is told as lost."""
        try:
            ended = self._store.finish(run.lease, outcome)
        except NotFoundError:
            self.emit("lost", run)
            return
        if not counts(ended, run.lease, outcome):
            self.emit("lost", ended)
            return
        self.counts[outcome.state] += 1
        if ended.state not in ENDED:  # queued again: preempted, or it failed and has attempts left
            self.taken.discard(run.id)
        self.emit("ended", ended, outcome=outcome)
        self._breaker.record(outcome.state, now=time.monotonic())
        if self._breaker.tripped and not self.tripped:
            self.tripped = f"{self._breaker.tripped}; the latest is {ended.name}: {outcome.error}"

    def deliver(self, mirror: Mirror, sweep: Sweep) -> Directive | None:
        """Bring what has come home of a run into the store, whatever it is; gives what is wanted of it."""
        if mirror.unstorable:
            return None
        try:
            return mirror.deliver(self._store, sweep, lease_seconds=self._lease_seconds)
        except NotFoundError:
            mirror.unstorable = True
            return Directive("lost", "the run was removed")
        except StoreError:
            raise
        except Exception as error:
            log.exception("run %s: what it reported cannot be stored", mirror.run.id)
            mirror.unstorable = True
            if not mirror.settled:
                self.finish(mirror.run, Outcome(RunState.FAILED, error=f"cannot be stored: {error}"))
                mirror.settled = True
            return Directive("kill", "what it reported cannot be stored")
