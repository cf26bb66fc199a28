"""Takes up at once what a sweeper that was killed has left, instead of waiting for its leases to run out.

An agent whose jobs are forks holds a lock for as long as it or one of its jobs lives (a lock of `flock`
belongs to the open file, which forks inherit). Where the lock of a running run's agent is free, nobody works
on that run.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from besom.agent.settle import end_attempt
from besom.folders import run_folder
from besom.journal import Replayed
from besom.records import Outcome, Run, RunState
from besom.scheduler import Reporter
from besom.store.base import Store

log = logging.getLogger(__name__)


class MyLock:
    """The lock of this process's agent, in `BESOM_DIR/agents/`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: tuple[Path, int] | None = None

    def take(self, agent_id: str) -> None:
        """Hold the lock of an agent until `release` or death."""
        path = _path(self._home, agent_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held = (path, descriptor)

    def release(self) -> None:
        """Let go of the lock; does nothing when there is none."""
        if self._held is not None:
            path, descriptor = self._held
            path.unlink(missing_ok=True)
            os.close(descriptor)
            self._held = None


def take_up(store: Store, sweep_id: str, home: Path) -> None:
    """Give the runs of dead agents back to the queue, with what their jobs logged, and as ended if they had.

    Only of agents that had a lock, and only on this machine's `home`.
    """
    for run in store.list_runs(sweep_id, states={RunState.RUNNING}):
        if run.agent_id is not None and _is_dead(_path(home, run.agent_id)):
            _give_back(store, run, home)


def _give_back(store: Store, run: Run, home: Path) -> None:
    def judge(told: Replayed) -> Outcome:
        return told.finished or Outcome(RunState.PREEMPTED, error="its sweeper died")

    journal = run_folder(run.id, home).journal(run.attempt)
    ended, _ = end_attempt(store, Reporter(store, run.lease, None), journal, judge)
    log.info("run %s was left by a sweeper that died; it is %s", run.name, ended.state.value)


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _path(home: Path, agent_id: str) -> Path:
    return home / "agents" / f"{agent_id}.lock"
