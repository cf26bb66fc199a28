from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

import besom
from besom.agent import AgentOptions, run_agent
from besom.agent.news import LONGEST, News
from besom.errors import StoreError
from besom.records import Outcome, Run, RunState
from besom.store.base import Store
from besom.testing.agents import Lab


class Watched:
    """A store that notes claims and waits, and answers waits for news only once the test lets it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []
        self.waiting, self.go_on = threading.Event(), threading.Event()
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def claim(self, *args: Any, **words: Any) -> Run | None:
        run = self._store.claim(*args, **words)
        self.calls.append("nothing" if run is None else "run")
        return run

    def wait(self, sweep_id: str, seen: str, *, seconds: float) -> str:
        if seen:
            self.calls.append("wait")
            self.waiting.set()
            assert self.go_on.wait(30)
            if self.failure is not None:
                raise self.failure
        return self._store.wait(sweep_id, seen, seconds=seconds)


class Idle:
    """An agent that has nothing to take, because another has the only run."""

    def __init__(self, lab: Lab) -> None:
        self.sweep = lab.python_sweep("print('done')", "[1]")
        self.store = Watched(lab.store)
        self.theirs = self._take(lab)

    def _take(self, lab: Lab) -> Run:
        from besom.scheduler import Scheduler

        other = lab.store.add_agent(self.sweep.id, host="elsewhere", pid=1)
        run = Scheduler(lab.store, self.sweep.id, agent_id=other.id).claim()
        assert isinstance(run, Run)
        return run

    def while_it_waits(self, act: Any) -> None:
        """Run the agent to the sweep's end, and do something once it waits."""

        def then() -> None:
            assert self.store.waiting.wait(30)
            act()
            self.store.go_on.set()

        thread = threading.Thread(target=then)
        thread.start()
        run_agent(cast("Store", self.store), self.sweep.id, AgentOptions())
        thread.join()


@pytest.fixture
def idle(lab: Lab) -> Iterator[Idle]:
    made = Idle(lab)
    yield made
    made.store.go_on.set()


def test_an_idle_agent_asks_again_when_there_is_news(lab: Lab, idle: Idle) -> None:
    idle.while_it_waits(lambda: lab.store.finish(idle.theirs.lease, Outcome(RunState.PREEMPTED)))
    assert idle.store.calls[:4] == ["nothing", "nothing", "wait", "run"]
    assert lab.states(idle.sweep) == [RunState.FINISHED]


def test_an_idle_agent_leaves_when_another_ends_the_last_run(lab: Lab, idle: Idle) -> None:
    idle.while_it_waits(lambda: lab.store.finish(idle.theirs.lease, Outcome(RunState.FINISHED)))
    assert idle.store.calls == ["nothing", "nothing", "wait", "nothing"]


@pytest.mark.parametrize("failure", [StoreError("gone"), ValueError("a backend's own")])
def test_an_idle_agent_claims_on_where_a_store_cannot_tell_news(
    lab: Lab, idle: Idle, failure: Exception
) -> None:
    idle.store.failure = failure
    began = time.monotonic()
    idle.while_it_waits(lambda: lab.store.finish(idle.theirs.lease, Outcome(RunState.PREEMPTED)))
    assert "run" in idle.store.calls
    assert time.monotonic() - began < LONGEST, "it asked because so much time had passed"
    assert lab.states(idle.sweep) == [RunState.FINISHED]


def test_a_function_that_waits_for_a_run_is_called_when_there_is_one(lab: Lab, idle: Idle) -> None:
    seen: list[Any] = []

    def then() -> None:
        lab.store.wait(idle.sweep.id, lab.store.wait(idle.sweep.id, "", seconds=0), seconds=0.3)
        lab.store.finish(idle.theirs.lease, Outcome(RunState.PREEMPTED))

    thread = threading.Thread(target=then)
    thread.start()
    besom.agent(idle.sweep.id, function=lambda: seen.append(besom.init().config["x"]))
    thread.join()
    assert seen == [1]


def test_what_happens_between_a_claim_and_the_wait_is_not_missed(lab: Lab, idle: Idle) -> None:
    heard: list[Any] = []
    told = threading.Event()

    def tell(news: Any) -> None:
        heard.append(news)
        told.set()

    news = News(lab.store, idle.sweep.id, tell)
    news.missed()
    lab.store.finish(idle.theirs.lease, Outcome(RunState.PREEMPTED))  # the agent's claim was just before
    news.missed()
    assert told.wait(30)
    assert len(heard) == 1
    news.close()
