"""The process in which an agent makes its sweep's suggestions ahead, so that a claim only takes one.

A process, because the method's arithmetic would hold up the agent's own thread. It ends with its agent, whose
end closes its standard input; when it dies, its lease on the sweep's proposals runs out.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from besom.errors import BesomError
from besom.proposer import FIRST_LEASE, keep_ahead
from besom.records import RunState
from besom.scheduler import DEAR, Scheduler

log = logging.getLogger(__name__)

FIRST_LOOK, LOOK_EVERY = 2.0, 1.0  # seconds: a sweep that is over sooner needs no process
AFTER_FAILURE = 60.0
LAST_WAIT = 5.0
CODE = "import sys; from besom.agent.ahead import main; main(*sys.argv[1:])"


class Ahead:
    """Keeps a sweep in suggestions while runs go on beside each other, if no other agent does."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.process: subprocess.Popen[bytes] | None = None
        self._look_at = time.monotonic() + FIRST_LOOK

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def look(self) -> None:
        """Start the process where it is wanted and not there; for after a claim, costs next to nothing."""
        now = time.monotonic()
        if now < self._look_at or self.scheduler.sweep.method not in DEAR:
            return
        self._look_at = now + LOOK_EVERY
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self._close()
            if code != 0:
                self._look_at = now + AFTER_FAILURE
                return
        store, sweep = self.scheduler.store, self.scheduler.sweep
        if store.progress(sweep.id).count(RunState.RUNNING) < 2:
            return
        holder = f"{self.scheduler.agent_id}+"
        # The process takes it over: others then do not spend on suggestions what it takes to start.
        if store.lease_proposer(sweep.id, holder, lease_seconds=FIRST_LEASE) is not None:
            self._start(store.url, sweep.id, holder)

    def stop(self) -> None:
        """End the process: it gives the lease up first, unless that takes too long."""
        if self.process is None:
            return
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(LAST_WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _start(self, url: str, sweep_id: str, holder: str) -> None:
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "BESOM_STORE": url, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, sweep_id, holder, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=environment,
                cwd=Path(sys.executable).parent,
                start_new_session=True,  # the signals of a terminal are the agent's
            )
        except OSError as error:
            log.warning("suggestions are not made ahead: %s", error)
            self.scheduler.store.lease_proposer(sweep_id, holder, lease_seconds=0)
            self._look_at = time.monotonic() + AFTER_FAILURE

    def _close(self) -> None:
        if self.process is not None and self.process.stdin:
            self.process.stdin.close()
        self.process = None


def main(sweep_id: str, holder: str, agent_pid: str) -> None:
    """Run as the process."""
    from besom.store import open_store

    def wait(seconds: float) -> bool:
        """Pass the time; say whether the agent is gone."""
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(readable) or os.getppid() != int(agent_pid)

    try:
        store = open_store(os.environ["BESOM_STORE"])
        try:
            keep_ahead(store, sweep_id, holder, wait=wait)
        finally:
            store.close()
    except BesomError as error:  # the agents' own claims tell what is wrong
        log.debug("suggestions are no longer made ahead: %s", error)
        raise SystemExit(1) from None
