from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from besom import proposer as proposer_module
from besom import scheduler as scheduler_module
from besom.agent.ahead import CODE
from besom.proposer import KEEP, Proposer, Refilled, depth, keep_ahead
from besom.records import Batch, Outcome, Run, RunState, Sweep
from besom.scheduler import Idle, Scheduler
from besom.search.base import History
from besom.search.bayes.method import Bayes
from besom.store import Store
from besom.sweep import extend_sweep, sweep_config
from besom.sweepfile import from_mapping

NewSweep = Callable[..., Sweep]

BAYES: dict[str, Any] = {
    "method": "bayes",
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}},
}


def hands_of(store: Store, sweep: Sweep, name: str = "agent") -> Scheduler:
    return Scheduler(store, sweep.id, agent_id=name)


def claim(hands: Scheduler) -> Run:
    """Ask until a run comes."""
    deadline = time.monotonic() + 60
    while not isinstance(answer := hands.claim(), Run):
        assert answer is Idle.AGAIN
        assert time.monotonic() < deadline
    return answer


def finish(store: Store, run: Run, value: float = 1.0) -> None:
    store.finish(run.lease, Outcome(RunState.FINISHED, summary={"loss": value}, value=value))


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def ahead(store: Store, sweep: Sweep, name: str = "proposer") -> Generator[subprocess.Popen[bytes]]:
    """Run a proposer as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, sweep.id, name, str(os.getpid())],
        stdin=subprocess.PIPE,
        env={**os.environ, "BESOM_STORE": store.url},
    )
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)


def test_one_agent_alone_gets_suggestions_made_from_all_its_results(
    store: Store, new_sweep: NewSweep
) -> None:
    def walk(sweep: Sweep) -> list[Any]:
        hands = hands_of(store, sweep)
        found: list[Any] = []
        for _ in range(8):
            run = claim(hands)
            assert store.buffer(sweep.id) == []
            found.append(run.params)
            finish(store, run, run.params["x"])
        return found

    assert walk(new_sweep(seed=3, **BAYES)) == walk(new_sweep(seed=3, **BAYES))


def test_a_claim_gives_the_proposers_lease_up_again(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(**BAYES)
    claim(hands_of(store, sweep))
    assert store.lease_proposer(sweep.id, "another", lease_seconds=1) is not None


def test_cheap_methods_need_no_lease(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(method="random")
    store.lease_proposer(sweep.id, "another", lease_seconds=60)
    assert isinstance(hands_of(store, sweep).claim(), Run)


def test_a_claim_that_waits_too_long_guesses(
    store: Store, new_sweep: NewSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "PATIENCE", 0.05)
    sweep = new_sweep(**BAYES)
    store.lease_proposer(sweep.id, "silent", lease_seconds=600)
    hands = [hands_of(store, sweep, f"agent-{number}") for number in range(4)]
    runs = [claim(one) for one in hands for _ in range(6)]
    assert len({run.key for run in runs}) == 24
    assert all(0 <= run.params["x"] <= 1 for run in runs)
    assert store.get_sweep(sweep.id).cursor == 0  # the silent one's work would still count


def test_guesses_exhaust_no_finite_space_twice(
    store: Store, new_sweep: NewSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "PATIENCE", 0.0)
    sweep = new_sweep(method="bayes", parameters={"a": {"values": [1, 2, 3]}, "b": {"min": 1, "max": 2}})
    store.lease_proposer(sweep.id, "silent", lease_seconds=600)
    hands = hands_of(store, sweep)
    found: list[str] = []
    deadline = time.monotonic() + 30
    while len(found) < 4:
        assert time.monotonic() < deadline
        if isinstance(run := hands.claim(), Run):
            found.append(run.key)
            finish(store, run)
    store.lease_proposer(sweep.id, "silent", lease_seconds=0)
    while (answer := hands.claim()) is not Idle.DONE:
        if isinstance(answer, Run):
            found.append(answer.key)
            finish(store, answer)
    assert len(found) == len(set(found)) == 6


def test_a_refill_with_a_term_ages_and_one_in_place_of_another_replaces_it(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep(**BAYES)
    for index in range(10):
        finish(store, claim(hands_of(store, sweep)), index)
    term = store.lease_proposer(sweep.id, "me", lease_seconds=60)
    proposer = Proposer(store)
    assert proposer.refill(store.get_sweep(sweep.id), term=term) is Refilled.NEW
    (old,) = store.buffer(sweep.id)
    assert old.stale_at == 10 + KEEP
    assert proposer.refill(store.get_sweep(sweep.id), term=term, instead_of=[old]) is Refilled.NEW
    (new,) = store.buffer(sweep.id)
    assert new.key != old.key


def test_replacing_what_waits_fits_under_a_run_cap(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(run_cap=1, **BAYES)
    term = store.lease_proposer(sweep.id, "me", lease_seconds=60)
    proposer = Proposer(store)
    proposer.refill(store.get_sweep(sweep.id), term=term)
    (old,) = store.buffer(sweep.id)
    assert not proposer.may_refill(store.get_sweep(sweep.id))
    assert proposer.refill(store.get_sweep(sweep.id), term=term) is Refilled.NOTHING
    assert proposer.refill(store.get_sweep(sweep.id), term=term, instead_of=[old]) is Refilled.NEW
    assert len(store.buffer(sweep.id)) == 1


def test_a_proposer_keeps_suggestions_waiting_until_runs_come_one_at_a_time(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep(**BAYES)
    hands = hands_of(store, sweep)
    runs = [claim(hands) for _ in range(4)]
    with ahead(store, sweep) as process:
        wait_until(lambda: len(store.buffer(sweep.id)) >= depth(4))
        assert store.lease_proposer(sweep.id, "another", lease_seconds=60) is None
        waiting = store.buffer(sweep.id)
        assert claim(hands).key == waiting[0].key
        wait_until(lambda: len(store.buffer(sweep.id)) >= depth(5))
        for run in runs:
            finish(store, run, run.params["x"])
        wait_until(lambda: any(item.stale_at == 4 + KEEP for item in store.buffer(sweep.id)))
        assert process.wait(30) == 0  # one run is left
    assert store.lease_proposer(sweep.id, "another", lease_seconds=1) is not None


def test_extending_a_sweep_makes_the_proposer_start_over_in_the_new_space(
    store: Store, new_sweep: NewSweep
) -> None:
    sweep = new_sweep(**BAYES)
    hands = hands_of(store, sweep)
    for _ in range(3):
        claim(hands)
    with ahead(store, sweep):
        wait_until(lambda: store.buffer(sweep.id))
        raw = dict(sweep_config(store.get_sweep(sweep.id)).raw)
        raw["parameters"] = {"x": {"min": 5.0, "max": 6.0}, "y": {"min": 5.0, "max": 6.0}}
        extend_sweep(store, sweep.id, from_mapping(raw))
        assert all(5.0 <= claim(hands).params["x"] <= 6.0 for _ in range(4))
        wait_until(lambda: store.buffer(sweep.id))
        assert all(item.params["x"] >= 5.0 for item in store.buffer(sweep.id))


@pytest.mark.slow
def test_a_proposer_that_is_killed_doubles_and_loses_nothing(store: Store, new_sweep: NewSweep) -> None:
    points = {"a": {"min": 1, "max": 6}, "b": {"min": 1, "max": 6}}
    sweep = new_sweep(method="bayes", parameters=points)
    hands = hands_of(store, sweep)
    running = [claim(hands) for _ in range(4)]
    keys = [run.key for run in running]
    with ahead(store, sweep) as process:
        wait_until(lambda: store.buffer(sweep.id))
        for _ in range(12):
            finish(store, running.pop(0), float(len(keys)))
            running.append(claim(hands))
            keys.append(running[-1].key)
        process.send_signal(signal.SIGKILL)
    while (answer := hands.claim()) is not Idle.DONE:
        if isinstance(answer, Run):
            keys.append(answer.key)
            running.append(answer)
        elif answer is Idle.WAIT:
            finish(store, running.pop(0))
    assert len(keys) == len(set(keys)) == 36


@pytest.mark.slow
def test_who_is_killed_while_it_asks_keeps_nobody_from_asking(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(**BAYES)
    program = """
