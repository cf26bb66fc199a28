from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from besom.errors import UsageError
from besom.records import Observation, RunState
from besom.search import create_method
from besom.search.base import Method
from besom.sweepfile import SweepConfig, from_mapping, parse
from besom.testing.methods import MethodContract

pytestmark = pytest.mark.timeout(600)


@pytest.mark.slow
class TestAxContract(MethodContract):
    name = "ax"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)

    def config(self, sweep: Mapping[str, Any]) -> SweepConfig:
        """Ax's first, random points alone: its models take a second each, and the laws are of hundreds."""
        return super().config({"ax": {"initialization_budget": 1000}, **sweep})


class Runs:
    """The ended runs of a sweep, and points under way."""

    def __init__(self) -> None:
        self.ended: list[Observation] = []
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


def _config(parameters: Mapping[str, Any], **ax: Any) -> SweepConfig:
    metric = {"name": "loss", "goal": "minimize"}
    return from_mapping({"method": "ax", "metric": metric, "seed": 5, "parameters": parameters, "ax": ax})


@pytest.mark.slow
def test_it_learns_from_runs_that_ended_failed_and_are_under_way() -> None:
    config = _config(
        {
            "x": {"min": -5.0, "max": 5.0},
            "layers": {"min": 1, "max": 8},
            "opt": {"values": ["adam", "sgd", None]},
            "momentum": {"min": 0.0, "max": 0.9, "when": {"opt": "sgd"}},
        }
    )
    history, cursor = Runs(), 0
    for step in range(12):
        batch = create_method(config).suggest(cursor, 1, history)
        [item] = batch.suggestions
        assert config.space.check(item.params) == []
        history.under_way = [item.params] if step == 8 else []
        if step != 8:
            failed = step % 6 == 5
            value = None if failed else (item.params["x"] - 2) ** 2 + item.params["layers"]
            history.end(item.params, value, RunState.FAILED if failed else RunState.FINISHED)
        cursor = batch.cursor
    values = [item.value for item in history.ended if item.value is not None]
    assert min(values[6:]) < min(values[:6])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metrics", "lowest"),
    [
        ({"metric": {"name": "loss"}}, 0.0),
        ({"metrics": [{"name": "loss", "goal": "minimize"}, {"name": "ms", "max": 6}]}, 4.0),
    ],
    ids=["alone", "limited"],
)
def test_its_model_finds_the_best_place_that_keeps_the_limits(metrics: Any, lowest: float) -> None:
    space = {"x": {"min": 0.0, "max": 10.0}, "y": {"min": 0.0, "max": 1.0}}
    config = from_mapping({"method": "ax", "seed": 5, "parameters": space, **metrics})
    history, cursor = Runs(), 0
    for number in range(1, 15):
        batch = create_method(config).suggest(cursor, 1, history)
        params, cursor = batch.suggestions[0].params, batch.cursor
        summary = {"loss": params["x"] + params["y"], "ms": 10 - params["x"]}
        history.ended.append(
            Observation(f"r{number}", RunState.FINISHED, params, summary["loss"], number, summary=summary)
        )
    kept = [item.params["x"] for item in history.ended if item.params["x"] >= lowest]
    assert min(kept) - lowest < 0.1  # quasi-random points alone: 0.6 and 1.1


@pytest.mark.slow
def test_many_agents_that_start_together_wait_for_nobody() -> None:
    config = _config({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    method, history, cursor = create_method(config), Runs(), 0
    for _ in range(9):
        batch = method.suggest(cursor, 1, history)
        cursor = batch.cursor
        history.under_way.append(batch.suggestions[0].params)
    assert len({point["x"] for point in history.under_way}) == 9


@pytest.mark.slow
def test_a_new_process_goes_on_where_another_stopped() -> None:
    config = _config({"x": {"min": -5.0, "max": 5.0}})
    old, history, cursor = create_method(config), Runs(), 0
    for _ in range(8):
        batch = old.suggest(cursor, 1, history)
        assert batch == create_method(config).suggest(cursor, 1, history)
        history.end(batch.suggestions[0].params, batch.suggestions[0].params["x"] ** 2)
        cursor = batch.cursor


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stratgy": "fast"}, "ax takes no 'stratgy'; did you mean 'strategy'?"),
        ({"strategy": "qualty"}, "ax.strategy cannot be 'qualty'; did you mean 'quality'?"),
        ({"initialization_budget": 0}, "ax.initialization_budget must be a whole number above 0"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_method(_config({"x": {"min": 0.0, "max": 1.0}}, **settings))
    assert message in str(caught.value)


def test_without_ax_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        assert name == "ax"

    monkeypatch.setattr("importlib.util.find_spec", nothing)
    with pytest.raises(UsageError, match=r"pip install 'besom\[ax\]'"):
        create_method(_config({"x": {"min": 0.0, "max": 1.0}}))


def test_a_wrong_setting_is_told_with_its_place() -> None:
    text = """
method: ax
metric: {name: loss}
parameters: {x: {min: 0.0, max: 1.0}}
ax:
  stratgy: fast
"""
    with pytest.raises(UsageError) as caught:
        create_method(parse(text))
    assert str(caught.value) == "sweep.yaml:6:3: ax takes no 'stratgy'; did you mean 'strategy'?"
