"""A run that has a process: when it is to be asked to end, when it is to be killed, and what it printed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from besom.agent.ending import Told
from besom.agent.process import Child
from besom.folders import RunFolder
from besom.records import Run, Sweep

_WEIGHT = {None: 0, Told.PREEMPT: 1, Told.TIMEOUT: 2, Told.STOP: 2, Told.KILL: 3, Told.LOST: 4}
_OUTPUT_BYTES = 64 * 1024


@dataclass(slots=True)
class Job:
    """A run's process in a slot of the agent; times are of the monotonic clock."""

    run: Run
    sweep: Sweep
    folder: RunFolder
    slot: int
    child: Child
    grace: float
    output_start: int  # where this attempt's output begins in output.log
    timeout_at: float | None = None
    told: Told | None = None
    reason: str = ""
    term_at: float | None = None
    kill_at: float | None = None
    code: int | None = None  # once it ended
    settle_at: float = 0.0
    shown: int = 0
    _partial: bytes = b""

    def tell(self, told: Told, reason: str, *, now: float, forwarded: bool = False) -> bool:
        """Begin to end the program; a weightier reason replaces a lighter one. Says whether this is new.

        With `forwarded` the program has been sent the agent's own signal already.
        """
        if _WEIGHT[told] <= _WEIGHT[self.told]:
            return False
        if self.code == 0 or (told is Told.LOST and self.code is not None):
            return False  # it ended by itself before; whether that still counts, the store knows
        self.told, self.reason = told, reason
        if self.code is not None or forwarded:
            return True
        if told is Told.LOST:
            self.kill_at = now
        elif told is Told.STOP and self.folder.polls_stop.exists():
            # The program asks for itself: it saves what it needs and ends, or is made to.
            self.term_at = now + self.grace
        else:
            self.term(now)
        return True

    def term(self, now: float) -> None:
        """Send SIGTERM unless that was done; SIGKILL follows after the grace period."""
        if self.kill_at is None and self.code is None:
            self.child.signal(signal.SIGTERM)
            self.term_at, self.kill_at = None, now + self.grace

    def enforce(self, now: float) -> bool:
        """Do what is due by now; says whether the run has just used up its time."""
        if self.code is not None:
            return False
        if self.kill_at is not None and now >= self.kill_at:
            self.child.signal(signal.SIGKILL)
            self.kill_at = now + self.grace  # a process in an uninterruptible state dies when it can
        elif self.term_at is not None and now >= self.term_at:
            self.term(now)
        return self.told is None and self.timeout_at is not None and now >= self.timeout_at

    @property
    def due(self) -> float | None:
        """When `enforce`, or settling the ended run, has something to do; None: only events matter."""
        if self.code is not None:
            return self.settle_at
        timeout = self.timeout_at if self.told is None else None
        return min((at for at in (self.kill_at, self.term_at, timeout) if at is not None), default=None)

    def new_lines(self) -> Iterator[str]:
        """Give the lines printed since the last call; one without an end waits for it or the run's end."""
        with suppress(FileNotFoundError), self.folder.output.open("rb") as file:
            file.seek(self.shown)
            while block := file.read(_OUTPUT_BYTES):
                self.shown += len(block)
                *lines, self._partial = (self._partial + block).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", "replace").rstrip("\r")
        if self.code is not None and self._partial:
            yield self._partial.decode("utf-8", "replace")
            self._partial = b""
