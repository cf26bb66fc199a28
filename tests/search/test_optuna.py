from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import besom
from besom.errors import UsageError
from besom.records import Batch, Observation, RunState
from besom.search import create_method
from besom.search.base import Method
from besom.sweep import create_sweep
from besom.sweepfile import SweepConfig, from_mapping, parse
from besom.testing.methods import MethodContract
from besom_optuna.method import NEEDS

MIXED: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "drop": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.05},
    "noise": {"distribution": "normal", "mu": 0.0, "sigma": 1.0},
    "width": {"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8},
    "layers": {"min": 1, "max": 8},
    "act": {"values": ["relu", "gelu", None, [1, 2]]},
    "opt": {"values": ["adam", "sgd"]},
    "momentum": {"min": 0.0, "max": 0.99, "when": {"opt": "sgd"}},
    "model": {"parameters": {"depth": {"values": [2, 4, 8]}, "bias": {"value": True}}},
}


@pytest.mark.slow
class TestOptunaContract(MethodContract):
    name = "optuna"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)


class Runs:
    """The ended runs of a sweep, and points under way."""

    def __init__(self, ended: list[Observation] | None = None) -> None:
        self.ended = ended or []
        self.under_way: list[Mapping[str, Any]] = []

    def observations(self, *, after: int = 0) -> list[Observation]:
        return [item for item in self.ended if item.changed > after]

    def active(self) -> list[Mapping[str, Any]]:
        return self.under_way

    def end(
        self, params: Mapping[str, Any], value: float | None, state: RunState = RunState.FINISHED
    ) -> None:
        number = len(self.ended) + 1
        self.ended.append(Observation(f"r{number}", state, params, value, number))


def _config(parameters: Mapping[str, Any], **optuna: Any) -> SweepConfig:
    metric = {"name": "loss", "goal": "minimize"}
    return from_mapping(
        {"method": "optuna", "metric": metric, "seed": 5, "parameters": parameters, "optuna": optuna}
    )


@pytest.mark.parametrize(
    "sampler", ["TPESampler", "RandomSampler", "CmaEsSampler", "QMCSampler", "NSGAIISampler"]
)
def test_every_kind_of_parameter_and_of_ending_is_told_to_any_sampler(sampler: str) -> None:
    config = _config(MIXED, sampler=sampler)
    history, cursor = Runs(), 0
    for step in range(25):
        batch = create_method(config).suggest(cursor, 1, history)
        [item] = batch.suggestions
        assert config.space.check(item.params) == []
        ended = [(1.0 * step, RunState.FINISHED), (None, RunState.FAILED), (2.0, RunState.STOPPED)][step % 3]
        history.end(item.params, *ended)
        cursor = batch.cursor


def test_going_through_the_history_again_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    config = _config(MIXED, sampler="CmaEsSampler")
    history, cursor = Runs(), 0
    for step in range(6):
        batch = create_method(config).suggest(cursor, 1, history)
        history.end(batch.suggestions[0].params, float(step))
        cursor = batch.cursor
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", ["TPESampler", "CmaEsSampler"])
def test_a_new_process_goes_on_where_another_stopped(sampler: str) -> None:
    config = _config({"x": {"min": -5.0, "max": 5.0}, "y": {"min": -5.0, "max": 5.0}}, sampler=sampler)
    old, history, cursor = create_method(config), Runs(), 0
    for _ in range(30):
        batch = old.suggest(cursor, 1, history)
        assert batch == create_method(config).suggest(cursor, 1, history)
        [item] = batch.suggestions
        history.end(item.params, item.params["x"] ** 2 + item.params["y"] ** 2)
        cursor = batch.cursor


@pytest.mark.parametrize(
    "sampler", ["TPESampler", "CmaEsSampler", pytest.param("GPSampler", marks=pytest.mark.slow)]
)
def test_it_learns(sampler: str) -> None:
    config = _config({"x": {"min": -5.0, "max": 5.0}, "y": {"min": -5.0, "max": 5.0}}, sampler=sampler)
    method, history, cursor = create_method(config), Runs(), 0
    for _ in range(60 if sampler != "GPSampler" else 25):
        batch: Batch = method.suggest(cursor, 1, history)
        [item] = batch.suggestions
        history.end(item.params, (item.params["x"] - 2) ** 2 + (item.params["y"] + 1) ** 2)
        cursor = batch.cursor
    late = [item.value for item in history.ended[-8:] if item.value is not None]
    early = [item.value for item in history.ended[:8] if item.value is not None]
    assert sorted(late)[4] < 0.3 * sorted(early)[4]


def test_prior_runs_are_known_to_the_sampler(tmp_path: Path) -> None:
    space = {"x": {"min": -5.0, "max": 5.0}}
    store = f"sqlite:///{tmp_path}/s.db"
    with besom.Sweep(
        {"method": "random", "seed": 1, "metric": {"name": "y"}, "run_cap": 30, "parameters": space},
        store=store,
    ) as before:
        while (run := before.ask()) is not None:
            before.tell(run, (run.params["x"] - 2) ** 2)
        raw = {"method": "optuna", "seed": 1, "metric": {"name": "y"}, "parameters": space}
        priors = [run.id for run in before.store.list_runs(before.id)]
        warm = create_sweep(before.store, from_mapping(raw), prior_runs=priors)
        asked = besom.Sweep(warm.id, store=before.store)
        points = [run.params["x"] for _ in range(5) if (run := asked.ask()) is not None]
    assert sorted(abs(x - 2) for x in points)[3] < 1.0


