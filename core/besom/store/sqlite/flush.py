"""Durability to loss of power for many writers: one flush of the log serves all who committed before it.

SQLite's own `synchronous=full` flushes the log inside every transaction, so writers wait for one disk flush
after another. Here a transaction ends without one; its process then waits until a flush that began after
its COMMIT is over, and flushes itself only where nobody else has. The log is flushed in the order in which
it is written, so a flush makes everything durable that was committed before.

Two counters in `<store>.flush`, shared by all processes, tell what is committed and what is flushed. They
begin anew at each start of the machine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from pathlib import Path

COMMITTED, FLUSHED = 0, 1
COUNTERS = 16  # bytes of two counters
BOOT = 64  # bytes of the name of this start of the machine

_sync = getattr(os, "fdatasync", os.fsync)


class Flushes:
    """One process's share in flushing the log of the store at `path`, for all its threads."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._log = f"{path}-wal"
        self._boot = boot.encode()[:BOOT].ljust(BOOT, b"\0")
        self._thread = threading.Lock()
        self._file = -1
        self._counters: memoryview | None = None
        self._durable: tuple[int, int] | None = None  # the log whose name in its folder is flushed, too

    def note(self) -> int:
        """Count a COMMIT, with no other writer about; gives what `wait` is to wait for."""
        counters = self._counters or self._open()
        counters[COMMITTED] += 1
        return counters[COMMITTED]

    def wait(self, number: int) -> None:
        """Wait until everything up to a commit would survive a loss of power; OSError where it would not."""
        counters = self._counters or self._open()
        if counters[FLUSHED] >= number:
            return
        with self._thread:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                if counters[FLUSHED] < number:
                    reached = counters[COMMITTED]
                    self._flush()
                    counters[FLUSHED] = reached
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file of counters; the next call opens it again."""
        if self._counters is not None:
            self._counters = None
            os.close(self._file)

    def forget(self) -> None:
        """Leave the parent's share alone; called in a forked child."""
        self.close()
        self._thread = threading.Lock()

    def _flush(self) -> None:
        # Opened anew each time: SQLite makes a new log after the last connection has closed.
        log = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        try:
            _sync(log)
            found = os.fstat(log)
        finally:
            os.close(log)
        if self._durable != (found.st_dev, found.st_ino):
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._durable = (found.st_dev, found.st_ino)

    def _open(self) -> memoryview:
        file = os.open(f"{self._path}.flush", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if os.pread(file, BOOT, COUNTERS) != self._boot:
                    os.pwrite(file, bytes(COUNTERS) + self._boot, 0)
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
            counters = memoryview(mmap.mmap(file, COUNTERS + BOOT))[:COUNTERS].cast("Q")
        except BaseException:
            os.close(file)
            raise
        self._file, self._counters = file, counters
        return counters
