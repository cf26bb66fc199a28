from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from besom.api import Api
from besom.cli import cli
from besom.errors import UsageError
from besom.records import Outcome, Run, RunState, Sweep
from besom.scheduler import Scheduler
from besom.store import Store, open_store
from besom.sweep import create_sweep, extend_sweep
from besom.sweepfile import from_mapping

GOALS = [{"name": "loss", "goal": "minimize"}, {"name": "acc", "goal": "maximize"}, {"name": "ms", "max": 20}]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    monkeypatch.setenv("BESOM_STORE", f"sqlite:///{tmp_path / 'besom.db'}")
    store = open_store()
    yield store
    store.close()


def new_sweep(store: Store, **more: Any) -> Sweep:
    parameters = {"a": {"min": 1, "max": 9}}
    return create_sweep(store, from_mapping({"method": "grid", "parameters": parameters, **more}))


def end(
    store: Store, sweep: Sweep, *summaries: dict[str, float], state: RunState = RunState.FINISHED
) -> list[Run]:
    hands = Scheduler(store, sweep.id, agent_id="a")
    ended: list[Run] = []
    for summary in summaries:
        run = hands.claim()
        assert isinstance(run, Run)
        ended.append(store.finish(run.lease, Outcome(state, summary=summary, value=summary.get("loss"))))
    return ended


def best(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["best", *words])
    return result.exit_code, result.output


def test_best_prints_the_front_of_a_sweep_with_several_goals(store: Store) -> None:
    sweep = new_sweep(store, metrics=GOALS)
    worse, cheap, slow, _, good = end(
        store,
        sweep,
        {"loss": 2, "acc": 0.5, "ms": 1},
        {"loss": 1, "acc": 0.5, "ms": 1},
        {"loss": 0, "acc": 0.9, "ms": 21},
        {"loss": 0, "ms": 1},
        {"loss": 3, "acc": 0.8, "ms": 20},
    )
    end(store, sweep, {"loss": -9, "acc": 1, "ms": 1}, state=RunState.FAILED)
    code, printed = best(sweep.id, "--json")
    assert code == 0
    told = json.loads(printed)
    assert told["goals"] == [{"name": "loss", "goal": "minimize"}, {"name": "acc", "goal": "maximize"}]
    assert [(run["id"], run["values"]) for run in told["front"]] == [
        (cheap.id, {"loss": 1, "acc": 0.5}),
        (good.id, {"loss": 3, "acc": 0.8}),
    ]
    code, printed = best(sweep.id)
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()] == ["run", cheap.id, good.id]
    assert worse.id not in printed
    assert slow.id not in printed
    assert [run.id for run in Api().sweep(sweep.id).front()] == [cheap.id, good.id]


def test_equal_runs_share_the_front(store: Store) -> None:
    sweep = new_sweep(store, metrics=GOALS)
    same = end(store, sweep, *[{"loss": 1.0, "acc": 1.0, "ms": 1.0}] * 3)
    assert [run.id for run in Api().sweep(sweep.id).front()] == [run.id for run in same]


def test_an_empty_front_says_what_is_missing(store: Store) -> None:
    sweep = new_sweep(store, metrics=GOALS)
    end(store, sweep, {"loss": 1, "acc": 1, "ms": 30})
    code, printed = best(sweep.id)
    assert code != 0
    assert "loss and acc and keeps the limits" in printed


def test_the_best_run_of_one_goal_keeps_the_limits(store: Store) -> None:
    sweep = new_sweep(store, metrics=[GOALS[0], GOALS[2]])
    _, kept = end(store, sweep, {"loss": 1, "ms": 30}, {"loss": 2, "ms": 3})
    assert json.loads(best(sweep.id, "--json")[1])["id"] == kept.id
    run = Api().sweep(sweep.id).best_run()
    assert run is not None
    assert run.id == kept.id
    assert [one.id for one in Api().sweep(sweep.id).front()] == [kept.id]


def test_limits_that_nothing_keeps_are_named(store: Store) -> None:
    sweep = new_sweep(store, metric={"name": "loss", "min": 0, "max": 5})
    end(store, sweep, {"loss": 7})
    code, printed = best(sweep.id)
    assert code != 0
    assert "loss at least 0, loss at most 5" in printed


def test_extending_keeps_goals_and_limits(store: Store) -> None:
    sweep = new_sweep(store, metrics=GOALS)
    raw = {"method": "grid", "parameters": {"a": {"min": 1, "max": 12}}}
    extend_sweep(store, sweep.id, from_mapping({**raw, "metrics": GOALS}))
    for changed in (GOALS[:2], [*GOALS[:2], {"name": "ms", "max": 21}], [GOALS[0], GOALS[2]]):
        with pytest.raises(UsageError, match="metric"):
            extend_sweep(store, sweep.id, from_mapping({**raw, "metrics": changed}))
