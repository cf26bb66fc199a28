"""What a sweep's history says, kept as arrays and brought up to date with what has changed since."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from besom.records import Metric, Observation, Params, RunState
from besom.search.bayes.kernel import Array
from besom.search.bayes.model import Evidence
from besom.search.bayes.points import Translation

_FAILED = frozenset({RunState.FAILED, RunState.CRASHED})
_GOOD, _BAD, _SILENT, _GONE = range(4)


class Ledger:
    """The ended runs of a sweep in the order in which they ended; what is better is lower.

    A run counts as a failure if it failed or crashed, or finished without a finite value. With `impute:
    latest` or `best`, a failed run that has reported a value counts with that value. Other runs without a
    value (stopped early, killed) teach nothing, but are not repeated.
    """

    def __init__(self, translation: Translation, metric: Metric | None) -> None:
        self.translation, self.metric = translation, metric
        self.changed = 0
        self.revision = 0  # grows when a run that had ended ended again
        self.seen: set[bytes] = set()
        """The keys of all points that were run."""
        self._place: dict[str, int] = {}
        self._points = np.empty((64, len(translation.domain.axes)))
        self._values = np.empty(64)
        self._kinds = np.empty(64, dtype=np.int8)
        self._count = 0

    def update(self, observations: Sequence[Observation]) -> None:
        """Take in ended runs that are new or have changed."""
        for item in observations:
            self.changed = max(self.changed, item.changed)
            if (place := self._place.pop(item.run_id, None)) is not None:
                self._kinds[place] = _GONE  # it now stands where it ended last
                self.revision += 1
            point = self.translation.point(item.params)
            if point is None:
                continue  # of a space that was since changed
            self.seen.add(self.translation.domain.keys(point[None])[0])
            self._place[item.run_id] = self._count
            self._append(point, *self._reading(item))

    def __len__(self) -> int:
        return len(self._place)

    def evidence(self, active: Sequence[Params], first: int | None = None) -> Evidence:
        """Give what the `first` ended runs (all, if None) and the `active` ones say."""
        kept = np.flatnonzero(self._kinds[: self._count] != _GONE)[:first]
        kinds = self._kinds[kept]
        pending = [point for params in active if (point := self.translation.point(params)) is not None]
        return Evidence(
            self._points[kept[kinds == _GOOD]],
            self._values[kept[kinds == _GOOD]],
            self._points[kept[kinds == _BAD]],
            np.array(pending, dtype=float).reshape(len(pending), self._points.shape[1]),
        )

    def _append(self, point: Array, value: float, kind: int) -> None:
        if self._count == len(self._values):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._kinds = np.concatenate([self._kinds, np.empty_like(self._kinds)])
        self._points[self._count], self._values[self._count], self._kinds[self._count] = point, value, kind
        self._count += 1

    def _reading(self, item: Observation) -> tuple[float, int]:
        sign = -1.0 if self.metric is not None and self.metric.goal == "maximize" else 1.0
        failed = item.state in _FAILED
        if failed and (self.metric is None or self.metric.impute == "worst"):
            return 0.0, _BAD
        if item.value is not None:
            return sign * item.value, _GOOD
        return 0.0, _BAD if failed or item.state is RunState.FINISHED else _SILENT
