"""Agents that found nothing to take, and are told when to look again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from besom.errors import NotFoundError
from besom.records import RunState, SweepState
from besom.store.base import Store
from besom.testing.stores.ground import Ground, Time, batch, claim, finish, point, set_state, sweep_with

LONG = 60.0  # seconds: nothing here waits so long unless it is wrong


class WaitContract(Ground):
    """`wait`, which comes back when a claim that found nothing may find something."""

    def test_how_things_stand_is_told_at_once(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        word = store.wait(sweep.id, "", seconds=LONG)
        assert word
        assert store.wait(sweep.id, "something else", seconds=LONG) == word

    def test_without_news_the_word_stays_for_so_many_seconds(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        word = store.wait(sweep.id, "", seconds=0)
        assert store.wait(sweep.id, word, seconds=0) == word
        assert store.wait(sweep.id, word, seconds=0.2) == word

    def test_every_change_that_a_claim_could_notice_is_another_word(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 2, exhausted=False)
        first, second = claim(store, sweep, seconds=5), claim(store, sweep, seconds=10)
        words = [store.wait(sweep.id, "", seconds=0)]

        def noted(what: str) -> None:
            word = store.wait(sweep.id, words[-1], seconds=LONG)
            assert word != words[-1], what
            words.append(word)

        store.offer(sweep.id, batch([2]), version=1, cursor=2)
        noted("an offer that moved the cursor")
        store.offer(sweep.id, batch([3], cursor=3), version=1, cursor=3)
        noted("an offer that did not")
        store.enqueue(sweep.id, point(9))
        noted("a chosen run")
        set_state(store, sweep, SweepState.PAUSED)
        noted("a pause")
        set_state(store, sweep, SweepState.RUNNING)
        noted("its end")
        finish(store, second)
        noted("a run's end")
        time.pass_(6)
        noted("a lease that ran out")
        assert store.reap(sweep.id) == 1
        noted("a run that is queued again")
        store.retry(second.id)
        noted("a run that is to run again")
        store.delete_run(first.id, release=True)
        noted("a point that is free again")
        amended = store.get_sweep(sweep.id)
        store.amend_sweep(
            sweep.id,
            version=amended.version,
            config=amended.config,
            run_cap=None,
            max_attempts=None,
            expected_runs=None,
            text=None,
        )
        noted("another config")

    def test_a_lease_that_ran_out_is_news_until_it_is_reaped(self, store: Store, time: Time) -> None:
        sweep = sweep_with(store, 1)
        claim(store, sweep, seconds=5)
        time.pass_(6)
        word = store.wait(sweep.id, "", seconds=0)
        time.pass_(0.001)
        assert store.wait(sweep.id, word, seconds=LONG) != word
        assert store.reap(sweep.id) == 1
        word = store.wait(sweep.id, "", seconds=0)
        time.pass_(0.001)
        assert store.wait(sweep.id, word, seconds=0.2) == word

    def test_one_who_waits_is_told_when_a_run_ends(self, store: Store) -> None:
        sweep = sweep_with(store, 1)
        run = claim(store, sweep)
        word = store.wait(sweep.id, "", seconds=0)
        with _waiting(lambda: store.wait(sweep.id, word, seconds=LONG)) as told:
            assert store.finish_sweep(sweep.id).state is SweepState.RUNNING
            finish(store, run, state=RunState.PREEMPTED)
        assert told() not in ("", word)

    def test_one_who_waits_is_told_when_the_sweep_is_stopped(self, store: Store) -> None:
        sweep = sweep_with(store, 0)
        word = store.wait(sweep.id, "", seconds=0)
        with _waiting(lambda: store.wait(sweep.id, word, seconds=LONG)) as told:
            set_state(store, sweep, SweepState.STOPPED)
        assert told() not in ("", word)

    def test_many_wait_at_once_for_several_sweeps(self, store: Store) -> None:
        sweeps = [sweep_with(store, 0, exhausted=False) for _ in range(3)]
        words = [store.wait(sweep.id, "", seconds=0) for sweep in sweeps]

        def wait_for(index: int) -> Callable[[], str]:
            return lambda: store.wait(sweeps[index].id, words[index], seconds=LONG)

        with _waiting(*(wait_for(index % 3) for index in range(12))) as told:
            for number in (2, 0, 1):
                store.offer(sweeps[number].id, batch([0]), version=1, cursor=0)
        assert not set(told.all()) & set(words)

    def test_there_is_no_news_of_a_sweep_that_is_not_there(self, store: Store) -> None:
        for seen in ("", "something"):
            with pytest.raises(NotFoundError, match="nothing"):
                store.wait("nothing", seen, seconds=LONG)


class _Told:
    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self) -> str:
        (word,) = self.words
        return word

    def all(self) -> list[str]:
        return self.words


@contextmanager
def _waiting(*calls: Callable[[], str]) -> Generator[_Told]:
    """Do the calls in threads during the block, and see that all come back after it."""
    told = _Told()

    def note(call: Callable[[], str]) -> None:
        told.words.append(call())

    threads = [threading.Thread(target=note, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    yield told
    for thread in threads:
        thread.join(LONG / 2)
    assert len(told.words) == len(calls), "one who waits was not told"