def test_what_runs_is_known_to_the_sampler() -> None:
    config = _config({"x": {"min": 0.0, "max": 1.0}}, n_startup_trials=2)
    history = Runs()
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        history.end({"x": x}, (x - 0.5) ** 2)
    [alone] = create_method(config).suggest(5, 1, history).suggestions
    history.under_way = [{"x": 0.45}, {"x": 0.5001}, {"x": 0.55}]
    [beside] = create_method(config).suggest(5, 1, history).suggestions
    assert alone != beside


def test_several_goals_are_searched_at_once(tmp_path: Path) -> None:
    goals = [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "maximize"}]
    config = {
        "method": "optuna",
        "metrics": goals,
        "run_cap": 20,
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    with besom.Sweep(config, store=f"sqlite:///{tmp_path}/s.db") as sweep:
        while (run := sweep.ask()) is not None:
            sweep.tell(run, {"a": run.params["x"], "b": run.params["x"] ** 2})
        assert sweep.store.progress(sweep.id).started == 20


LIMITED: dict[str, Any] = {
    "method": "optuna",
    "seed": 5,
    "metrics": [{"name": "loss", "goal": "minimize"}, {"name": "ms", "max": 6}],
    "parameters": {"x": {"min": 0.0, "max": 10.0}, "y": {"min": 0.0, "max": 1.0}},
}


@pytest.mark.parametrize(
    ("sampler", "count"),
    [("TPESampler", 40), ("NSGAIISampler", 150), pytest.param("GPSampler", 25, marks=pytest.mark.slow)],
)
def test_limits_lead_the_search_to_where_they_are_kept(sampler: str, count: int) -> None:
    more: dict[str, Any] = {"population_size": 15} if sampler == "NSGAIISampler" else {}
    config = from_mapping({**LIMITED, "optuna": {"sampler": sampler, **more}})
    method, history, cursor = create_method(config), Runs(), 0
    for number in range(1, count + 1):
        batch = method.suggest(cursor, 1, history)
        cursor = batch.cursor
        params = batch.suggestions[0].params
        summary = {"loss": params["x"] + params["y"], "ms": 10 - params["x"]}
        history.ended.append(
            Observation(f"r{number}", RunState.FINISHED, params, summary["loss"], number, summary=summary)
        )
    late = sorted(item.params["x"] for item in history.ended[-12:])
    assert 3.0 < late[5] < 6.5  # without limits it is near 0
    assert min(item.params["x"] for item in history.ended if item.params["x"] >= 4) < 4.6


@pytest.mark.parametrize("metrics", [LIMITED["metrics"], [{"name": "a"}, {"name": "b"}]])
def test_the_sampler_that_knows_one_goal_alone_is_refused_where_there_is_more(metrics: Any) -> None:
    text = (
        "method: optuna\noptuna:\n  sampler: CmaEsSampler\n"
        "parameters: {x: {min: 0.0, max: 1.0}, y: {min: 0.0, max: 1.0}}\n"
        f"metrics: {metrics}\n"
    )
    with pytest.raises(UsageError) as caught:
        create_method(parse(text))
    assert str(caught.value).startswith("sweep.yaml:3:3: optuna: CmaEsSampler knows one goal and no limits;")


def test_what_a_sampler_says_of_its_arguments_has_the_place_of_its_settings() -> None:
    text = "method: optuna\nmetric: {name: loss}\nparameters: {x: {min: 0.0, max: 1.0}}\n"
    with pytest.raises(UsageError) as caught:
        create_method(parse(text + "optuna: {n_startup_trials: many}\n"))
    assert str(caught.value).startswith("sweep.yaml:4:9: optuna: TPESampler: ")


def test_a_sampler_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "GPSampler", ("no_such_torch", "torch"))
    with pytest.raises(UsageError, match="GPSampler needs no_such_torch; pip install 'torch'"):
        create_method(_config({"x": {"min": 0.0, "max": 1.0}}, sampler="GPSampler"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "TPESampel"}, "optuna.sampler cannot be 'TPESampel'; did you mean 'TPESampler'?"),
        ({"n_startup_trails": 3}, "TPESampler takes no 'n_startup_trails'; did you mean 'n_startup_trials'?"),
        ({"sampler": "QMCSampler", "qmc_type": "sobel"}, "QMCSampler: "),
        ({"sampler": "TPE"}, "optuna.sampler cannot be 'TPE'; did you mean 'TPESampler'?"),
        ({"sampler": "BaseGASampler"}, "optuna.sampler cannot be 'BaseGASampler'"),
        ({"sampler": "xyz"}, "known: BruteForceSampler, CmaEsSampler"),
        ({"samplr": "TPESampler"}, "TPESampler takes no 'samplr'; did you mean 'sampler'?"),
        ({"n_startup_trials": "many"}, "TPESampler: '<' not supported"),
        ({"seed": 3}, "optuna.seed is the sweep's; write seed at the top of the file"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_method(_config({"x": {"min": 0.0, "max": 1.0}}, **settings))
    assert message in str(caught.value)


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'besom\[optuna\]'"):
        create_method(_config({"x": {"min": 0.0, "max": 1.0}}))
