"""Follows one run's metric along the sweep's resource axis."""

from __future__ import annotations

from dataclasses import dataclass

from besom.records import HistoryRow, Metric, metric_value
from besom.stopping.base import Point
from besom.summarize import reported_value


@dataclass(slots=True)
class Track:
    """Makes a Point of every finite value of the metric.

    The resource axis counts the values unless `resource` names it: `step`, or a key that is logged. A value
    stands where that key was last; before its first value nothing counts.
    """

    run_id: str
    metric: Metric
    resource: str | None = None
    min_delta: float = 0.0
    count: int = 0
    best: float = float("inf")
    step: int | None = None  # of the latest value; a step that is logged in parts counts once
    reached: float | None = None  # latest value of the resource key
    unplaced: int = 0  # values that came before the first one of the resource key
    since: float = 0.0
    furthest: float = 0.0
    reference: float = float("inf")
    improved: float = 0.0

    def point(self, row: HistoryRow) -> Point | None:
        """Take in the next row; None when it holds no finite value, or none on the axis yet."""
        if self.resource is not None:
            here = float(row.step) if self.resource == "step" else metric_value(row.data, self.resource)
            self.reached = self.reached if here is None else here
        value = reported_value(row.data, self.metric.name)
        if value is None:
            return None
        if self.resource is not None and self.reached is None:
            self.unplaced += 1
            return None
        return self._point(row.step, value if self.metric.goal == "minimize" else -value)

    def _point(self, step: int, loss: float) -> Point:
        if step != self.step:
            self.count += 1
            self.since = self.furthest
        self.step = step
        resource = float(self.count) if self.reached is None else self.reached
        self.furthest = max(self.furthest, resource)
        self.best = min(self.best, loss)
        if loss < self.reference - self.min_delta:
            self.reference, self.improved = loss, resource
        return Point(self.run_id, self.count, step, loss, self.best, resource, self.since, self.improved)