import os, signal, sys
import besom
from besom.search.bayes.method import Bayes

suggest = Bayes.suggest

def deadly(self, cursor, count, history):
    if cursor == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return suggest(self, cursor, count, history)

Bayes.suggest = deadly
with besom.Sweep(sys.argv[1], store=sys.argv[2]) as sweep:
    while True:
        sweep.tell(sweep.ask(), 1.0)
"""
    died = subprocess.run([sys.executable, "-c", program, sweep.id, store.url], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert store.lease_proposer(sweep.id, "another", lease_seconds=60) is None
    wait_until(lambda: store.lease_proposer(sweep.id, "another", lease_seconds=60) is not None, 8)


def test_the_lease_outlasts_suggestions_that_take_long(
    store: Store, new_sweep: NewSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposer_module, "LEASE_SECONDS", 0.1)
    suggest = Bayes.suggest

    def slow(self: Bayes, cursor: int, count: int, history: History) -> Batch:
        time.sleep(0.3)
        return suggest(self, cursor, count, history)

    monkeypatch.setattr(Bayes, "suggest", slow)
    sweep = new_sweep(**BAYES)
    claim(hands_of(store, sweep))
    claim(hands_of(store, sweep))
    taken: list[int] = []

    def wait(seconds: float) -> bool:
        if store.lease_proposer(sweep.id, "another", lease_seconds=0.01) is not None:
            taken.append(len(store.buffer(sweep.id)))
        return len(store.buffer(sweep.id)) == depth(2)

    keep_ahead(store, sweep.id, "me", wait=wait)
    assert taken == []
    assert len(store.buffer(sweep.id)) == depth(2)


def test_a_proposer_without_the_lease_leaves_at_once(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(**BAYES)
    store.lease_proposer(sweep.id, "another", lease_seconds=60)

    def wait(seconds: float) -> bool:
        raise AssertionError("it has nothing to wait for")

    keep_ahead(store, sweep.id, "me", wait=wait)
    assert store.buffer(sweep.id) == []


def test_a_proposer_whose_lease_was_taken_over_offers_nothing_more(store: Store, new_sweep: NewSweep) -> None:
    sweep = new_sweep(**BAYES)
    old = store.lease_proposer(sweep.id, "me", lease_seconds=0.01)
    wait_until(lambda: store.lease_proposer(sweep.id, "another", lease_seconds=60))
    assert Proposer(store).refill(store.get_sweep(sweep.id), term=old) is Refilled.NEW  # somebody was first
    assert store.buffer(sweep.id) == []
