"""What a sweep's history says, kept as arrays and brought up to date with what has changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from besom.records import Metric, Observation, Params, RunState
from besom.search.bayes.kernel import Array
from besom.search.bayes.model import Evidence
from besom.search.bayes.points import Translation

_FAILED = frozenset({RunState.FAILED, RunState.CRASHED})


@dataclass
class Ledger:
    """The ended runs of a sweep in the order in which they ended; what is better is lower.

    A run counts as a failure if it failed or crashed, or finished without a finite value. With `impute: latest` or
    `best`, a failed run that has reported a value counts with that value. Other runs without a value (stopped
    early, killed) teach nothing, but are not repeated.
    """

    translation: Translation
    metric: Metric | None
    changed: int = 0
    revision: int = 0  # grows when a run that had ended ended again
    _entries: dict[str, tuple[Array, float | None, bool]] = field(default_factory=dict)
    _seen: dict[bytes, None] = field(default_factory=dict)

    def update(self, observations: Sequence[Observation]) -> None:
        """Take in ended runs that are new or have changed."""
        for item in observations:
            self.changed = max(self.changed, item.changed)
            if self._entries.pop(item.run_id, None) is not None:
                self.revision += 1  # it now stands where it ended last
            point = self.translation.point(item.params)
            if point is None:
                continue  # of a space that was since changed
            self._seen[self.translation.domain.keys(point[None])[0]] = None
            value, failed = self._reading(item)
            self._entries[item.run_id] = (point, value, failed)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def seen(self) -> set[bytes]:
        """The keys of all points that were run."""
        return set(self._seen)

    def evidence(self, active: Sequence[Params], first: int | None = None) -> Evidence:
        """Give what the `first` ended runs (all, if None) and the `active` ones say."""
        entries = list(self._entries.values())[:first]
        axes = len(self.translation.domain.axes)
        good = [(point, value) for point, value, failed in entries if value is not None and not failed]
        bad = [point for point, _, failed in entries if failed]
        pending = [point for params in active if (point := self.translation.point(params)) is not None]
        return Evidence(
            np.array([point for point, _ in good]).reshape(-1, axes),
            np.array([value for _, value in good], dtype=float),
            np.array(bad).reshape(-1, axes),
            np.array(pending).reshape(-1, axes),
        )

    def _reading(self, item: Observation) -> tuple[float | None, bool]:
        sign = -1.0 if self.metric is not None and self.metric.goal == "maximize" else 1.0
        value = None if item.value is None else sign * item.value
        if item.state in _FAILED:
            imputed = self.metric is not None and self.metric.impute != "worst"
            return (value, False) if imputed and value is not None else (None, True)
        if item.state is RunState.FINISHED and value is None:
            return None, True
        return value, False
