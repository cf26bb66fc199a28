from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.errors import UsageError
from besom.records import Batch, Observation, Params, RunState
from besom.search import create_method
from besom.search.bayes.points import Translation
from besom.sweepfile import SweepConfig, from_mapping

MIXED: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "layers": {"min": 1, "max": 6},
    "batch": {"values": [64, 16, 32]},
    "opt": {"values": ["adam", "sgd"]},
    "momentum": {"min": 0.0, "max": 0.99, "when": {"opt": "sgd"}},
    "warmup": {"min": 0.0, "max": 1.0, "when": {"lr": {"min": 0.01}}},
    "fixed": {"value": [1, 2]},
    "steps": {"distribution": "q_log_uniform_values", "min": 10, "max": 100_000, "q": 10},
}


def bayes(parameters: Mapping[str, Any], **more: Any) -> SweepConfig:
    metric = {"name": "loss", "goal": "minimize"}
    return from_mapping({"method": "bayes", "metric": metric, "seed": 1, "parameters": parameters, **more})


class Runs:
    """A sweep's runs in memory, and how they end."""

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        self.method = create_method(config)
        self.ended: list[Observation] = []
        self.open: list[Params] = []
        self.cursor = 0

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        return [item for item in self.ended if item.changed > after]

    def active(self) -> Sequence[Params]:
        return self.open

    def ask(self) -> Batch:
        batch = self.method.suggest(self.cursor, 1, self)
        self.cursor = batch.cursor
        for item in batch.suggestions:
            assert self.config.space.check(item.params) == []
        return batch

    def end(self, params: Params, value: float | None, state: RunState = RunState.FINISHED) -> None:
        number = len(self.ended) + 1
        self.ended.append(Observation(f"r{number}", state, params, value, number))

    def play(self, count: int, value: Callable[[Params], float | None]) -> list[Params]:
        for _ in range(count):
            batch = self.ask()
            for item in batch.suggestions:
                found = value(item.params)
                self.end(item.params, found, RunState.FAILED if found is None else RunState.FINISHED)
            if batch.exhausted:
                break
        return [item.params for item in self.ended]


def bowl(params: Params) -> float:
    return float((math.log10(params["lr"]) + 3) ** 2 + 0.1 * (params["layers"] - 4) ** 2)


METRICS: dict[str, Callable[[Params], float | None]] = {
    "constant": lambda _: 1.0,
    "all failed": lambda _: None,
    "large": lambda p: 1e6 * bowl(p),
    "small": lambda p: 1e-9 * bowl(p) - 1e-3,
    "diverging": lambda p: 1e300 if p["layers"] > 3 else 0.3,
    "half failed": lambda p: None if p["opt"] == "sgd" else bowl(p),
}


@pytest.mark.parametrize("metric", METRICS)
def test_whatever_the_metric_does_suggestions_are_new_points_of_the_space(metric: str) -> None:
    runs = Runs(bayes(MIXED))
    points = runs.play(16, METRICS[metric])
    assert len({runs.config.space.suggestion(point).key for point in points}) == 16


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_bottom_of_a_bowl(seed: int) -> None:
    runs = Runs(bayes(MIXED, seed=seed))
    runs.play(30, bowl)
    assert min(item.value for item in runs.ended if item.value is not None) < 0.02


def test_it_maximizes_where_the_goal_says_so() -> None:
    space = {"x": {"min": 0.0, "max": 1.0}}
    runs = Runs(bayes(space, metric={"name": "acc", "goal": "maximize"}))
    runs.play(15, lambda p: -((p["x"] - 0.8) ** 2))
    assert max(item.value for item in runs.ended if item.value is not None) > -1e-4


def test_it_learns_where_runs_fail() -> None:
    space = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    runs = Runs(bayes(space))
    runs.play(40, lambda p: None if p["x"] > 0.5 else (p["x"] - 0.45) ** 2 + (p["y"] - 0.5) ** 2)
    failed = [item.state is RunState.FAILED for item in runs.ended]
    assert sum(failed[20:]) < sum(failed[:20])
    assert min(item.value for item in runs.ended if item.value is not None) < 0.01


