from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.api import Api
from besom.records import HistoryRow, Lease, Outcome, Run, RunState, Sweep
from besom.scheduler import Reporter, Scheduler
from besom.stopping.explain import Standing, explain
from besom.store import Store, open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping

ASHA = {"type": "asha", "min_iter": 2, "eta": 2, "resource": "epoch"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    yield store
    store.close()


def new_sweep(store: Store, early: object = None, goal: str = "minimize") -> Sweep:
    config = {
        "method": "grid",
        "metric": {"name": "loss", "goal": goal},
        "parameters": {"a": {"values": [1, 2, 3, 4]}},
    }
    return create_sweep(store, from_mapping(config | ({"early_terminate": early} if early else {})))


def claimed(store: Store, sweep: Sweep) -> Run:
    run = Scheduler(store, sweep.id, agent_id=store.add_agent(sweep.id, host="here", pid=1).id).claim()
    assert isinstance(run, Run)
    return run


def report(store: Store, sweep: Sweep, run: Run, *losses: float, first: int = 1) -> str:
    rows = [
        HistoryRow(n - first + 1, n, 0.0, {"loss": loss, "epoch": n})
        for n, loss in enumerate(losses, start=first)
    ]
    return Reporter(store, run.lease, store.get_sweep(sweep.id)).report(rows, value=losses[-1]).action


def sentence(store: Store, run: Run) -> str:
    return explain(store, store.get_run(run.id)).sentence


def test_a_stopped_run_is_explained_by_what_was_written_down_then(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    good, bad = claimed(store, sweep), claimed(store, sweep)
    report(store, sweep, good, 2.0, 1.0)
    assert report(store, sweep, bad, 2.0, 3.0) == "stop"
    assert sentence(store, bad) == (
        f"run {bad.id} is told to stop: asha: loss 3 at epoch 2 is not among the best of 2 runs"
        " (threshold 1, eta 2)"
    )
    store.finish(bad.lease, Outcome(RunState.STOPPED))
    third = claimed(store, sweep)
    report(store, sweep, third, 2.0, 5.0)
    assert sentence(store, bad).startswith(f"run {bad.id} ended as stopped: asha: loss 3 at epoch 2 is not")
    assert "of 2 runs" in sentence(store, bad)


def test_a_kept_run_is_explained_by_the_rungs_as_they_stand_now(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    good, bad = claimed(store, sweep), claimed(store, sweep)
    report(store, sweep, good, 2.0, 1.0)
    report(store, sweep, bad, 2.0, 3.0)
    found = explain(store, store.get_run(good.id))
    assert found.sentence == (
        f"run {good.id} goes on: asha: loss 1 at epoch 2 is among the best of 2 runs (threshold 1, eta 2)"
    )
    assert (found.stopped, found.by, found.standings) == (False, "asha", (Standing(2, 1.0, 1, 2),))
    assert explain(store, store.get_run(bad.id)).standings == (Standing(2, 3.0, 2, 2),)


def test_a_run_that_passed_and_would_not_now_says_so(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    early, late = claimed(store, sweep), claimed(store, sweep)
    report(store, sweep, early, 2.0, 2.0)
    report(store, sweep, late, 2.0, 1.0)
    assert sentence(store, early).startswith(f"run {early.id} will be stopped at its next report: asha:")
    store.finish(early.lease, Outcome(RunState.FINISHED))
    assert sentence(store, early).startswith(
        f"run {early.id} ended as finished, nothing stopped it:"
        " as the rungs stand now it would be stopped, asha:"
    )


def test_values_are_shown_as_they_were_logged_when_the_goal_is_to_maximize(store: Store) -> None:
    sweep = new_sweep(store, ASHA, goal="maximize")
    best, other = claimed(store, sweep), claimed(store, sweep)
    report(store, sweep, best, 0.5, 0.9)
    report(store, sweep, other, 0.5, 0.6)
    assert explain(store, store.get_run(other.id)).standings == (Standing(2, 0.6, 2, 2),)
    assert "loss 0.6 at epoch 2" in sentence(store, other)


def test_a_run_that_went_on_from_a_checkpoint_is_explained_whole(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    run = claimed(store, sweep)
    report(store, sweep, run, 3.0)
    store.finish(run.lease, Outcome(RunState.PREEMPTED))
    assert sentence(store, run) == f"run {run.id} waits in the queue: asha: no rung is passed yet"
    again = claimed(store, sweep)
    assert again.lease == Lease(run.id, 2)
    report(store, sweep, again, 2.0, first=2)
    assert "loss 2 at epoch 2 is among the best of 1 run" in sentence(store, run)


def test_where_nothing_judges_the_reason_is_that(store: Store) -> None:
    plain = new_sweep(store)
    run = claimed(store, plain)
    assert sentence(store, run) == (
        f"run {run.id} goes on: sweep {plain.id} has no early_terminate, so nothing judges it"
    )
    solo = store.create_run(run_id=None, project=None, name=None, lease_seconds=60)
    assert sentence(store, solo) == f"run {solo.id} goes on: it is outside every sweep, so nothing judges it"


def test_a_run_without_a_value_on_the_axis_is_not_judged_and_says_so(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    run = claimed(store, sweep)
    rows = [HistoryRow(1, 1, 0.0, {"loss": 1.0})]
    Reporter(store, run.lease, store.get_sweep(sweep.id)).report(rows)
    assert sentence(store, run) == (
        f"run {run.id} goes on: it has logged no finite loss beside a value of epoch yet"
    )


def test_a_run_that_never_logs_the_resource_is_warned_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = new_sweep(store, {**ASHA, "resource": "epok"})
    run = claimed(store, sweep)
    with caplog.at_level("WARNING"):
        report(store, sweep, run, 3.0, 2.0)
        assert caplog.text == ""
    other = claimed(store, sweep)
    with caplog.at_level("WARNING"):
        report(store, sweep, other, *[1.0] * 9)
    assert caplog.text.count("it logs loss, but no epok, which the sweep's resource names") == 1


def test_a_stop_by_hand_is_told_as_one(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    run = claimed(store, sweep)
    store.request_stop(run.id, "stopped by hand")
    assert sentence(store, run) == f"run {run.id} is told to stop: stopped by hand"


def test_a_run_that_was_faster_than_the_request_to_stop_says_so(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    run = claimed(store, sweep)
    store.request_stop(run.id, "stopped by hand")
    store.finish(run.lease, Outcome(RunState.FINISHED))
    assert sentence(store, run) == (
        f"run {run.id} ended as finished before it was told to stop: stopped by hand"
    )


def test_a_run_view_explains_itself(store: Store) -> None:
    sweep = new_sweep(store, ASHA)
    run = claimed(store, sweep)
    report(store, sweep, run, 2.0, 1.0)
    assert Api(store).run(run.id).explain() == sentence(store, run)


EARLY: list[tuple[dict[str, object], list[list[float]], str]] = [
    ({"type": "median", "min_runs": 2}, [[1.0], [2.0], [9.0]], "median: best loss 9 at report 1 is worse"),
    (
        {"type": "wilcoxon", "p": 0.2},
        [[1.0, 1.0, 1.0], [2.0, 3.0, 4.0]],
        "wilcoxon: loss 3 on average over 3 values is significantly worse than the best run's 1 (p 0.12",
    ),
    ({"type": "patience", "patience": 2}, [[1.0, 1.0, 1.0]], "patience: loss 1 at report 3"),
    ({"type": "threshold", "upper": 5}, [[9.0]], "threshold: loss 9 at report 1 is above 5"),
    ({"type": "asha", "min_iter": 1}, [[1.0], [2.0]], "asha: loss 2 at report 1 is not among the best of 2"),
]


@pytest.mark.parametrize(("early", "curves", "reason"), EARLY)
def test_every_type_stops_a_run_through_the_store_and_is_explained(
    store: Store, early: dict[str, object], curves: list[list[float]], reason: str
) -> None:
    sweep = new_sweep(store, early)
    runs = [claimed(store, sweep) for _ in curves]
    told = [report(store, sweep, run, *curve) for run, curve in zip(runs, curves, strict=True)]
    assert told == ["continue"] * (len(curves) - 1) + ["stop"]
    assert explain(store, store.get_run(runs[-1].id)).sentence.startswith(
        f"run {runs[-1].id} is told to stop: {reason}"
    )


def test_rungs_survive_the_death_of_every_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'besom.db'}"
    store = open_store(url)
    sweep = new_sweep(store, ASHA)
    good, bad = claimed(store, sweep), claimed(store, sweep)
    report(store, sweep, good, 2.0, 1.0)
    store.close()
    store = open_store(url)
    assert report(store, sweep, bad, 2.0, 3.0) == "stop"
    store.close()
