"""What a sweep's history says, kept as arrays and brought up to date with what has changed since."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from besom.records import Metric, Observation, Params, RunState, metric_value
from besom.search.bayes.fidelity import END, Losses, comparable, enough_runs
from besom.search.bayes.goals import scalarize
from besom.search.bayes.kernel import Array
from besom.search.bayes.model import Evidence
from besom.search.bayes.points import Translation
from besom.summarize import summary_value

_FAILED = frozenset({RunState.FAILED, RunState.CRASHED})
_GOOD, _BAD, _SILENT, _GONE = range(4)


class Ledger:
    """The ended runs of a sweep in the order in which they ended; what is better is lower.

    A run counts as a failure if it failed or crashed, or finished without a finite value. With `impute:
    latest` or `best`, a failed run that has reported a value counts with that value. Other runs without a
    value (stopped early, killed) teach nothing, but are not repeated. Where runs stop at rungs and there is
    one goal, they are compared at one rung (`fidelity`).
    """

    def __init__(self, translation: Translation, metric: Metric | None, goals: Sequence[Metric] = ()) -> None:
        self.translation, self.metric = translation, metric
        self.others = tuple(goals[1:])
        """The goals beside `metric`."""
        self.limits = metric.limits if metric is not None else ()
        self.changed = 0
        self.revision = 0  # grows when a run that had ended ended again
        self.seen: set[bytes] = set()
        """The keys of all points that were run."""
        self._place: dict[str, int] = {}
        self._points = np.empty((64, len(translation.domain.axes)))
        self._values = np.empty((64, 1 + len(self.others)))
        self._margins = np.empty((64, 2 * len(self.limits)))
        self._kinds = np.empty(64, dtype=np.int8)
        self._count = 0
        self._losses: Losses | None = None  # until a run comes with marks

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
            self._append(point, self._reading(item))
            if item.marks is not None and not self.others:
                self._keep_losses(item.marks, stopped=item.state is RunState.STOPPED)

    def __len__(self) -> int:
        return len(self._place)

    def evidence(
        self, active: Sequence[Params], first: int | None = None, weights: Array | None = None
    ) -> Evidence:
        """Give what the `first` ended runs (all, if None) and the `active` ones say.

        `weights`, one per goal, make one value of several.
        """
        kept = np.flatnonzero(self._kinds[: self._count] != _GONE)[:first]
        kinds = self._kinds[kept]
        pending = [point for params in active if (point := self.translation.point(params)) is not None]
        good = kept[kinds == _GOOD]
        values = self._values[good]
        if self._losses is not None:
            enough = enough_runs(len(self.translation.domain.axes))
            values = comparable(self._losses.of(good), enough)[:, None]
            known = np.isfinite(values[:, 0])
            good, values = good[known], values[known]
        margins = self._margins[good]
        margins = margins[:, np.isfinite(margins).all(0)]  # the others are of bounds that are not there
        return Evidence(
            self._points[good],
            values[:, 0]
            if weights is None
            else scalarize(values, np.asarray((margins >= 0.0).all(1)), weights),
            self._points[kept[kinds == _BAD]],
            np.array(pending, dtype=float).reshape(len(pending), self._points.shape[1]),
            margins if self.limits else None,
        )

    def _append(self, point: Array, told: _Told) -> None:
        if self._count == len(self._values):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._margins = np.concatenate([self._margins, np.empty_like(self._margins)])
            self._kinds = np.concatenate([self._kinds, np.empty_like(self._kinds)])
        self._points[self._count], self._kinds[self._count] = point, told.kind
        if told.kind == _GOOD:
            self._values[self._count], self._margins[self._count] = told.values, told.margins
        self._count += 1

    def _keep_losses(self, marks: Mapping[int, float], *, stopped: bool) -> None:
        """Keep what the run that came last had at the rungs, and at the end if it got there."""
        last = self._count - 1
        if self._kinds[last] == _GOOD:
            if self._losses is None:
                self._losses = Losses()
            losses = {float(rung): loss for rung, loss in marks.items()}
            if not stopped:
                losses[END] = float(self._values[last, 0])
            self._losses.put(last, losses)

    def _reading(self, item: Observation) -> _Told:
        failed = item.state in _FAILED
        if failed and (self.metric is None or self.metric.impute == "worst"):
            return _Told(_BAD)
        summary = item.summary or {}
        values = [item.value, *(summary_value(summary, goal) for goal in self.others)]
        held = [metric_value(summary, limit.name) for limit in self.limits]
        if None in values or None in held:
            return _Told(_BAD if failed or item.state is RunState.FINISHED else _SILENT)
        goals = (self.metric, *self.others)
        signs = [-1.0 if goal is not None and goal.goal == "maximize" else 1.0 for goal in goals]
        return _Told(
            _GOOD,
            [sign * value for sign, value in zip(signs, values, strict=True) if value is not None],
            [
                margin
                for limit, value in zip(self.limits, held, strict=True)
                if value is not None
                for margin in (
                    np.inf if limit.min is None else value - limit.min,
                    np.inf if limit.max is None else limit.max - value,
                )
            ],
        )


class _Told(NamedTuple):
    """What a run teaches: values of the goals, lower being better, and room left to the limits."""

    kind: int
    values: Sequence[float] = ()
    margins: Sequence[float] = ()
