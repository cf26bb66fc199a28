from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from besom.records import Batch, Outcome, Run, RunState, Suggestion, Sweep, SweepState
from besom.scheduler import Idle, Scheduler, StoreHistory
from besom.search.base import History
from besom.store import Store, open_store
from besom.sweep import (
    cancel_sweep,
    enqueue_run,
    extend_sweep,
    pause_sweep,
    remove_run,
    resume_sweep,
    retry_runs,
    stop_sweep,
    sweep_config,
)
from besom.sweepfile import from_mapping

NewSweep = Callable[..., Sweep]


def scheduler(store: Store, sweep: Sweep) -> Scheduler:
    agent = store.add_agent(sweep.id, host="here", pid=1)
    return Scheduler(store, sweep.id, agent_id=agent.id)


def finish(store: Store, run: Run, value: float | None = None, state: RunState = RunState.FINISHED) -> None:
    summary = {} if value is None else {"loss": value}
    store.finish(run.lease, Outcome(state, exit_code=0, summary=summary, value=value))


def claim(hands: Scheduler) -> Run | Idle:
    """Ask until there is an answer, as agents do."""
    while (answer := hands.claim()) is Idle.AGAIN:
        pass
    return answer


def drain(store: Store, of: Scheduler) -> Iterator[Run]:
    """Claim and finish run after run until none comes."""
    while isinstance(run := claim(of), Run):
        finish(store, run)
        yield run


