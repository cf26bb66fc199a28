from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import besom
from besom.cli import cli
from besom.errors import StateError, UsageError
from besom.records import Observation, RunState
from besom.search.importance import Importance, importance
from besom.sweepfile import SweepConfig, from_mapping

UNIT = {"min": 0.0, "max": 1.0}


def config(parameters: dict[str, Any], **more: Any) -> SweepConfig:
    return from_mapping({"method": "random", "metric": {"name": "y"}, "parameters": parameters, **more})


def told(sweep: SweepConfig, count: int, function: Callable[[Any], float]) -> Importance:
    points = [point for index in range(count) if (point := sweep.space.draw(3, index)) is not None]
    return importance(
        sweep,
        [
            Observation(f"r{number}", RunState.FINISHED, point, function(point), number)
            for number, point in enumerate(points, start=1)
        ],
    )


def test_a_sum_is_divided_by_its_terms_variances() -> None:
    found = told(config({"a": UNIT, "b": UNIT, "c": UNIT}), 60, lambda p: 2 * p["a"] + p["b"])
    shares = {share.name: share for share in found.shares}
    assert [share.name for share in found.shares] == ["a", "b", "c"]
    assert shares["a"].total == pytest.approx(0.8, abs=0.07)
    assert shares["b"].total == pytest.approx(0.2, abs=0.07)
    assert shares["c"].total < 0.02
    assert shares["a"].main == pytest.approx(0.8, abs=0.12)
    assert found.fit > 0.9
    assert found.warning == ""


def test_parameters_that_act_only_together_matter_but_not_alone() -> None:
    found = told(config({"a": UNIT, "b": UNIT, "c": UNIT}), 80, lambda p: (p["a"] - 0.5) * (p["b"] - 0.5))
    by_name = {share.name: share for share in found.shares}
    assert min(by_name["a"].total, by_name["b"].total) > 0.7
    assert max(by_name["a"].main, by_name["b"].main) < 0.3
    assert by_name["c"].total < 0.1


def test_a_category_and_a_parameter_that_is_seldom_there_are_measured() -> None:
    sweep = config(
        {
            "kind": {"values": ["x", "y", "z"]},
            "rate": {**UNIT, "when": {"kind": "x"}},
            "idle": {**UNIT, "when": {"kind": "y"}},
        }
    )
    found = told(sweep, 90, lambda p: {"x": 0.0, "y": 5.0, "z": -5.0}[p["kind"]] + p.get("rate", 0.0))
    assert found.shares[0].name == "kind"
    by_name = {share.name: share.total for share in found.shares}
    assert by_name["kind"] > 0.9
    assert by_name["rate"] < 0.1
    assert by_name["idle"] < 0.02


def test_few_runs_are_said_to_be_few() -> None:
    found = told(config({"a": UNIT, "b": UNIT, "c": UNIT}), 5, lambda p: p["a"])
    assert "few runs: 5 for 3 parameters" in found.warning
    assert "for 1 parameter;" in told(config({"a": UNIT}), 5, lambda p: p["a"]).warning


def test_a_metric_that_nothing_explains_is_said_to_be_noise() -> None:
    import random

    chance = random.Random(1)
    found = told(config({"a": UNIT, "b": UNIT}), 60, lambda _: chance.random())
    assert "explains little" in found.warning


def test_a_constant_metric_depends_on_nothing() -> None:
    found = told(config({"a": UNIT, "b": UNIT}), 20, lambda _: 1.0)
    assert [share.total for share in found.shares] == [0.0, 0.0]
    assert "the same in every run" in found.warning


def test_the_same_runs_give_the_same_answer() -> None:
    sweep = config({"a": UNIT, "b": UNIT})
    assert told(sweep, 20, lambda p: p["a"]) == told(sweep, 20, lambda p: p["a"])


def test_without_runs_or_a_metric_it_is_said_what_is_missing() -> None:
    with pytest.raises(StateError, match="needs 3 at least"):
        told(config({"a": UNIT}), 2, lambda p: p["a"])
    with pytest.raises(UsageError, match="no metric"):
        importance(from_mapping({"method": "random", "parameters": {"a": UNIT}}), [])


def test_the_api_and_the_command_say_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'besom.db'}"
    raw = {"method": "random", "metric": {"name": "y"}, "parameters": {"a": UNIT, "b": UNIT}, "run_cap": 6}
    with besom.Sweep(raw, store=url) as sweep:
        while (run := sweep.ask()) is not None:
            sweep.tell(run, run.params["a"])
        found = besom.Api(sweep.store).sweep(sweep.id).importance()
    shown = CliRunner().invoke(cli, ["--store", url, "importance", sweep.id, "--json"])
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert [share["name"] for share in said["shares"]] == [share.name for share in found.shares]
    assert said["runs"] == 6
    table = CliRunner().invoke(cli, ["--store", url, "importance", sweep.id])
    assert table.stdout.split()[:3] == ["parameter", "importance", "alone"]
    assert "few runs: 6" in table.stderr


@pytest.mark.parametrize(
    "metrics",
    [
        {"metric": {"name": "y", "max": 0.5}},
        {"metric": None, "metrics": [{"name": "y", "goal": "minimize"}, {"name": "ms", "max": 3}]},
        {"metric": None, "metrics": [{"name": "y", "goal": "minimize"}, {"name": "z", "goal": "maximize"}]},
    ],
    ids=["bound", "limit", "goals"],
)
def test_runs_that_keep_no_limit_or_have_no_other_goal_count_all_the_same(
    tmp_path: Path, metrics: dict[str, Any]
) -> None:
    raw = {"method": "random", "seed": 1, "run_cap": 12, "parameters": {"a": UNIT, "b": UNIT}, **metrics}
    with besom.Sweep(raw, store=f"sqlite:///{tmp_path / 'besom.db'}") as sweep:
        while (run := sweep.ask()) is not None:
            sweep.tell(run, {"y": run.params["a"], "z": 0.0, "ms": 9})
        found = besom.Api(sweep.store).sweep(sweep.id).importance()
    assert found.runs == 12
    assert found.shares[0].name == "a"
    assert found.shares[0].total > 0.9


def test_runs_that_stopped_at_a_rung_are_not_taken_for_as_bad_as_where_they_stopped(tmp_path: Path) -> None:
    raw = {
        "method": "random",
        "seed": 1,
        "metric": {"name": "y"},
        "early_terminate": {"type": "asha", "min_iter": 1, "max_iter": 1},
        "parameters": {"a": UNIT, "b": UNIT},
    }
    with besom.Sweep(raw, store=f"sqlite:///{tmp_path / 'besom.db'}") as sweep:
        for number in range(24):
            run = sweep.ask()
            assert run is not None
            begin = 100.0 + run.params["a"]
            sweep.store.mark(sweep.id, run.id, 1, begin)
            if number % 3:  # what is early shows what matters, how far a run got does not
                sweep.tell(run, begin, state="stopped")
            else:
                sweep.tell(run, begin - 100.0)
        found = besom.Api(sweep.store).sweep(sweep.id).importance()
    assert found.shares[0].name == "a"
    assert found.shares[0].total > 0.9
    assert found.fit > 0.8
