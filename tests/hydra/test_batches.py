"""Runs claimed by the batch, for launchers that take one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from besom.records import Outcome, Run, RunState
from besom.store import open_store
from besom.store.sqlite import SqliteStore
from besom.testing.agents import Lab

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Calls:
    """What the sweeper asks of its store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[tuple[int, int]] = []  # asked for, given
        self.waits = threading.Event()
        claim_batch, wait = SqliteStore.claim_batch, SqliteStore.wait

        def noted_claim(
            store: SqliteStore, sweep_id: str, agent_id: str, count: int, **words: Any
        ) -> list[Run]:
            runs = claim_batch(store, sweep_id, agent_id, count, **words)
            self.batches.append((count, len(runs)))
            return runs

        def noted_wait(store: SqliteStore, sweep_id: str, seen: str, *, seconds: float) -> str:
            if seen:
                self.waits.set()
            return wait(store, sweep_id, seen, seconds=seconds)

        monkeypatch.setattr(SqliteStore, "claim_batch", noted_claim)
        monkeypatch.setattr(SqliteStore, "wait", noted_wait)


@pytest.fixture
def calls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Calls:
    lab.write("conf/config.yaml", "x: 0\n")
    return Calls(monkeypatch)


def give_x(cfg: DictConfig) -> float:
    return float(cfg.x)


def test_a_launcher_s_whole_batch_is_one_claim_of_what_waits(calls: Calls, multirun: Any) -> None:
    [jobs] = multirun(give_x, "x=range(12)")
    assert sorted(job.return_value for job in jobs) == list(range(12))
    assert [given for _, given in calls.batches if given] == [12]


def test_a_sweeper_that_waits_for_others_is_told_when_a_run_is_there(
    lab: Lab, calls: Calls, multirun: Any
) -> None:
    ran: list[float] = []
    theirs: list[Run] = []

    def task(cfg: DictConfig) -> float:
        if not ran:
            [sweep] = lab.store.list_sweeps()
            run = lab.store.claim(sweep.id, "another", lease_seconds=60)
            assert run is not None
            theirs.append(run)
        ran.append(cfg.x)
        return float(cfg.x)

    def give_back() -> None:
        assert calls.waits.wait(60)
        store = open_store(lab.store.url)
        store.finish(theirs[0].lease, Outcome(RunState.PREEMPTED))
        store.close()

    thread = threading.Thread(target=give_back)
    thread.start()
    multirun(task, "x=1,2,3", "hydra.sweeper.max_batch_size=2")
    thread.join()
    assert theirs[0].params["x"] in ran
    assert sorted(ran) == [1, 2, 3]


def test_runs_in_hand_are_given_back_when_a_claim_fails(
    lab: Lab, calls: Calls, multirun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_batch = SqliteStore.claim_batch

    def fail_second(store: SqliteStore, sweep_id: str, agent_id: str, count: int, **words: Any) -> list[Run]:
        if any(given for _, given in calls.batches):
            raise KeyboardInterrupt
        return claim_batch(store, sweep_id, agent_id, count, **words)

    monkeypatch.setattr(SqliteStore, "claim_batch", fail_second)
    with pytest.raises(KeyboardInterrupt):
        multirun(give_x, "x=1,2,3")
    [sweep] = lab.store.list_sweeps()
    assert [run.state for run in lab.store.list_runs(sweep.id)] == [RunState.PREEMPTED] * 3
