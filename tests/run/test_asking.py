"""Asking at a report whether to go on, from any process of a run, and what its processes note of errors."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

import besom
from besom.records import Run, RunState
from besom.run import this_run

THRESHOLD = {
    "method": "grid",
    "program": "x.py",
    "metric": {"name": "loss", "goal": "minimize"},
    "early_terminate": {"type": "threshold", "upper": 1},
    "parameters": {"lr": {"values": [0.1, 0.2]}},
}


def entered(sweeps: Any) -> Any:
    sweep = sweeps.store.get_sweep(besom.sweep(THRESHOLD))
    from besom.scheduler import Scheduler

    agent = sweeps.store.add_agent(sweep.id, host="here", pid=os.getpid())
    run = Scheduler(sweeps.store, sweep.id, agent_id=agent.id).claim()
    from besom.folders import run_folder, write_run_folder

    assert isinstance(run, Run)
    folder = run_folder(run.id)
    write_run_folder(folder, run, sweep)
    sweeps.enter(run, folder)
    return run


def in_fork(work: Any) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(20)
    assert process.exitcode == 0


def test_the_answer_is_to_the_very_last_report(sweeps: Any) -> None:
    run = entered(sweeps)
    with besom.init() as live:
        assert live.ask_stop({"loss": 0.5}, step=7) is None
        live.log({"loss": 0.6})
        assert live.ask_stop() is None
        reason = live.ask_stop({"loss": 2.0})
        assert reason is not None
        assert "above 1" in reason
        assert live.told_to_stop
        assert live.floor == 8
    assert sweeps.store.get_run(run.id).state is RunState.STOPPED
    assert [row.step for row in sweeps.store.history(run.id)] == [7, 7, 8]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_process_may_ask_and_its_parents_run_is_stopped(sweeps: Any) -> None:
    run = entered(sweeps)

    def work() -> None:
        child = besom.init()
        assert child.ask_stop({"loss": 0.5}) is None
        assert child.ask_stop({"loss": 3.0}) is not None

    with besom.init() as live:
        in_fork(work)
        assert live.told_to_stop
    assert sweeps.store.get_run(run.id).state is RunState.STOPPED


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_function_agents_process_may_fork(store: Any) -> None:
    def work() -> None:
        assert besom.init().ask_stop({"loss": 3.0}) is not None

    def train() -> None:
        besom.init()
        in_fork(work)

    sweep_id = besom.sweep({**THRESHOLD, "parameters": {"lr": {"value": 0.1}}})
    besom.agent(sweep_id, train)
    assert [run.state for run in store.list_runs(sweep_id)] == [RunState.STOPPED]


def test_the_first_error_noted_is_that_of_the_run(sweeps: Any) -> None:
    run = entered(sweeps)
    live = besom.init()
    for said in ("not this one", None, "rank 1: the cause", "rank 0: what came of it"):
        live.note_error(said)
    live.end_with(ValueError("closed"))
    assert sweeps.store.get_run(run.id).error == "rank 1: the cause"


def test_a_rank_above_0_may_note_an_error(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = entered(sweeps)
    live = besom.init()
    monkeypatch.setenv("RANK", "1")
    from besom.run.attach import _from_environment

    other = _from_environment({}, False)
    other.note_error("rank 1: the cause")
    live.end_with(ValueError("closed"))
    assert sweeps.store.get_run(run.id).error == "rank 1: the cause"


def test_an_error_that_was_noted_is_none_when_the_run_finishes(sweeps: Any) -> None:
    run = entered(sweeps)
    with besom.init() as live:
        live.note_error("got over it")
    ended = sweeps.store.get_run(run.id)
    assert (ended.state, ended.error) == (RunState.FINISHED, None)


def test_this_run_begins_none(sweeps: Any) -> None:
    assert this_run() is None
    run = entered(sweeps)
    found = this_run()
    assert found is not None
    assert (found.id, dict(found.params)) == (run.id, {"lr": 0.1})
    assert found.environment["BESOM_RUN_ID"] == run.id
    assert this_run() is found


def test_an_exit_made_of_ctrl_c_is_one(sweeps: Any, store: Any) -> None:
    live = besom.init()
    left = SystemExit(1)
    left.__context__ = KeyboardInterrupt()
    live.end_with(left)
    assert store.get_run(live.id).state is RunState.KILLED
