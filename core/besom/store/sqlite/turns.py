"""The queue of a store's writers: everybody gets a turn, in order, and nobody is woken in vain.

Two lock files and the kernel's `flock`, so that a lock dies with its process. Whoever holds `<store>.lock`
may write. A lock alone is not fair: a process that unlocks it has it again before the one that waited is
awake. So a process may do so only while its turn lasts; then it queues up at `<store>.queue`, where only the
first waits for the lock.

The wait has no end of its own: it is the kernel's, which is what makes it fair and quick. A holder that is
stopped (SIGSTOP, Ctrl-Z, a debugger) in the milliseconds of a transaction therefore holds everybody up until
it goes on or dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

TURN_SECONDS = 0.001
"""How long a process may go on writing while others wait: some transactions, so that switches are few."""


class Turns:
    """One process's place in the queue, shared by its threads; `turn` is in seconds."""

    def __init__(self, path: Path, turn: float = TURN_SECONDS) -> None:
        self._path = path
        self._turn = turn
        self._thread = threading.Lock()
        self._files: tuple[int, int] | None = None
        self._until = 0.0
        self._crowded = False  # others wanted to write when this process last queued up

    @property
    def lock_file(self) -> int:
        """The descriptor of `<store>.lock`; what is in the file belongs to the one whose turn it is."""
        return (self._files or self._open())[0]

    def take(self) -> None:
        """Wait until this thread may write."""
        self._thread.acquire()
        try:
            lock, queue = self._files or self._open()
            if time.monotonic() < self._until and _try(lock):
                return
            if self._crowded:
                # The queue's lock has just been let go, too, and its next holder is not awake yet: by asking
                # now, this process would overtake all who wait.
                time.sleep(self._turn * 0.6)
            fcntl.flock(queue, fcntl.LOCK_EX)
            self._crowded = not _try(lock)
            if self._crowded:
                # Asking again sooner would only disturb the one whose turn it is.
                time.sleep(self._turn * 0.9)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._until = time.monotonic() + self._turn
            fcntl.flock(queue, fcntl.LOCK_UN)
        except BaseException:
            for file in self._files or ():
                fcntl.flock(file, fcntl.LOCK_UN)
            self._thread.release()
            raise

    def end(self) -> None:
        """Let others write."""
        assert self._files is not None
        fcntl.flock(self._files[0], fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        """Close the lock files; the next `take` opens them again."""
        for file in self._files or ():
            os.close(file)
        self._files = None

    def forget(self) -> None:
        """Leave the parent's place in the queue; called in a forked child."""
        # Closing unlocks nothing: the parent has the files open too.
        self.close()
        self._thread = threading.Lock()

    def _open(self) -> tuple[int, int]:
        lock, queue = (_open(f"{self._path}.{name}") for name in ("lock", "queue"))
        self._files = lock, queue
        return self._files


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _try(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
