"""What people, methods and stoppers look at."""

from __future__ import annotations

from typing import Literal

import pytest

from besom.errors import NotFoundError, UsageError
from besom.records import Goal, Lease, Limit, Metric, Observation, Outcome, RunState, SweepState
from besom.store.base import Store
from besom.testing.stores.ground import (
    MINUTE,
    Ground,
    Time,
    claim,
    finish,
    point,
    row,
    sweep_with,
)


class ReadingContract(Ground):
    """Lists, the best run, history, observations and rungs."""

    def test_a_run_that_is_not_there_is_not_found(self, store: Store) -> None:
        for call in (
            lambda: store.get_run("nothing"),
            lambda: store.retry("nothing"),
            lambda: store.request_stop("nothing", "why"),
            lambda: store.delete_run("nothing", release=True),
            lambda: store.attempts("nothing"),
            lambda: store.finish(Lease("nothing", 1), Outcome(RunState.FINISHED)),
        ):
            with pytest.raises(NotFoundError, match="nothing"):
                call()
        assert store.history("nothing") == []
        assert store.last_row(Lease("nothing", 1)) is None

    def test_runs_are_listed_by_number_and_filtered_by_state(self, store: Store) -> None:
        sweep = sweep_with(store, 4)
        runs = [claim(store, sweep) for _ in range(4)]
        finish(store, runs[2])
        finish(store, runs[0], state=RunState.FAILED)
        assert [run.number for run in store.list_runs(sweep.id)] == [1, 2, 3, 4]
        assert [run.number for run in store.list_runs(sweep.id, limit=2)] == [1, 2]
        ended = store.list_runs(sweep.id, states={RunState.FINISHED, RunState.FAILED})
        assert [run.number for run in ended] == [1, 3]
        assert store.list_runs(sweep.id, states=[]) == []
        assert store.list_runs(None) == []

    def test_every_change_of_state_counts_up_for_the_whole_store(self, store: Store, time: Time) -> None:
        sweep, other = sweep_with(store, 3), sweep_with(store, 1)
        seen = 0

        def news() -> list[int]:
            nonlocal seen
            runs = store.list_runs(sweep.id, changed_after=seen)
            assert [run.changed for run in runs] == sorted({run.changed for run in runs})
            seen = max([seen, *(run.changed for run in runs)])
            return [run.number for run in runs]

        first, second = claim(store, sweep), claim(store, sweep, seconds=1)
        assert news() == [1, 2]
        assert news() == []
        assert claim(store, other).changed > seen
        finish(store, first)
        assert news() == [1]
        time.pass_(2)
        store.reap(sweep.id)
        assert news() == [2]
        store.retry(first.id)
        store.request_stop(second.id, "no need")
        assert news() == [1, 2]
        latest = finish(store, claim(store, sweep))
        store.delete_run(latest.id, release=False)
        assert claim(store, sweep).changed > latest.changed

    @pytest.mark.parametrize(("goal", "best"), [("minimize", 2), ("maximize", 3)])
    def test_the_best_run_has_the_best_value_and_the_lowest_number(
        self, store: Store, goal: Literal["minimize", "maximize"], best: int
    ) -> None:
        sweep = sweep_with(store, 8, metric=Metric("loss", goal))
        assert store.best_run(sweep.id) is None
        for value in (5.0, 1.0, 9.0, 1.0, 9.0):
            finish(store, claim(store, sweep), value)
        finish(store, claim(store, sweep))
        finish(store, claim(store, sweep), -100.0 if goal == "minimize" else 100.0, RunState.FAILED)
        found = store.best_run(sweep.id)
        assert found is not None
        assert found.number == best
        running = claim(store, sweep)
        store.report(running.lease, [], value=0.0 if goal == "minimize" else 10.0, lease_seconds=MINUTE)
        found = store.best_run(sweep.id)
        assert found is not None
        assert found.id == running.id
        finish(store, running, state=RunState.PREEMPTED)
        found = store.best_run(sweep.id)
        assert found is not None
        assert found.number == best
        assert store.progress(sweep.id).best == found.value

    def test_a_point_finds_its_run(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        assert store.find_key(sweep.id, "k0") is None
        run = claim(store, sweep)
        assert store.find_key(sweep.id, "k0") == run
        assert store.find_key("nothing", "k0") is None

    def test_history_is_read_in_pages(self, store: Store) -> None:
        run = claim(store, sweep_with(store))
        rows = [row(seq) for seq in range(1, 11)]
        store.report(run.lease, rows[5:], lease_seconds=MINUTE)
        store.report(run.lease, rows[:5], lease_seconds=MINUTE)
        assert store.history(run.id) == rows
        assert store.history(run.id, after=3, limit=4) == rows[3:7]
        assert store.history(run.id, after=10) == []
        assert store.last_row(run.lease) == rows[-1]

    def test_history_is_that_of_the_latest_attempt_with_any(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        first = claim(store, sweep)
        store.report(first.lease, [row(1, a=1)], lease_seconds=MINUTE)
        finish(store, first, state=RunState.PREEMPTED)
        second = claim(store, sweep)
        assert store.history(second.id) == [row(1, a=1)]
        assert store.last_row(second.lease) is None
        store.report(second.lease, [row(1, a=2)], lease_seconds=MINUTE)
        assert store.history(second.id) == [row(1, a=2)]
        assert store.history(second.id, attempt=1) == [row(1, a=1)]

    @pytest.mark.parametrize("goal", ["minimize", "maximize"])
    def test_the_best_run_keeps_the_limits(self, store: Store, goal: Goal) -> None:
        limits = (Limit("ms", max=10), Limit("acc", min=0.5))
        sweep = sweep_with(store, 70, metric=Metric("loss", goal, limits=limits))
        assert store.get_sweep(sweep.id).metric == Metric("loss", goal, limits=limits)
        for number in range(62):
            value = float(number if goal == "minimize" else -number)
            summary = {"ms": 10 if number >= 60 else 11 + number, "acc": 0.5 if number != 60 else 0.4}
            end = RunState.FINISHED if number % 2 else RunState.STOPPED
            store.finish(claim(store, sweep).lease, Outcome(end, summary=summary, value=value))
        best = store.best_run(sweep.id)
        assert best is not None
        assert abs(best.value or 0.0) == 61
        assert store.progress(sweep.id).best == best.value
        running = claim(store, sweep)
        told = {"ms": 1, "acc": 1}
        store.report(running.lease, [], summary=told, value=0.0, lease_seconds=MINUTE)
        assert store.best_run(sweep.id) == store.get_run(running.id)

    def test_no_run_is_best_where_none_keeps_the_limits(self, store: Store) -> None:
        sweep = sweep_with(store, 2, metric=Metric("loss", target=1.0, limits=(Limit("ms", max=10),)))
        for summary in ({"loss": 0.5}, {"loss": 0.5, "ms": 11}):
            store.finish(claim(store, sweep).lease, Outcome(RunState.FINISHED, summary=summary, value=0.5))
        assert store.best_run(sweep.id) is None
        assert store.get_sweep(sweep.id).state is SweepState.RUNNING

    def test_observations_bring_summaries_when_asked(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        store.finish(run.lease, Outcome(RunState.FINISHED, summary={"loss": 1.5, "size": 3}, value=1.5))
        assert [item.summary for item in store.observations(sweep.id)] == [None]
        (told,) = store.observations(sweep.id, summaries=True)
        assert (told.value, told.summary) == (1.5, {"loss": 1.5, "size": 3})

    def test_observations_bring_marks_when_asked(self, store: Store) -> None:
        sweep = sweep_with(store, 2)
        for marks in ({1: 0.5, 3: -2.0, 9: float("inf")}, {}):
            run = claim(store, sweep)
            for rung, loss in marks.items():
                store.mark(sweep.id, run.id, rung, loss)
            store.finish(run.lease, Outcome(RunState.STOPPED, value=1.5))
        assert [item.marks for item in store.observations(sweep.id)] == [None, None]
        assert [item.marks for item in store.observations(sweep.id, marks=True)] == [{1: 0.5, 3: -2.0}, {}]

    def test_observations_go_on_from_where_a_method_left_off(self, store: Store) -> None:
        sweep = sweep_with(store, 12)
        runs = [claim(store, sweep) for _ in range(12)]
        for run in reversed(runs[2:]):
            finish(store, run, float(run.number))
        finish(store, runs[1], state=RunState.PREEMPTED)
        seen: list[Observation] = []
        after = 0
        while page := store.observations(sweep.id, after=after, limit=3):
            seen += page
            after = page[-1].changed
        assert [(one.value, one.params) for one in seen] == [
            (float(run.number), run.params) for run in reversed(runs[2:])
        ]
        assert all(one.state is RunState.FINISHED for one in seen)
        finish(store, runs[0], state=RunState.FAILED)
        (late,) = store.observations(sweep.id, after=after)
        assert (late.run_id, late.state, late.value) == (runs[0].id, RunState.FAILED, None)

    def test_canceled_runs_are_observed_one_by_one(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        for number in range(5):
            store.request_stop(store.enqueue(sweep.id, point(number)).id, "no need")
        after, seen = 0, 0
        while page := store.observations(sweep.id, after=after, limit=1):
            after, seen = page[0].changed, seen + 1
        assert seen == 5

    def test_active_is_what_runs_or_waits(self, store: Store) -> None:
        sweep = sweep_with(store, 4)
        finish(store, claim(store, sweep))
        claim(store, sweep)
        finish(store, claim(store, sweep), state=RunState.PREEMPTED)
        store.enqueue(sweep.id, point(30))
        assert sorted(params["x"] for params in store.active(sweep.id)) == [1, 2, 3, 30]

    def test_attempts_of_a_run_that_never_ran_are_none(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        run = store.enqueue(sweep.id, point(1))
        assert store.attempts(run.id) == []
        store.request_stop(run.id, "no need")
        assert store.attempts(run.id) == []

    def test_rungs_rank_losses(self, store: Store) -> None:
        sweep, other = sweep_with(store, 5), sweep_with(store, 1)
        runs = [claim(store, sweep) for _ in range(5)]
        assert store.rung_size(sweep.id, 0) == 0
        for run, loss in zip(runs, (3.0, 1.0, float("inf"), 2.0, 1.0), strict=True):
            store.mark(sweep.id, run.id, 0, loss)
        store.mark(other.id, claim(store, other).id, 0, -1.0)
        store.mark(sweep.id, runs[0].id, 1, 0.5)
        assert store.rung_size(sweep.id, 0) == 5
        assert [store.rung_loss(sweep.id, 0, k) for k in range(5)] == [1.0, 1.0, 2.0, 3.0, float("inf")]
        for k in (-1, 5):
            with pytest.raises(IndexError):
                store.rung_loss(sweep.id, 0, k)
        assert store.run_marks(runs[0].id) == {0: 3.0, 1: 0.5}

    def test_a_later_mark_replaces_the_earlier(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        store.mark(sweep.id, run.id, 0, 3.0)
        store.mark(sweep.id, run.id, 0, 2.0)
        assert (store.rung_size(sweep.id, 0), store.rung_loss(sweep.id, 0, 0)) == (1, 2.0)
        with pytest.raises(UsageError):
            store.mark(sweep.id, run.id, 0, float("nan"))
        with pytest.raises(NotFoundError):
            store.mark(sweep.id, "nothing", 0, 1.0)

    def test_a_deleted_run_leaves_its_rungs(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        store.mark(sweep.id, run.id, 0, 3.0)
        finish(store, run, 3.0)
        store.delete_run(run.id, release=False)
        assert store.rung_size(sweep.id, 0) == 0
        assert store.run_marks(run.id) == {}
        assert store.progress(sweep.id).counts == {}
        assert store.progress(sweep.id).started == 0
