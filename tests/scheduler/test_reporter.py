from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.records import Directive, HistoryRow, Outcome, Run, RunState, Sweep
from besom.scheduler import Reporter, Scheduler
from besom.stopping import Board, Point, Verdict
from besom.store import Store
from besom.summarize import reported_value

if TYPE_CHECKING:
    import pytest

NewSweep = Callable[..., Sweep]
EARLY = {"type": "hyperband", "min_iter": 2, "eta": 2}


def claimed(store: Store, sweep: Sweep, count: int) -> list[Run]:
    hands = Scheduler(store, sweep.id, agent_id=store.add_agent(sweep.id, host="here", pid=1).id)
    runs = [run for run in (hands.claim() for _ in range(count)) if isinstance(run, Run)]
    assert len(runs) == count
    return runs


def rows(*losses: object, start: int = 0, name: str = "loss") -> list[HistoryRow]:
    return [HistoryRow(start + n + 1, start + n, 0.0, {name: loss}) for n, loss in enumerate(losses)]


def reporter(store: Store, run: Run, sweep: Sweep) -> Reporter:
    return Reporter(store, run.lease, store.get_sweep(sweep.id))


def test_a_run_that_falls_behind_is_told_to_stop_and_why(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    good, bad, _ = claimed(store, sweep, 3)
    assert reporter(store, good, sweep).report(rows(1.0, 0.5)).action == "continue"
    told = reporter(store, bad, sweep)
    assert told.report(rows(2.0)).action == "continue"
    verdict = told.report(rows(1.0, start=1))
    assert verdict.action == "continue"  # of two runs, the worse one is the threshold itself
    third = store.list_runs(sweep.id)[2]
    verdict = reporter(store, third, sweep).report(rows(9.0, 9.0))
    assert verdict.action == "stop"
    assert "loss 9 at report 2 is worse than the threshold 1 of 3 runs" in verdict.reason
    assert store.get_run(third.id).stop_reason == verdict.reason
    assert store.heartbeat([third.lease], lease_seconds=60)[third.lease].action == "stop"


def test_the_goal_decides_what_is_worse(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY, metric={"name": "loss", "goal": "maximize"})
    runs = claimed(store, sweep, 3)
    for run, value in zip(runs[:2], (0.9, 0.8), strict=True):
        reporter(store, run, sweep).report(rows(value, value))
    assert reporter(store, runs[2], sweep).report(rows(0.1, 0.1)).action == "stop"


def test_values_that_are_not_finite_do_not_count(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    reporter(store, run, sweep).report(rows("NaN", 1.0, "Infinity", True, None, 3.0))
    assert store.run_marks(run.id) == {2: 3.0}


def test_a_step_that_is_logged_in_parts_counts_once(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    told = reporter(store, run, sweep)
    told.report([HistoryRow(1, 0, 0.0, {"loss": 5.0}), HistoryRow(2, 0, 0.0, {"loss": 4.0})])
    assert store.run_marks(run.id) == {}
    told.report([HistoryRow(3, 1, 0.0, {"loss": 3.0})])
    assert store.run_marks(run.id) == {2: 3.0}


def test_a_replay_of_rows_that_were_stored_counts_nothing_twice(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    reporter(store, run, sweep).report(rows(5.0))
    reporter(store, run, sweep).report(rows(5.0))
    assert store.run_marks(run.id) == {}
    reporter(store, run, sweep).report(rows(5.0, 4.0))
    assert store.run_marks(run.id) == {2: 4.0}


def again(store: Store, run: Run, sweep: Sweep) -> Run:
    store.finish(run.lease, Outcome(RunState.PREEMPTED))
    return claimed(store, sweep, 1)[0]


def test_a_resumed_run_goes_on_counting_where_it_resumes(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate={"type": "hyperband", "min_iter": 4, "eta": 2, "strict": False})
    run = claimed(store, sweep, 1)[0]
    reporter(store, run, sweep).report(rows(1.0, 2.0, 3.0))
    resumed = again(store, run, sweep)
    told = reporter(store, resumed, sweep)
    told.report([HistoryRow(1, 2, 0.0, {"loss": 7.0})])  # its checkpoint was of step 2: step 2 counts once
    assert store.run_marks(run.id) == {}
    told.report([HistoryRow(2, 3, 0.0, {"loss": 8.0})])
    assert store.run_marks(run.id) == {4: 8.0}
    assert told._judge is not None
    assert told._judge.track.best == 1.0


def test_a_run_that_starts_over_counts_from_zero(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    reporter(store, run, sweep).report(rows(5.0, 4.0))
    over = again(store, run, sweep)
    told = reporter(store, over, sweep)
    told.report(rows(9.0))
    assert store.run_marks(run.id) == {2: 4.0}
    told.report(rows(8.0, start=1))
    assert store.run_marks(run.id) == {2: 8.0}


def test_a_long_past_is_read_page_by_page(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate={"type": "hyperband", "min_iter": 2501, "eta": 2})
    run = claimed(store, sweep, 1)[0]
    reporter(store, run, sweep).report(rows(*[1.0] * 2500))
    resumed = again(store, run, sweep)
    reporter(store, resumed, sweep).report([HistoryRow(1, 2500, 0.0, {"loss": 0.5})])
    assert store.run_marks(run.id) == {2501: 0.5}


def test_a_run_told_to_stop_leaves_its_marks_for_others(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    told = reporter(store, run, sweep)
    store.request_stop(run.id, "enough")
    assert told.report(rows(1.0, 2.0)) == Directive("stop", "enough")
    assert store.run_marks(run.id) == {2: 2.0}


def test_a_lost_lease_leaves_no_marks(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    old = reporter(store, run, sweep)
    again(store, run, sweep)
    assert old.report(rows(1.0, 2.0)).action == "lost"
    assert store.run_marks(run.id) == {}


def test_without_a_stopper_a_report_is_only_stored(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    run = claimed(store, sweep, 1)[0]
    told = reporter(store, run, sweep)
    assert told.report(rows(3.0, 2.0), summary={"loss": 2.0}, value=2.0) == Directive()
    assert [row.data["loss"] for row in store.history(run.id)] == [3.0, 2.0]
    assert store.get_run(run.id).value == 2.0


def test_a_run_outside_every_sweep_reports_too(store: Store) -> None:
    run = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    assert Reporter(store, run.lease, None).report(rows(1.0)) == Directive()
    assert len(store.history(run.id)) == 1


@dataclass
class Broken:
    def marks(self, point: Point) -> Sequence[tuple[int, float]]:
        return []

    def judge(self, point: Point, board: Board) -> Verdict:
        raise ZeroDivisionError("broken stopper")


def test_a_stopper_that_fails_is_logged_and_the_run_goes_on(
    store: Store, new_sweep: NewSweep, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = new_sweep(early_terminate=EARLY)
    run = claimed(store, sweep, 1)[0]
    told = reporter(store, run, sweep)
    assert told._judge is not None
    told._judge.stopper = Broken()
    with caplog.at_level(logging.ERROR):
        assert told.report(rows(1.0)) == Directive()
    assert "could not judge" in caplog.text
    assert len(store.history(run.id)) == 1


def test_a_stopper_that_cannot_be_made_is_logged_and_the_run_goes_on(
    store: Store, new_sweep: NewSweep, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = new_sweep()
    config = {**sweep.config, "early_terminate": {"type": "hyperband", "max_iter": 1, "s": 1}}
    store.amend_sweep(
        sweep.id, version=1, config=config, run_cap=None, max_attempts=None, expected_runs=3, text=None
    )
    run = claimed(store, sweep, 1)[0]
    with caplog.at_level(logging.ERROR):
        assert reporter(store, run, sweep).report(rows(1.0)) == Directive()
    assert "cannot be made" in caplog.text


def test_a_metric_that_only_the_summary_has_is_judged_by_what_is_logged() -> None:
    assert reported_value({"val": {"loss": 2.0}}, "val.loss") == 2.0
    assert reported_value({"loss": 3.0}, "loss.min") == 3.0
    assert reported_value({"loss": 3.0}, "loss.other") is None
    assert reported_value({"loss": 3.0}, "min") is None


def test_a_report_after_the_runs_end_changes_nothing(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2})
    one, two = claimed(store, sweep, 2)
    reporter(store, one, sweep).report(rows(1.0))
    late = reporter(store, two, sweep)
    store.finish(two.lease, Outcome(RunState.FINISHED))
    late.report(rows(5.0))
    assert store.get_run(two.id).state is RunState.FINISHED
