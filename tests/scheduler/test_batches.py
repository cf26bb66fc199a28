"""Several runs at a time, handed out as they would be one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from besom.errors import StoreError, UsageError
from besom.records import Outcome, Run, RunState, Sweep
from besom.scheduler import Idle, Scheduler
from besom.search.collect import LOOKAHEAD
from besom.store import Store
from besom.store.sqlite import SqliteStore
from besom.sweep import enqueue_run, pause_sweep

NewSweep = Callable[..., Sweep]

BAYES: dict[str, Any] = {
    "method": "bayes",
    "seed": 3,
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
}


def hands_of(store: Store, sweep: Sweep) -> Scheduler:
    return Scheduler(store, sweep.id, agent_id=store.add_agent(sweep.id, host="here", pid=1).id)


def batch(hands: Scheduler, count: int) -> list[Run]:
    """Ask until there are so many, or no more, as those do who run batches."""
    runs: list[Run] = []
    while len(runs) < count:
        answer = hands.claim_batch(count - len(runs))
        if isinstance(answer, list):
            runs += answer
        elif answer is not Idle.AGAIN:
            break
    return runs


def finish(store: Store, runs: list[Run]) -> None:
    for run in runs:
        value = sum(run.params.values())
        store.finish(run.lease, Outcome(RunState.FINISHED, 0, summary={"loss": value}, value=value))


def test_a_grid_is_handed_out_by_the_batch_and_then_the_sweep_is_finished(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep(parameters={"a": {"values": list(range(LOOKAHEAD + 6))}})
    hands = hands_of(store, sweep)
    first = batch(hands, LOOKAHEAD + 3)
    assert [run.params["a"] for run in first] == list(range(LOOKAHEAD + 3))
    rest = batch(hands, 100)
    assert [run.params["a"] for run in rest] == list(range(LOOKAHEAD + 3, LOOKAHEAD + 6))
    assert hands.claim_batch(5) is Idle.WAIT
    finish(store, [*first, *rest])
    assert hands.claim_batch(5) is Idle.DONE


def test_what_waits_is_given_before_the_method_is_asked(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    chosen = [enqueue_run(store, sweep.id, {"a": a}).id for a in (2, 3)]
    hands = hands_of(store, sweep)
    answer = hands.claim_batch(3)
    assert isinstance(answer, list)
    assert [run.id for run in answer] == chosen
    assert store.get_sweep(sweep.id).cursor == 0
    assert [run.params["a"] for run in batch(hands, 3)] == [1]


def test_a_batch_of_a_paused_sweep_is_none(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    hands = hands_of(store, sweep)
    assert len(batch(hands, 2)) == 2
    pause_sweep(store, sweep.id)
    assert hands.claim_batch(2) is Idle.PAUSED


def test_a_batch_takes_no_more_than_run_cap_allows(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(run_cap=2)
    hands = hands_of(store, sweep)
    assert [run.params["a"] for run in batch(hands, 9)] == [1, 2]
    assert hands.claim_batch(9) is Idle.WAIT


def test_each_point_of_a_learning_method_s_batch_knows_the_others(store: Store, new_sweep: NewSweep) -> None:
    by_the_batch, singly = new_sweep(**BAYES), new_sweep(**BAYES)
    hands, one_hand = hands_of(store, by_the_batch), hands_of(store, singly)
    together: list[Any] = []
    one_by_one: list[Any] = []
    for _ in range(3):
        runs = batch(hands, 4)
        others = [answer for answer in (one_hand.claim() for _ in range(4)) if isinstance(answer, Run)]
        finish(store, runs)
        finish(store, others)
        together += [run.params for run in runs]
        one_by_one += [run.params for run in others]
    assert len(together) == 12
    assert together == one_by_one


def test_runs_in_hand_outlive_a_store_that_fails_a_moment_later(
    store: Store, new_sweep: NewSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = new_sweep()
    enqueue_run(store, sweep.id, {"a": 1})
    hands = hands_of(store, sweep)

    def fail(store: Store, sweep_id: str) -> Sweep:
        raise StoreError("the network was cut")

    with monkeypatch.context() as cut:
        cut.setattr(SqliteStore, "get_sweep", fail)
        answer = hands.claim_batch(2)
        assert isinstance(answer, list)
        assert [run.params["a"] for run in answer] == [1]
    assert len(batch(hands, 9)) == 2


@pytest.mark.parametrize("count", [0, -3])
def test_a_batch_of_none_is_a_usage_error(store: Store, new_sweep: NewSweep, count: int) -> None:
    with pytest.raises(UsageError, match="count"):
        hands_of(store, new_sweep()).claim_batch(count)