def test_a_restart_in_the_middle_changes_nothing() -> None:
    whole, cut = Runs(bayes(MIXED)), Runs(bayes(MIXED))
    for count in range(30):
        first = whole.ask()
        if count % 7 == 3:
            cut.method = create_method(cut.config)
        assert cut.ask() == first
        point = first.suggestions[0].params
        for runs in (whole, cut):
            runs.end(point, None if count % 9 == 4 else bowl(point))


def test_a_run_that_ends_again_replaces_what_it_said() -> None:
    kept, fresh = Runs(bayes(MIXED)), Runs(bayes(MIXED))
    kept.play(12, bowl)
    first = kept.ended.pop(0)
    again = Observation(first.run_id, RunState.FAILED, first.params, None, 100)
    kept.ended.append(again)
    fresh.ended, fresh.cursor = list(kept.ended), kept.cursor
    assert kept.ask() == fresh.ask()


def test_the_first_point_is_the_middle_of_all_ranges_and_the_others_lie_around_it() -> None:
    runs = Runs(bayes({"lr": MIXED["lr"], "x": {"min": -1.0, "max": 3.0}, "layers": {"min": 1, "max": 7}}))
    points: list[Params] = []
    for _ in range(4):
        points.append(runs.ask().suggestions[0].params)
        runs.open.append(points[-1])
    assert points[0] == {"lr": pytest.approx(10**-2.5), "x": pytest.approx(1.0), "layers": 4}
    assert len({math.floor(3 * (point["x"] + 1.0) / 4.0) for point in points[1:]}) == 3


def test_runs_under_way_are_not_suggested_again_and_spread_out() -> None:
    runs = Runs(bayes({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}))
    runs.play(10, lambda p: (p["x"] - 0.4) ** 2 + (p["y"] - 0.6) ** 2)
    for _ in range(8):
        runs.open.append(runs.ask().suggestions[0].params)
    places = [(point["x"], point["y"]) for point in runs.open]
    gaps = [math.dist(a, b) for index, a in enumerate(places) for b in places[:index]]
    assert min(gaps) > 1e-3


def test_many_agents_that_start_together_fill_the_space_and_not_its_borders() -> None:
    runs = Runs(bayes({f"x{index}": {"min": 0.0, "max": 1.0} for index in range(6)}))
    for _ in range(32):
        runs.open.append(runs.ask().suggestions[0].params)
    places = [value for point in runs.open for value in point.values()]
    assert 0.1 < sum(abs(value - 0.5) > 0.4 for value in places) / len(places) < 0.3  # 0.2 of a uniform one
    gaps = [math.dist(a.values(), b.values()) for index, a in enumerate(runs.open) for b in runs.open[:index]]
    assert min(gaps) > 0.2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eight_agents_find_the_bottom_of_a_bowl_together(seed: int) -> None:
    runs = Runs(bayes(MIXED, seed=seed))
    order = random.Random(seed)
    for _ in range(50):
        while len(runs.open) < 8:
            runs.open.append(runs.ask().suggestions[0].params)
        point = runs.open.pop(order.randrange(8))
        runs.end(point, bowl(point))
    assert min(item.value for item in runs.ended if item.value is not None) < 0.02


def test_what_is_rounded_or_clipped_to_a_run_point_is_not_suggested_again() -> None:
    runs = Runs(bayes({"n": {"min": 0, "max": 2000}, "x": {"min": 0.0, "max": 1.0}, "m": {"value": 1}}))
    points = runs.play(25, lambda p: -p["n"] - p["x"])  # best in a corner
    keys = [runs.config.space.suggestion(point).key for point in points]
    assert len(keys) == len(set(keys)) == 25


def test_a_single_category_is_tried_value_by_value_and_then_done() -> None:
    runs = Runs(bayes({"model": {"values": ["a", "b", "c", "d"]}}))
    points = runs.play(10, lambda _: 1.0)
    assert sorted(point["model"] for point in points) == ["a", "b", "c", "d"]
    assert runs.ask().exhausted


def test_a_category_of_one_value_that_others_depend_on_is_no_obstacle() -> None:
    inner = {"min": 0.0, "max": 1.0, "when": {"model": "net"}}
    runs = Runs(bayes({"model": {"values": ["net"]}, "x": inner}))
    points = runs.play(12, lambda p: (p["x"] - 0.3) ** 2)
    assert min(abs(point["x"] - 0.3) for point in points) < 0.05


