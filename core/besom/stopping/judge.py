"""Puts what one attempt at a run reports before its sweep's stopper, with the rungs in the store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from besom.records import HistoryRow, Lease
from besom.stopping.base import Point, Stopper, Verdict
from besom.stopping.track import Track

if TYPE_CHECKING:
    from besom.store.base import Store

log = logging.getLogger(__name__)

UNPLACED = 3  # values of the metric without one of the resource, before a run is warned
PAGE = 1000  # rows read at a time, so that memory stays flat


@dataclass(slots=True)
class Judge:
    """Follows one attempt's metric and puts each finite value before the stopper."""

    store: Store
    lease: Lease
    sweep_id: str
    stopper: Stopper
    track: Track
    seen: int | None = None  # highest seq judged; None until the first report
    latest: Point | None = None
    own: dict[int, float] = field(default_factory=dict[int, float])
    warned: bool = False

    def unseen(self, rows: Sequence[HistoryRow]) -> Sequence[HistoryRow]:
        """Give the rows that were not judged yet; to be called before they are stored."""
        if rows and self.seen is None:
            self.follow_stored(rows[0].step)
        seen = self.seen or 0
        return [row for row in rows if row.seq > seen]

    def stop_reason(self, rows: Sequence[HistoryRow]) -> str | None:
        """Mark and judge every finite value in order; give the first reason to stop."""
        reason = None
        for row in rows:
            self.seen = row.seq
            point = self.track.point(row)
            if point is None:
                self._warn_of_unplaced()
                continue
            self.latest = point
            for rung, mark in self.stopper.marks(point):
                self.store.mark(self.sweep_id, self.lease.run_id, rung, mark)
                self.own[rung] = mark
            if reason is None:
                verdict = self.verdict(point)
                reason = verdict.reason if verdict.stop else None
        return reason

    def _warn_of_unplaced(self) -> None:
        """Say once that what runs are compared by is not logged: nothing would be stopped, in silence."""
        if self.track.unplaced < UNPLACED or self.warned:
            return
        self.warned = True
        log.warning(
            "early termination cannot judge run %s: it logs %s, but no %s, which the sweep's resource names;"
            " log that in the same call or before",
            self.lease.run_id,
            self.track.metric.name,
            self.track.resource,
        )

    def verdict(self, point: Point) -> Verdict:
        """Judge a point as the rungs stand now; leaves no marks."""
        return self.stopper.judge(point, StoreBoard(self.store, self.sweep_id, self.lease.run_id, self.own))

    def follow_stored(self, step: int | None = None) -> None:
        """Count what this attempt has stored already, and of earlier ones what lies before its first step.

        `step` is where an attempt that has stored nothing yet begins: a run that resumes from a checkpoint
        goes on counting there; one that starts over counts from 0.
        """
        stored = self.store.last_row(self.lease)
        self.seen = stored.seq if stored else 0
        if stored:
            step = self.store.history(self.lease.run_id, attempt=self.lease.attempt, limit=1)[0].step
        for attempt in range(1, self.lease.attempt + 1):
            before = step if attempt < self.lease.attempt else None
            for row in self._rows(attempt):
                if before is None or row.step < before:
                    self.latest = self.track.point(row) or self.latest
        if self.latest:
            self.own = self.store.run_marks(self.lease.run_id)

    def _rows(self, attempt: int) -> Iterator[HistoryRow]:
        after = 0
        while page := self.store.history(self.lease.run_id, attempt=attempt, after=after, limit=PAGE):
            yield from page
            after = page[-1].seq


@dataclass(frozen=True, slots=True)
class StoreBoard:
    """The rungs of a sweep in its store, as one run sees them."""

    store: Store
    sweep_id: str
    run_id: str
    marks: Mapping[int, float]  # the run's own

    def size(self, rung: int) -> int:
        """Count the runs that have reached a rung."""
        return self.store.rung_size(self.sweep_id, rung)

    def kth(self, rung: int, k: int) -> float:
        """Give the `k`-th lowest loss (from 0) at a rung."""
        return self.store.rung_loss(self.sweep_id, rung, k)

    def own(self, rung: int) -> float | None:
        """Give the run's own loss at a rung; None if it left none."""
        return self.marks.get(rung)

    def leader(self) -> Mapping[int, float]:
        """Give what the best other run has left, loss by rung; nothing while this run is the best."""
        best = self.store.best_run(self.sweep_id)
        return self.store.run_marks(best.id) if best and best.id != self.run_id else {}
