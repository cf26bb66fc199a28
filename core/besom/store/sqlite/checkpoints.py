"""Copying the write-ahead log into the file, beside the other writers and not in their way.

SQLite's own checkpoint happens inside the COMMIT that makes the log too long, and waits for the disk while
everybody waits for that COMMIT. Here whoever commits the last transaction of a batch copies the log after its
turn, while others write; what they added meanwhile is little, and is copied in a turn, so that the log can
begin anew.

The count of transactions lies in `<store>.lock`, which all processes share and only the holder of the lock
may touch.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from besom.store.sqlite.turns import Turns

COMMITS = 6000
"""Transactions between checkpoints: about 30 MB of log."""

FLUSHED_COMMITS = 1000
"""The same where every transaction is flushed: flushing a log that has been this long before costs less."""

COUNTER = 8  # bytes


class Checkpoints:
    """One process's share in keeping the log of a store short."""

    def __init__(self, turns: Turns, every: int) -> None:
        self._turns = turns
        self._every = every
        self._batch = max(1, every // 64)  # what this process counts by itself before it tells the others
        self._own = 0

    def note(self) -> bool:
        """Count a COMMIT, during its turn; says whether it falls to this process to copy the log."""
        self._own += 1
        if self._own < self._batch:
            return False
        with suppress(OSError):  # the transaction is committed, whatever becomes of the count
            file = self._turns.lock_file
            total = int.from_bytes(os.pread(file, COUNTER, 0), "little") + self._own
            due = total >= self._every
            os.pwrite(file, (0 if due else total).to_bytes(COUNTER, "little"), 0)
            self._own = 0
            return due
        return False

    def copy(self, connection: sqlite3.Connection) -> None:
        """Copy the log into the file, after the turn; a failure leaves it to the next one."""
        with suppress(sqlite3.Error, OSError):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._turns.take()
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                self._turns.end()