def test_prior_runs_take_the_place_of_the_first_points() -> None:
    prior = Runs(bayes(MIXED, seed=9))
    prior.play(25, bowl)
    warm = Runs(bayes(MIXED))
    warm.ended = list(prior.ended)
    points = warm.play(3, bowl)[-3:]  # one of them may look elsewhere: the bottom is known by now
    assert min(map(bowl, points)) < 0.05


def test_runs_of_another_space_are_passed_over() -> None:
    runs = Runs(bayes(MIXED))
    runs.end({"lr": 5.0}, 0.0)
    runs.end({"other": 1}, 0.0)
    assert len(runs.ask().suggestions) == 1


@pytest.mark.parametrize(("impute", "taught"), [("latest", True), ("worst", False)])
def test_impute_decides_whether_a_failed_runs_value_counts(impute: str, taught: bool) -> None:
    space = {"x": {"min": 0.0, "max": 1.0}}
    runs = Runs(bayes(space, metric={"name": "loss", "goal": "minimize", "impute": impute}))
    for step in range(9):
        x = step / 10
        runs.end({"x": x}, (x - 0.9) ** 2)
    runs.end({"x": 0.45}, -5.0, RunState.FAILED)
    x = runs.ask().suggestions[0].params["x"]
    assert (abs(x - 0.45) < 0.1) is taught


def test_constraints_hold_for_every_suggestion() -> None:
    space = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 9}}
    runs = Runs(bayes(space, constraints=["x + y <= 1.0", "n != 5"]))
    runs.play(20, lambda p: (p["x"] - 0.7) ** 2 + (p["y"] - 0.7) ** 2 + 0.01 * (p["n"] - 5) ** 2)
    best = min((item for item in runs.ended if item.value is not None), key=lambda item: item.value or 0)
    assert best.value is not None
    assert best.value < 0.12  # 0.09 at the constraints' corner


def test_constraints_that_leave_nothing_of_an_endless_space_are_an_error() -> None:
    runs = Runs(bayes({"x": {"min": 0.0, "max": 1.0}}, constraints=["x > 2"]))
    with pytest.raises(UsageError, match="loosen them"):
        runs.ask()


def test_a_wide_space_is_searched_too() -> None:
    runs = Runs(bayes({f"x{index}": {"min": 0.0, "max": 1.0} for index in range(20)}))
    runs.play(30, lambda p: (p["x3"] - 0.3) ** 2 + (p["x7"] - 0.6) ** 2)
    assert min(item.value for item in runs.ended if item.value is not None) < 0.02


def test_many_runs_are_no_burden() -> None:
    runs = Runs(bayes(MIXED))
    space = runs.config.space
    for index in range(1500):
        point = space.draw(0, index)
        assert point is not None
        runs.end(point, bowl(point))
    assert bowl(runs.ask().suggestions[0].params) < 0.5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_points_survive_their_translation(index: int) -> None:
    space = bayes(MIXED).space
    translation = Translation(space)
    params = space.draw(3, index)
    assert params is not None
    point = translation.point(params)
    assert point is not None
    again = translation.params(point)
    assert again.keys() == params.keys()
    for name, value in params.items():
        assert math.isclose(again[name], value) if isinstance(value, float) else again[name] == value


def test_listed_numbers_keep_their_order_and_false_is_no_number() -> None:
    translation = Translation(
        bayes({"a": {"values": [64, 16, 32]}, "b": {"values": [0, False, "", None]}}).space
    )
    first, second = translation.domain.axes
    assert [translation.point({"a": value, "b": 0})[0] for value in (16, 32, 64)] == sorted(first.places)  # type: ignore[index, arg-type]
    assert second.categories == 4


def test_grid_and_random_load_neither_numpy_nor_scipy() -> None:
    code = (
        "import sys; from besom.search import create_method; from besom.sweepfile import from_mapping;"
        "create_method(from_mapping({'method': 'random', 'parameters': {'a': {'min': 0, 'max': 3}}}));"
        "sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], check=False, cwd=Path.cwd()).returncode == 0
