"""The agent for a Python function: `besom.agent(sweep_id, function=train)`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from besom.agent.ahead import Ahead
from besom.agent.breaker import Breaker
from besom.agent.news import FIRST_PAUSE, LONGEST_PAUSE, WAIT
from besom.agent.options import AgentOptions, AgentResult
from besom.agent.patience import Pause, patiently
from besom.agent.platform import this_job
from besom.agent.prepare import prepare_folder
from besom.agent.settle import end_attempt
from besom.errors import BesomError, NotFoundError, RunFailedError, RunStopped
from besom.folders import RunFolder, besom_dir
from besom.journal import Replayed
from besom.records import Outcome, Run, RunState
from besom.run import assigned
from besom.run.outcome import cause_of_exit
from besom.scheduler import Idle, Reporter, Scheduler
from besom.store.base import Store

log = logging.getLogger(__name__)

_OPTIONS = AgentOptions()
_PATIENCE = _OPTIONS.store_patience


def run_function_agent(
    store: Store,
    sweep_id: str,
    function: Callable[[], object],
    *,
    count: int | None = None,
    max_consecutive_failures: int | None = None,
) -> AgentResult:
    """Take runs from a sweep and call `function` for each, one after another, in this thread.

    Inside it `besom.init()` gives the run. What it raises fails that run and is logged; RunStopped stops it;
    KeyboardInterrupt gives the run back to the queue and goes on to the caller. RunFailedError when runs keep
    failing, OSError when a run's folder cannot be written, NotFoundError when there is no such sweep,
    StoreError when the store stays away.
    """
    home = besom_dir()  # the function may change the working directory
    agent = store.add_agent(sweep_id, host=socket.gethostname(), pid=os.getpid(), job=this_job(os.environ))
    scheduler = Scheduler(store, sweep_id, agent_id=agent.id)
    options = dataclasses.replace(_OPTIONS, max_consecutive_failures=max_consecutive_failures)
    breaker = Breaker(options, os.environ, now=time.monotonic())
    counts: Counter[RunState] = Counter()
    taken = 0
    with Ahead(scheduler) as ahead:
        while count is None or taken < count:
            run = _next_run(scheduler)
            if run is None:
                return AgentResult(0, f"the sweep is {scheduler.sweep.state.value}", dict(counts))
            ahead.look()
            taken += 1
            state = _call(store, scheduler, run, home, function)
            if state is None:  # the run was removed
                continue
            counts[state] += 1
            breaker.record(state, now=time.monotonic())
            if breaker.tripped:
                error = store.get_run(run.id).error or "see the log above"
                raise RunFailedError(f"{breaker.tripped}; the latest is {run.name}: {error}")
    return AgentResult(0, "took as many runs as it was to", dict(counts))


def _next_run(scheduler: Scheduler) -> Run | None:
    """Wait for a run; None when the sweep has no more."""
    pause = Pause(FIRST_PAUSE, LONGEST_PAUSE)
    seen = ""
    while True:
        answer = patiently(scheduler.claim, longest=_PATIENCE)
        if isinstance(answer, Run):
            return answer
        if answer is Idle.DONE:
            return None
        if answer is not Idle.AGAIN:
            time.sleep(pause.next())
            seen = patiently(functools.partial(_wait, scheduler, seen), longest=_PATIENCE)


def _wait(scheduler: Scheduler, seen: str) -> str:
    return scheduler.store.wait(scheduler.sweep.id, seen, seconds=WAIT)


def _call(
    store: Store, scheduler: Scheduler, run: Run, home: Path, function: Callable[[], object]
) -> RunState | None:
    """Run the function as a run; give how that attempt ended, None if the run is gone."""
    try:
        folder = patiently(lambda: prepare_folder(store, run, scheduler.sweep, home), longest=_PATIENCE)
    except BaseException:
        _give_back(store, run)
        raise
    interrupted: KeyboardInterrupt | None = None
    try:
        with assigned(run, scheduler.sweep, store, folder) as live:
            try:
                function()
            except (KeyboardInterrupt, SystemExit) as error:
                cause = cause_of_exit(error)
                if not isinstance(cause, KeyboardInterrupt):
                    raise
                interrupted = cause
                live.leave()
    except RunStopped:
        pass
    except SystemExit as error:
        if error.code:
            log.warning("run %s: its function left with exit code %s", run.name, error.code)
    except Exception:
        log.exception("run %s failed", run.name)
    if interrupted is not None:
        _give_back(store, run)
        raise interrupted
    return patiently(lambda: _ending(store, run, folder), longest=_PATIENCE)


def _ending(store: Store, run: Run, folder: RunFolder) -> RunState | None:
    """Give how the attempt ended, and end it if leaving the function could not; None if the run is gone."""
    try:
        if (state := _state(store, run)) is RunState.RUNNING:
            reports = Reporter(store, run.lease, None)
            end_attempt(store, reports, folder.journal(run.attempt), _as_it_said)
            state = _state(store, run)
    except NotFoundError:
        return None
    return state


def _state(store: Store, run: Run) -> RunState:
    return next(tried.state for tried in store.attempts(run.id) if tried.attempt == run.attempt)


def _as_it_said(replayed: Replayed) -> Outcome:
    return replayed.finished or Outcome(RunState.FAILED, error="its ending could not be stored")


def _give_back(store: Store, run: Run) -> None:
    try:
        store.finish(run.lease, Outcome(RunState.PREEMPTED))
    except BesomError as error:
        log.warning("run %s could not be given back: %s", run.name, error)
