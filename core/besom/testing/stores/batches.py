"""Several runs at a time: a batch of claims is as many claims, one after another, at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from besom.errors import NotFoundError, UsageError
from besom.records import Outcome, Run, RunState, Sweep, SweepState
from besom.store.base import MAX_CLAIMED, Store
from besom.testing.stores.ground import (
    MINUTE,
    Ground,
    Time,
    batch,
    claim,
    claims_nothing,
    finish,
    point,
    set_state,
    sweep_with,
)

Prepare = Callable[[Store, Time], Sweep]


def with_runs_of_all_kinds(store: Store, time: Time) -> Sweep:
    """Preempted, tried again, enqueued, buffered; and a run whose lease has run out."""
    sweep = sweep_with(store, 6)
    runs = [claim(store, sweep) for _ in range(3)]
    lost = claim(store, sweep, seconds=1)
    finish(store, runs[2], state=RunState.PREEMPTED)
    finish(store, runs[0])
    store.retry(runs[0].id)
    store.enqueue(sweep.id, point(90))
    time.pass_(2)
    assert store.get_run(lost.id).state is RunState.RUNNING
    return sweep


def with_a_cap(store: Store, time: Time) -> Sweep:
    """Room for three runs, one of which had been handed out before."""
    sweep = sweep_with(store, 9, run_cap=3)
    finish(store, claim(store, sweep), state=RunState.PREEMPTED)
    store.enqueue(sweep.id, point(90))
    return sweep


def with_a_full_cap(store: Store, time: Time) -> Sweep:
    """Room for none, but for the two that had been handed out before."""
    sweep = sweep_with(store, 9, run_cap=2)
    for run in (claim(store, sweep), claim(store, sweep)):
        finish(store, run, state=RunState.PREEMPTED)
    store.enqueue(sweep.id, point(90))
    return sweep


def with_stale_suggestions(store: Store, time: Time) -> Sweep:
    """Some of those that wait are out of date: the first, one in between, and the last."""
    sweep = sweep_with(store, 1, exhausted=False)
    finish(store, claim(store, sweep))
    for number, stale_at in enumerate((1, 2, None, 1, None, 1), start=1):
        cursor = store.get_sweep(sweep.id).cursor
        store.offer(sweep.id, batch([number]), version=1, cursor=cursor, stale_at=stale_at)
    return sweep


def with_nothing_but_stale_ones(store: Store, time: Time) -> Sweep:
    """Nothing that waits may be handed out."""
    sweep = sweep_with(store, 1, exhausted=False)
    finish(store, claim(store, sweep))
    store.offer(sweep.id, batch([1, 2], cursor=3), version=1, cursor=1, stale_at=1)
    return sweep


def paused(store: Store, time: Time) -> Sweep:
    """Takes no runs, though some wait and a lease has run out."""
    sweep = sweep_with(store, 3)
    claim(store, sweep, seconds=1)
    time.pass_(2)
    return set_state(store, sweep, SweepState.PAUSED)


def new(store: Store, time: Time) -> Sweep:
    """Never claimed from."""
    return sweep_with(store, 3)


def empty(store: Store, time: Time) -> Sweep:
    """Never claimed from, with nothing to take."""
    return sweep_with(store, 0, exhausted=False)


SITUATIONS: tuple[Prepare, ...] = (
    new,
    empty,
    paused,
    with_runs_of_all_kinds,
    with_a_cap,
    with_a_full_cap,
    with_stale_suggestions,
    with_nothing_but_stale_ones,
)


class BatchContract(Ground):
    """`claim_batch`."""

    @pytest.mark.parametrize("count", [1, 2, 3, 50])
    @pytest.mark.parametrize("prepare", SITUATIONS)
    def test_a_batch_is_as_many_claims(self, store: Store, time: Time, prepare: Prepare, count: int) -> None:
        one, other = prepare(store, time), prepare(store, time)
        singly = [store.claim(one.id, "agent", lease_seconds=MINUTE) for _ in range(count)]
        runs = store.claim_batch(other.id, "agent", count, lease_seconds=MINUTE)
        assert list(map(seen, runs)) == [seen(run) for run in singly if run is not None]
        assert [store.get_run(run.id) for run in runs] == runs
        assert store.progress(other.id) == store.progress(one.id)
        assert store.get_sweep(other.id).state is store.get_sweep(one.id).state
        assert list(map(seen, store.list_runs(other.id))) == list(map(seen, store.list_runs(one.id)))
        assert left(store, other) == left(store, one)

    def test_each_run_of_a_batch_has_a_lease_of_its_own(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 3)
        first, second, third = store.claim_batch(sweep.id, "agent", 3, lease_seconds=10)
        assert len({first.id, second.id, third.id}) == 3
        time.pass_(8)
        store.heartbeat([second.lease], lease_seconds=10)
        assert finish(store, third).state is RunState.FINISHED
        time.pass_(8)
        [again] = store.claim_batch(sweep.id, "other", 3, lease_seconds=10)
        assert (again.id, again.attempt, again.crashes, again.agent_id) == (first.id, 2, 1, "other")
        assert store.heartbeat([second.lease], lease_seconds=10)[second.lease].action == "continue"

    def test_the_largest_batch_is_handed_out_whole_and_once(self, store: Store) -> None:
        sweep = sweep_with(store, MAX_CLAIMED + 1)
        runs = store.claim_batch(sweep.id, "agent", MAX_CLAIMED, lease_seconds=MINUTE)
        assert [run.number for run in runs] == list(range(1, MAX_CLAIMED + 1))
        assert [run.key for run in runs] == [f"k{number}" for number in range(MAX_CLAIMED)]
        assert len({run.id for run in runs}) == MAX_CLAIMED
        changes = [run.changed for run in runs]
        assert changes == sorted(set(changes))
        assert claim(store, sweep).key == f"k{MAX_CLAIMED}"
        assert claims_nothing(store, sweep)

    @pytest.mark.parametrize("count", [0, -1, MAX_CLAIMED + 1, 10**9, 10**30])
    def test_a_batch_of_too_many_or_of_none_is_a_usage_error(self, store: Store, count: int) -> None:
        sweep = sweep_with(store, 3)
        with pytest.raises(UsageError, match=str(MAX_CLAIMED)):
            store.claim_batch(sweep.id, "agent", count, lease_seconds=MINUTE)
        assert store.list_runs(sweep.id) == []
        assert store.get_sweep(sweep.id).state is SweepState.PENDING

    def test_a_batch_of_a_sweep_that_is_not_there_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="nothing"):
            store.claim_batch("nothing", "agent", 2, lease_seconds=MINUTE)

    def test_threads_that_take_batches_and_single_runs_never_get_the_same(self, store: Store) -> None:
        sweep = sweep_with(store, 120)
        claimed: list[Run] = []

        def take_batches() -> None:
            while runs := store.claim_batch(sweep.id, "agent", 7, lease_seconds=MINUTE):
                claimed.extend(runs)

        def take_singly() -> None:
            while (run := store.claim(sweep.id, "agent", lease_seconds=MINUTE)) is not None:
                claimed.append(run)

        threads = [threading.Thread(target=work) for work in (take_batches, take_singly) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(run.number for run in claimed) == list(range(1, 121))
        assert len({run.id for run in claimed}) == len({run.key for run in claimed}) == 120

    def test_the_runs_of_a_batch_end_as_others_do(self, store: Store) -> None:
        sweep = sweep_with(store, 4)
        runs = store.claim_batch(sweep.id, "agent", 4, lease_seconds=MINUTE)
        for run in runs:
            store.finish(run.lease, Outcome(RunState.FINISHED, 0, value=float(run.number)))
        best = store.best_run(sweep.id)
        assert best is not None
        assert best.id == runs[0].id
        assert store.finish_sweep(sweep.id).state is SweepState.FINISHED


def seen(run: Run) -> tuple[object, ...]:
    """Give all of a run that two sweeps of the same history have in common."""
    return (
        run.number, run.name, run.state, run.params, run.key, run.source, run.attempt, run.failures,
        run.crashes, run.agent_id, run.stop_reason, run.exit_code, run.error,
    )  # fmt: skip


def left(store: Store, sweep: Sweep) -> list[str]:
    """Give the keys that wait."""
    return [waiting.key for waiting in store.buffer(sweep.id)]