def test_a_grid_is_handed_out_point_by_point_and_then_the_sweep_is_finished(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep(parameters={"a": {"values": [1, 2, 3]}, "b": {"values": ["x", "y"]}})
    hands = scheduler(store, sweep)
    params = [dict(run.params) for run in drain(store, hands)]
    assert params == [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y")]
    assert hands.claim() is Idle.DONE
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED


def test_an_agent_waits_while_others_still_run(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    one, two = scheduler(store, sweep), scheduler(store, sweep)
    runs = [run for run in (one.claim(), one.claim(), one.claim()) if isinstance(run, Run)]
    assert len(runs) == 3
    assert two.claim() is Idle.WAIT
    store.finish(runs[0].lease, Outcome(RunState.PREEMPTED))
    again = two.claim()
    assert isinstance(again, Run)
    assert (again.id, again.attempt) == (runs[0].id, 2)
    for run in (again, *runs[1:]):
        finish(store, run)
    assert two.claim() is Idle.DONE
    assert one.claim() is Idle.DONE


def test_run_cap_limits_the_runs_and_the_buffer(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(method="random", parameters={"a": {"min": 0.0, "max": 1.0}}, run_cap=5)
    hands = scheduler(store, sweep)
    first = hands.claim()
    assert isinstance(first, Run)
    assert store.progress(sweep.id).buffered == 4
    finish(store, first)
    assert len(list(drain(store, hands))) == 4
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED


def test_a_paused_sweep_hands_out_nothing_until_it_is_resumed(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    run = hands.claim()
    assert isinstance(run, Run)
    pause_sweep(store, sweep.id)
    assert hands.claim() is Idle.PAUSED
    finish(store, run)
    assert hands.claim() is Idle.PAUSED
    resume_sweep(store, sweep.id)
    assert isinstance(hands.claim(), Run)


@pytest.mark.parametrize("end", [stop_sweep, cancel_sweep])
def test_a_sweep_that_was_ended_sends_agents_home(
    store: Store, new_sweep: NewSweep, end: Callable[[Store, str], Sweep]
) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    assert isinstance(hands.claim(), Run)
    end(store, sweep.id)
    assert hands.claim() is Idle.DONE


def test_the_agent_sees_the_sweep_as_it_is_after_each_claim(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    states = [hands.sweep.state]
    hands.claim()
    states.append(hands.sweep.state)
    assert states == [SweepState.PENDING, SweepState.RUNNING]


def test_an_extended_sweep_runs_only_the_new_points(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    assert len(list(drain(store, hands))) == 3
    assert hands.claim() is Idle.DONE
    raw = dict(sweep_config(sweep).raw) | {"parameters": {"a": {"values": [0, 1, 2, 3, 4]}}}
    extend_sweep(store, sweep.id, from_mapping(raw))
    assert [run.params["a"] for run in drain(store, hands)] == [0, 4]
    assert hands.sweep.version == 2
    assert hands.claim() is Idle.DONE


def test_a_nearly_finished_space_is_walked_in_long_strides(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(parameters={"a": {"min": 1, "max": 20_000}})
    space = sweep_config(sweep).space
    done = tuple(space.suggestion({"a": a}) for a in range(1, 20_000))
    store.offer(sweep.id, Batch(done, 20_000, exhausted=True), version=1, cursor=0)
    raw = dict(sweep_config(sweep).raw)
    for suggestion in done[:9000]:  # the rest is dropped with the buffer
        store.enqueue(sweep.id, suggestion, source="prior", outcome=Outcome(RunState.FINISHED))
    extend_sweep(store, sweep.id, from_mapping(raw))
    asked: list[int] = []
    hands = scheduler(store, sweep)
    method = hands.method

    @dataclass
    class Counting:
        lookahead: int = method.lookahead

        def suggest(self, cursor: int, count: int, history: History) -> Batch:
            asked.append(cursor)
            return method.suggest(cursor, count, history)

    hands._proposer._method = (hands.sweep.version, Counting())
    hands.sweep = store.get_sweep(sweep.id)
    run = claim(hands)
    assert isinstance(run, Run)
    assert run.params == {"a": 9001}
    assert len(asked) <= 6


def test_a_claim_is_back_soon_where_nothing_new_is_far_away(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(
        parameters={name: {"min": 0, "max": 99_999} for name in "ab"}, constraints=["a + b >= 199998"]
    )
    hands = scheduler(store, sweep)
    cursors: list[int] = []
    for _ in range(3):
        assert hands.claim() is Idle.AGAIN
        cursors.append(store.get_sweep(sweep.id).cursor)
    assert 0 < cursors[0] < cursors[1] < cursors[2] < 10**6
    pause_sweep(store, sweep.id)
    assert hands.claim() is Idle.PAUSED


def test_a_cap_holds_also_where_long_strides_meet_new_points(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(parameters={"a": {"min": 1, "max": 1000}}, run_cap=2)
    space = sweep_config(sweep).space
    for a in range(1, 301):
        suggestion = space.suggestion({"a": a})
        store.enqueue(sweep.id, suggestion, source="prior", outcome=Outcome(RunState.FINISHED))
    hands = scheduler(store, sweep)
    first = claim(hands)
    assert isinstance(first, Run)
    assert first.params == {"a": 301}
    assert store.progress(sweep.id).buffered <= 1
    finish(store, first)
    assert [run.params["a"] for run in drain(store, hands)] == [302]
    assert hands.claim() is Idle.DONE


def test_prior_runs_do_not_use_up_the_cap(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(run_cap=2)
    suggestion = sweep_config(sweep).space.suggestion({"a": 1})
    store.enqueue(sweep.id, suggestion, source="prior", outcome=Outcome(RunState.FINISHED))
    assert [run.params["a"] for run in drain(store, scheduler(store, sweep))] == [2, 3]


def test_a_sweep_whose_points_are_all_prior_runs_ends_at_once(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(parameters={"a": {"value": 1}})
    suggestion = sweep_config(sweep).space.suggestion({"a": 1})
    store.enqueue(sweep.id, suggestion, source="prior", outcome=Outcome(RunState.FINISHED))
    assert scheduler(store, sweep).claim() is Idle.DONE
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED


def test_chosen_and_retried_runs_come_before_what_the_method_proposes(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    enqueue_run(store, sweep.id, {"a": 3})
    chosen = hands.claim()
    assert isinstance(chosen, Run)
    assert chosen.params == {"a": 3}
    finish(store, chosen, state=RunState.FAILED)
    retry_runs(store, sweep.id)
    assert [run.params["a"] for run in drain(store, hands)] == [3, 1, 2]


def test_a_removed_point_is_handed_out_again_once_the_sweep_is_resumed(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    runs = list(drain(store, hands))
    assert hands.claim() is Idle.DONE
    remove_run(store, runs[1].id)
    assert hands.claim() is Idle.DONE
    resume_sweep(store, sweep.id)
    assert [run.params for run in drain(store, hands)] == [{"a": 2}]
    assert hands.claim() is Idle.DONE


@dataclass
class Shy:
    """A method that proposes nothing before it has seen the result of its first point."""

    lookahead: int = 4

    def suggest(self, cursor: int, count: int, history: History) -> Batch:
        if cursor == 0:
            return Batch((Suggestion("first", {"a": 1}),), 1)
        if not history.observations():
            return Batch((), cursor)
        return Batch((Suggestion("second", {"a": 2}),), 2, exhausted=True)


def test_a_method_may_wait_for_results(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep()
    hands = scheduler(store, sweep)
    hands._proposer._method = (1, Shy())
    first = hands.claim()
    assert isinstance(first, Run)
    assert hands.claim() is Idle.WAIT
    finish(store, first)
    second = hands.claim()
    assert isinstance(second, Run)
    assert second.key == "second"


def test_a_method_reads_results_page_by_page_from_where_it_is(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(parameters={"a": {"min": 1, "max": 1500}})
    space = sweep_config(sweep).space
    for a in range(1, 1201):
        outcome = Outcome(RunState.FINISHED, summary={"loss": a}, value=float(a))
        store.enqueue(sweep.id, space.suggestion({"a": a}), source="prior", outcome=outcome)
    history = StoreHistory(store, sweep.id)
    seen = history.observations()
    assert [observation.value for observation in seen] == [float(a) for a in range(1, 1201)]
    assert list(history.observations(after=seen[-1].changed)) == []
    enqueue_run(store, sweep.id, {"a": 1500})
    assert list(history.active()) == [{"a": 1500}]


def test_agents_that_claim_at_once_never_get_the_same_point(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(parameters={"a": {"min": 1, "max": 300}})
    claimed: list[int] = []

    def work() -> None:
        own = open_store(store.url)
        hands = scheduler(own, sweep)
        while (run := hands.claim()) is not Idle.DONE:
            if isinstance(run, Run):
                claimed.append(run.params["a"])
                finish(own, run)
        own.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claimed) == Counter(range(1, 301))
    assert store.progress(sweep.id).count(RunState.FINISHED) == 300
