"""The agent for a Python function: `besom.agent(sweep_id, function=train)`."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable

from besom.agent.breaker import Breaker
from besom.agent.options import AgentOptions, AgentResult
from besom.agent.patience import Patience
from besom.agent.prepare import prepare_folder
from besom.errors import RunFailedError, RunStopped, StoreError, StorePlaceError, StoreVersionError
from besom.records import Outcome, Run, RunState
from besom.run import assigned
from besom.scheduler import Idle, Scheduler
from besom.store.base import Store

log = logging.getLogger(__name__)

_IDLE_FIRST, _IDLE_LONGEST = 0.05, 1.0
_OPTIONS = AgentOptions()


def run_function_agent(
    store: Store, sweep_id: str, function: Callable[[], object], *, count: int | None = None
) -> AgentResult:
    """Take runs from a sweep and call `function` for each, one after another, in this thread.

    Inside it `besom.init()` gives the run. What it raises fails that run and is logged; RunStopped stops it;
    KeyboardInterrupt gives the run back to the queue and goes on to the caller. RunFailedError when runs keep
    failing, NotFoundError when there is no such sweep, StoreError when the store stays away.
    """
    agent = store.add_agent(sweep_id, host=socket.gethostname(), pid=os.getpid())
    scheduler = Scheduler(store, sweep_id, agent_id=agent.id)
    breaker = Breaker(_OPTIONS, os.environ, now=time.monotonic())
    counts: Counter[RunState] = Counter()
    taken = 0
    while count is None or taken < count:
        run = _next_run(scheduler)
        if run is None:
            return AgentResult(0, f"the sweep is {scheduler.sweep.state.value}", dict(counts))
        taken += 1
        state = _call(store, scheduler, run, function)
        counts[state] += 1
        breaker.record(state, now=time.monotonic())
        if breaker.tripped:
            error = store.get_run(run.id).error or "see the log above"
            raise RunFailedError(f"{breaker.tripped}; the latest is {run.name}: {error}")
    return AgentResult(0, "took as many runs as it was to", dict(counts))


def _next_run(scheduler: Scheduler) -> Run | None:
    """Wait for a run; None when the sweep has no more."""
    pause = _IDLE_FIRST
    patience = Patience()
    while True:
        try:
            answer = scheduler.claim()
        except (StoreVersionError, StorePlaceError):
            raise
        except StoreError as error:
            log.warning("the store fails: %s; trying again", error)
            if patience.failed(now=time.monotonic()) > _OPTIONS.store_patience:
                raise
            time.sleep(max(0.0, patience.retry_at - time.monotonic()))
            continue
        patience.worked()
        if isinstance(answer, Run):
            return answer
        if answer is Idle.DONE:
            return None
        time.sleep(pause)
        pause = min(2 * pause, _IDLE_LONGEST)


def _call(store: Store, scheduler: Scheduler, run: Run, function: Callable[[], object]) -> RunState:
    """Run the function as a run; give how that attempt ended."""
    folder = prepare_folder(store, run, scheduler.sweep)
    interrupted: KeyboardInterrupt | None = None
    try:
        with assigned(run, scheduler.sweep, store, folder) as live:
            try:
                function()
            except KeyboardInterrupt as error:
                interrupted = error
                live.leave()
    except RunStopped:
        pass
    except SystemExit as error:
        if error.code:
            log.warning("run %s: its function left with exit code %s", run.name, error.code)
    except Exception:
        log.exception("run %s failed", run.name)
    if interrupted is not None:
        store.finish(run.lease, Outcome(RunState.PREEMPTED))
        raise interrupted
    return next(tried.state for tried in store.attempts(run.id) if tried.attempt == run.attempt)
