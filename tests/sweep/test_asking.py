from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import besom
from besom.errors import StateError, UsageError
from besom.records import RunState, SweepState
from besom.store import Store

GRID = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"a": {"values": [1, 2, 3]}},
}


def changed(**keys: Any) -> dict[str, Any]:
    return GRID | keys


def test_a_sweep_is_asked_and_told_until_it_ends(store: Store) -> None:
    sweep = besom.Sweep(GRID, store=store)
    while (run := sweep.ask()) is not None:
        sweep.tell(run, (run.params["a"] - 2) ** 2)
    best = sweep.best()
    assert best is not None
    assert (best.params, best.value, best.summary) == ({"a": 2}, 0.0, {"loss": 0})
    assert sweep.record.state is SweepState.FINISHED


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_every_method_can_be_asked(store: Store, method: str) -> None:
    sweep = besom.Sweep(
        changed(method=method, run_cap=6, parameters={"a": {"min": 0.0, "max": 1.0}}), store=store
    )
    told = 0
    while (run := sweep.ask()) is not None:
        sweep.tell(run, {"loss": run.params["a"], "accuracy": 0.5})
        told += 1
    assert told == 6


def test_another_process_s_program_goes_on_by_the_sweep_s_id(store: Store) -> None:
    first = besom.Sweep(GRID, store=store)
    run = first.ask()
    assert run is not None
    again = besom.Sweep(first.id, store=store)
    others = [again.ask(), again.ask()]
    assert len({run.id, *(other.id for other in others if other)}) == 3
    again.tell(run, 0.5)  # whoever has the run may tell it
    again.tell(run, 0.7)  # what was told once stays
    assert store.get_run(run.id).value == 0.5


def test_a_failed_run_needs_no_value(store: Store) -> None:
    sweep = besom.Sweep(GRID, store=store)
    run = sweep.ask()
    assert run is not None
    sweep.tell(run, state="failed")
    assert store.get_run(run.id).state is RunState.FAILED


def test_a_result_that_comes_after_the_run_went_to_another_is_refused(store: Store) -> None:
    sweep = besom.Sweep(changed(parameters={"a": {"value": 1}}), store=store, lease_seconds=0.01)
    late = sweep.ask()
    later = sweep.ask()
    assert late is not None
    assert later is not None
    assert (late.id, late.attempt, later.attempt) == (later.id, 1, 2)
    with pytest.raises(StateError, match="handed out again"):
        sweep.tell(late, 1.0)
    sweep.tell(later, 2.0)
    assert store.get_run(later.id).value == 2.0


def test_what_is_told_wrongly_is_said_and_changes_nothing(store: Store) -> None:
    sweep = besom.Sweep(GRID, store=store)
    run = sweep.ask()
    assert run is not None
    with pytest.raises(UsageError, match="one of finished, failed"):
        sweep.tell(run, 1.0, state="done")
    with pytest.raises(UsageError, match="value or a mapping"):
        sweep.tell(run)
    assert store.get_run(run.id).state is RunState.RUNNING
    with pytest.raises(UsageError, match="lease_seconds"):
        besom.Sweep(GRID, store=store, lease_seconds=0)
    bare = besom.Sweep({key: value for key, value in GRID.items() if key != "metric"}, store=store)
    asked = bare.ask()
    assert asked is not None
    with pytest.raises(UsageError, match="has no metric"):
        bare.tell(asked, 1.0)


def test_a_result_without_the_metric_is_a_mistake_and_one_that_is_nan_a_failure(store: Store) -> None:
    sweep = besom.Sweep(GRID, store=store)
    run = sweep.ask()
    assert run is not None
    with pytest.raises(UsageError, match="no 'loss', which the sweep optimizes; did you mean 'los'"):
        sweep.tell(run, {"los": 1.0})
    sweep.tell(run, {"loss": float("nan")})
    assert store.get_run(run.id).value is None
    metrics = [{"name": "val.loss", "goal": "minimize"}, {"name": "acc", "goal": "maximize"}]
    several = besom.Sweep(changed(metric=None, metrics=metrics), store=store)
    run = several.ask()
    assert run is not None
    with pytest.raises(UsageError, match="no 'acc'"):
        several.tell(run, {"val": {"loss": 1.0}})
    several.tell(run, {"val": {"loss": 1.0}}, state="failed")
    assert store.get_run(run.id).state is RunState.FAILED


def test_a_custom_sweep_runs_what_is_enqueued_until_it_is_closed(store: Store) -> None:
    sweep = besom.Sweep(changed(method="custom", parameters={"a": {"min": 0.0, "max": 1.0}}), store=store)
    assert sweep.ask(wait=0) is None
    assert sweep.record.state.value == "running"  # it waits
    ids = [sweep.enqueue({"a": 0.25}), sweep.enqueue({"a": 0.75})]
    sweep.close()
    asked: list[str] = []
    while (run := sweep.ask()) is not None:
        asked.append(run.id)
        sweep.tell(run, run.params["a"])
    assert asked == ids
    assert sweep.record.state is SweepState.FINISHED


@pytest.mark.slow
def test_several_processes_share_a_sweep_and_no_point_runs_twice(store: Store, tmp_path: Path) -> None:
    sweep = besom.Sweep(changed(parameters={"a": {"min": 1, "max": 40}}), store=store)
    program = tmp_path / "asker.py"
    program.write_text(
        "import sys, besom\n"
        "with besom.Sweep(sys.argv[1], store=sys.argv[2]) as sweep:\n"
        "    while (run := sweep.ask()) is not None:\n"
        "        sweep.tell(run, run.params['a'])\n"
    )
    command = [sys.executable, str(program), sweep.id, store.url]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    runs = store.list_runs(sweep.id)
    assert sorted(run.params["a"] for run in runs) == list(range(1, 41))
    assert {run.attempt for run in runs} == {1}
