"""Rows that a program need not wait for: kept for a moment, and written to the journal together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from besom.journal import Journal
from besom.summarize import Summarizer

LONGEST_WAIT = 1.5  # seconds that rows wait while more are logged; else the flusher comes for them
MOST = 5000  # rows that wait, whatever the time


class Waiting:
    """Rows in the order they were logged. Written one by one, most of their cost would be cold caches.

    Adding needs no lock; only one thread at a time may write.
    """

    def __init__(self) -> None:
        self._rows: deque[tuple[float, int, Mapping[str, Any]]] = deque()

    def add(self, step: int, data: Mapping[str, Any]) -> bool:
        """Keep a row of plain values, which must not change any more; says whether it is time to write."""
        now, rows = time.time(), self._rows
        rows.append((now, step, data))
        try:
            return not 0 <= now - rows[0][0] < LONGEST_WAIT or len(rows) >= MOST
        except IndexError:
            return False  # another thread has just taken them

    def write(self, journal: Journal, summarizer: Summarizer) -> None:
        """Append what waits to the journal; where that is an error, it goes on waiting."""
        rows = self._rows
        while rows:
            batch = [rows.popleft() for _ in range(min(len(rows), MOST))]
            try:
                entries = ((logged_at, {"step": step, "data": data}) for logged_at, step, data in batch)
                bodies = journal.append_all("history", entries)
            except BaseException:
                rows.extendleft(reversed(batch))
                raise
            for body in bodies:
                summarizer.log(body["data"])

    def forget(self) -> None:
        """Drop what waits: in a forked child it is the parent's to write."""
        self._rows = deque()
