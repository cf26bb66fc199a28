from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from besom.records import Outcome, Run, RunState, Sweep
from besom.scheduler import Scheduler
from besom.store import Store, open_store
from besom.sweep import create_sweep
from besom.sweepfile import SweepConfig, from_mapping


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    yield store
    store.close()


@pytest.fixture
def config() -> Callable[..., SweepConfig]:
    """Gives a grid over `a` unless told otherwise."""

    def make(**changes: Any) -> SweepConfig:
        said: dict[str, Any] = {
            "method": "grid",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"a": {"values": [1, 2, 3]}},
        }
        return from_mapping({key: value for key, value in (said | changes).items() if value is not None})

    return make


@pytest.fixture
def new_sweep(store: Store, config: Callable[..., SweepConfig]) -> Callable[..., Sweep]:
    def create(**changes: Any) -> Sweep:
        return create_sweep(store, config(**changes))

    return create


@pytest.fixture
def play(store: Store) -> Callable[..., list[Run]]:
    """Claims runs of a sweep and ends each: as `loss(params)`, FAILED where that is None."""

    def go(sweep: Sweep, count: int = 1000, loss: Callable[[Any], float | None] = lambda _: 0.0) -> list[Run]:
        agent = store.add_agent(sweep.id, host="here", pid=1)
        hands = Scheduler(store, sweep.id, agent_id=agent.id)
        ended: list[Run] = []
        while len(ended) < count and isinstance(run := hands.claim(), Run):
            value = loss(run.params)
            summary = None if value is None else {"loss": value}
            state = RunState.FAILED if value is None else RunState.FINISHED
            outcome = Outcome(state, exit_code=int(value is None), summary=summary, value=value)
            ended.append(store.finish(run.lease, outcome))
        return ended

    return go
