"""The laws every Stopper keeps: subclass StopperContract with a `stopper` method to prove them for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from besom.stopping.base import Point, Stopper, Verdict

LOSSES = st.floats(min_value=-1e6, max_value=1e6)
CURVES = st.lists(st.lists(LOSSES, min_size=1, max_size=40), min_size=1, max_size=8)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])


@dataclass(frozen=True, slots=True)
class MemoryBoard:
    """A Board in memory, as one run sees it."""

    marks: Mapping[int, Mapping[str, float]]  # by rung and run
    run_id: str

    def size(self, rung: int) -> int:
        """Count the runs that have reached a rung."""
        return len(self.marks.get(rung, {}))

    def kth(self, rung: int, k: int) -> float:
        """Give the `k`-th lowest loss (from 0) at a rung."""
        return sorted(self.marks[rung].values())[k]

    def own(self, rung: int) -> float | None:
        """Give the run's own loss at a rung; None if it left none."""
        return self.marks.get(rung, {}).get(self.run_id)


@dataclass(slots=True)
class Trial:
    """A sweep in memory: runs report losses, and a stopper judges each report."""

    make: Callable[[], Stopper]
    marks: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])
    reported: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def report(self, run_id: str, loss: float) -> Verdict:
        """Report a run's next loss; gives what the stopper says."""
        losses = self.reported.setdefault(run_id, [])
        losses.append(loss)
        return self.judge(run_id, leave_marks=True)

    def judge(self, run_id: str, *, leave_marks: bool = False) -> Verdict:
        """Judge a run's latest report, as the board stands now."""
        losses = self.reported[run_id]
        point = Point(run_id, len(losses), len(losses) - 1, losses[-1], min(losses))
        stopper = self.make()
        for rung, loss in stopper.marks(point) if leave_marks else ():
            self.marks.setdefault(rung, {})[run_id] = loss
        return stopper.judge(point, MemoryBoard(self.marks, run_id))

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
    def test_the_run_that_always_leads_is_never_stopped(self, curves: list[list[float]]) -> None:
        longest = max(map(len, curves))
        leader = [
            min(curve[index] for curve in curves if index < len(curve)) - 1 - index
            for index in range(longest)
        ]
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
        for run_id in trial.reported:
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
