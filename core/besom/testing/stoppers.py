"""The laws every Stopper keeps: subclass StopperContract with a `stopper` method to prove them for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from besom.records import HistoryRow, Metric
from besom.stopping.base import Point, Stopper, Verdict
from besom.stopping.track import Track

LOSSES = st.floats(min_value=-1e6, max_value=1e6)
CURVES = st.lists(st.lists(LOSSES, min_size=1, max_size=40), min_size=1, max_size=8)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])


@dataclass(frozen=True, slots=True)
class MemoryBoard:
    """A Board in memory, as one run sees it."""

    marks: Mapping[int, Mapping[str, float]]  # by rung and run
    run_id: str
    values: Mapping[str, float]  # latest loss by run

    def size(self, rung: int) -> int:
        """Count the runs that have reached a rung."""
        return len(self.marks.get(rung, {}))

    def kth(self, rung: int, k: int) -> float:
        """Give the `k`-th lowest loss (from 0) at a rung."""
        return sorted(self.marks[rung].values())[k]

    def own(self, rung: int) -> float | None:
        """Give the run's own loss at a rung; None if it left none."""
        return self.marks.get(rung, {}).get(self.run_id)

    def leader(self) -> Mapping[int, float]:
        """Give what the best other run has left, loss by rung; nothing while this run is the best."""
        best = min(self.values, key=self.values.__getitem__, default=self.run_id)
        if best == self.run_id:
            return {}
        return {rung: marks[best] for rung, marks in self.marks.items() if best in marks}


@dataclass(slots=True)
class Trial:
    """A sweep in memory: runs report losses, and a stopper judges each report."""

    make: Callable[[], Stopper]
    min_delta: float = 0.0
    marks: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])
    tracks: dict[str, Track] = field(default_factory=dict[str, Track])
    points: dict[str, Point] = field(default_factory=dict[str, Point])  # the latest of each run
    values: dict[str, float] = field(default_factory=dict[str, float])

    def report(self, run_id: str, loss: float) -> Verdict:
        """Report a run's next loss; gives what the stopper says."""
        track = self.tracks.setdefault(run_id, Track(run_id, Metric("loss"), min_delta=self.min_delta))
        row = HistoryRow(track.count + 1, track.count, 0.0, {"loss": loss})
        point = track.point(row)
        if point is None:
            raise ValueError(f"{loss} is not finite: a stopper never sees it")
        self.points[run_id], self.values[run_id] = point, loss
        for rung, mark in self.make().marks(point):
            self.marks.setdefault(rung, {})[run_id] = mark
        return self.judge(run_id)

    def judge(self, run_id: str) -> Verdict:
        """Judge a run's latest report, as the board stands now; leaves no marks."""
        board = MemoryBoard(self.marks, run_id, self.values)
        return self.make().judge(self.points[run_id], board)

    def run(self, curves: Mapping[str, Sequence[float]]) -> dict[str, int]:
        """Let all runs report in turn until they end or are stopped; gives when each stopped one was."""
        stopped: dict[str, int] = {}
        for count in range(max(map(len, curves.values()))):
            for run_id, curve in curves.items():
                if run_id not in stopped and count < len(curve) and self.report(run_id, curve[count]).stop:
                    stopped[run_id] = count + 1
        return stopped


class StopperContract:
    """What holds for every stopper, however it judges."""

    def stopper(self) -> Stopper:
        """Give the stopper under test, made anew at each call."""
        raise NotImplementedError

    @LAW
    @given(curves=CURVES)
    def test_the_run_that_leads_and_gets_ever_better_is_never_stopped(
        self, curves: list[list[float]]
    ) -> None:
        longest = max(map(len, curves))
        best = min(map(min, curves))
        leader = [best - 1 - index for index in range(longest)]
        named = {f"run-{number}": curve for number, curve in enumerate(curves)}
        assert "leader" not in Trial(self.stopper).run({**named, "leader": leader})
        assert "leader" not in Trial(self.stopper).run({"leader": leader, **named})

    @LAW
    @given(curves=CURVES)
    def test_verdicts_do_not_depend_on_what_a_stopper_saw_before(self, curves: list[list[float]]) -> None:
        named = {f"run-{number}": curve for number, curve in enumerate(curves)}
        kept = self.stopper()
        assert Trial(lambda: kept).run(named) == Trial(self.stopper).run(named)

    @LAW
    @given(curves=CURVES)
    def test_judging_again_changes_nothing(self, curves: list[list[float]]) -> None:
        trial = Trial(self.stopper)
        trial.run({f"run-{number}": curve for number, curve in enumerate(curves)})
        for run_id in trial.points:
            assert trial.judge(run_id) == trial.judge(run_id)

    @LAW
    @given(curves=CURVES)
    def test_marks_are_finite_losses_at_whole_rungs(self, curves: list[list[float]]) -> None:
        trial = Trial(self.stopper)
        trial.run({f"run-{number}": curve for number, curve in enumerate(curves)})
        for rung, marks in trial.marks.items():
            assert isinstance(rung, int)
            assert all(map(math.isfinite, marks.values()))

    @LAW
    @given(curves=CURVES)
    def test_every_verdict_gives_its_reason_in_one_line(self, curves: list[list[float]]) -> None:
        trial = Trial(self.stopper)
        for number, curve in enumerate(curves):
            for loss in curve:
                verdict = trial.report(f"run-{number}", loss)
                assert verdict.reason.strip()
                assert "\n" not in verdict.reason

    @LAW
    @given(curve=st.lists(LOSSES, min_size=1, max_size=40))
    def test_reporting_once_leaves_a_rung_once(self, curve: list[float]) -> None:
        trial = Trial(self.stopper)
        for loss in curve:
            trial.report("run", loss)
            rungs = [rung for rung, _ in self.stopper().marks(trial.points["run"])]
            assert len(rungs) == len(set(rungs))


class ComparingStopperContract(StopperContract):
    """What holds besides for a stopper that judges runs by one another alone."""

    @LAW
    @given(curve=st.lists(LOSSES, min_size=1, max_size=40))
    def test_a_run_alone_is_never_stopped(self, curve: list[float]) -> None:
        assert Trial(self.stopper).run({"alone": curve}) == {}

    @LAW
    @given(curve=st.lists(LOSSES, min_size=1, max_size=40), runs=st.integers(2, 6))
    def test_equal_runs_are_never_stopped(self, curve: list[float], runs: int) -> None:
        assert Trial(self.stopper).run({f"run-{number}": curve for number in range(runs)}) == {}

    @LAW
    @given(
        curves=st.lists(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40), min_size=1, max_size=8)
    )
    def test_the_scale_of_the_metric_does_not_matter(self, curves: list[list[int]]) -> None:
        stopped = [
            Trial(self.stopper).run(
                {f"run-{number}": [loss * scale for loss in curve] for number, curve in enumerate(curves)}
            )
            for scale in (1.0, 1024.0, 2.0**-20)
        ]
        assert stopped[0] == stopped[1] == stopped[2]

    @LAW
    @given(curves=CURVES)
    def test_of_runs_that_report_together_one_is_left(self, curves: list[list[float]]) -> None:
        length = min(map(len, curves))
        named = {f"run-{number}": curve[:length] for number, curve in enumerate(curves)}
        assert len(Trial(self.stopper).run(named)) < len(named)
