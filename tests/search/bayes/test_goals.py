from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom.pareto import front
from besom.records import Observation, Params, RunState
from besom.search import create_method
from besom.search.bayes.goals import scalarize
from besom.sweepfile import from_mapping

Outcome = Mapping[str, float]


def play(
    method: str,
    metrics: Sequence[Mapping[str, Any]],
    outcome: Callable[[Params], Outcome],
    *,
    axes: int,
    count: int,
    seed: int,
) -> list[Outcome]:
    """Run a sweep over `axes` numbers in [0, 1] by hand; give what each run reported."""
    parameters = {f"x{index}": {"min": 0.0, "max": 1.0} for index in range(axes)}
    config = from_mapping({"method": method, "metrics": metrics, "seed": seed, "parameters": parameters})
    asked = create_method(config)
    ended: list[Observation] = []

    class History:
        def observations(self, *, after: int = 0) -> Sequence[Observation]:
            return ended[after:]

        def active(self) -> Sequence[Params]:
            return ()

    cursor = 0
    told: list[Outcome] = []
    assert config.metric is not None
    for number in range(1, count + 1):
        batch = asked.suggest(cursor, 1, History())
        cursor = batch.cursor
        params = batch.suggestions[0].params
        summary = outcome(params)
        told.append(summary)
        value = summary[config.metric.name]
        ended.append(Observation(f"r{number}", RunState.FINISHED, params, value, number, summary))
    return told


def vector(params: Params) -> list[float]:
    return [params[f"x{index}"] for index in range(len(params))]


def zdt1(params: Params) -> Outcome:
    """Front: y = 1 - sqrt(x) (Zitzler, Deb and Thiele 2000)."""
    first, *rest = vector(params)
    g = 1 + 9 * sum(rest) / len(rest)
    return {"a": first, "b": g * (1 - math.sqrt(first / g))}


def zdt2(params: Params) -> Outcome:
    """The concave one: y = 1 - x^2."""
    first, *rest = vector(params)
    g = 1 + 9 * sum(rest) / len(rest)
    return {"a": first, "b": g * (1 - (first / g) ** 2)}


def dtlz2(params: Params) -> Outcome:
    """An eighth of a sphere (Deb et al. 2002), three goals, the third one to be maximized here."""
    u, v, *rest = vector(params)
    g = 1 + sum((x - 0.5) ** 2 for x in rest)
    a, b = u * math.pi / 2, v * math.pi / 2
    return {"a": g * math.cos(a) * math.cos(b), "b": g * math.cos(a) * math.sin(b), "c": -g * math.sin(a)}


def volume(rows: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Give the share of a fixed sample of the box below `reference` that some row dominates."""
    sample = np.random.default_rng(0).random((20_000, len(reference))) * np.array(reference)
    dominated = np.zeros(len(sample), dtype=bool)
    for row in rows:
        dominated |= (np.array(row) <= sample).all(1)
    return float(dominated.mean())


TWO: list[dict[str, Any]] = [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "minimize"}]
THREE: list[dict[str, Any]] = [*TWO, {"name": "c", "goal": "maximize"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "metrics", "reference", "best", "least", "times"),
    [
        (zdt1, TWO, (1.1, 2.0), 0.848, 0.80, 3.0),
        (zdt2, TWO, (1.1, 2.0), 0.697, 0.64, 20.0),
        (dtlz2, THREE, (1.2, 1.2, 1.2), 0.697, 0.45, 1.03),
    ],
    ids=["zdt1", "zdt2", "dtlz2"],
)
def test_the_front_is_reached_far_better_than_by_chance(  # noqa: PLR0917
    problem: Callable[[Params], Outcome],
    metrics: list[dict[str, Any]],
    reference: tuple[float, ...],
    best: float,
    least: float,
    times: float,
) -> None:
    def covered(method: str, seed: int) -> float:
        told = play(method, metrics, problem, axes=4, count=40, seed=seed)
        signs = [-1.0 if goal["goal"] == "maximize" else 1.0 for goal in metrics]
        rows = [
            [sign * item[goal["name"]] for sign, goal in zip(signs, metrics, strict=True)] for item in told
        ]
        return volume(rows, reference)

    found = [covered("bayes", seed) for seed in range(2)]
    chance = [covered("random", seed) for seed in range(2)]
    assert least <= min(found) <= max(found) <= best + 0.01
    assert min(found) > times * max(chance)


@pytest.mark.slow
def test_the_best_point_within_a_limit_is_found() -> None:
    """The lowest bowl within a disk: the constraint cuts the bowl's own minimum off."""

    def outcome(params: Params) -> Outcome:
        x, y = vector(params)
        return {"loss": (x - 1) ** 2 + (y - 1) ** 2, "size": x**2 + y**2}

    metrics: list[dict[str, Any]] = [{"name": "loss", "goal": "minimize"}, {"name": "size", "max": 0.5}]
    optimum = 2 * (1 - 0.5) ** 2

    def regret(method: str, seed: int) -> float:
        told = play(method, metrics, outcome, axes=2, count=30, seed=seed)
        return min(item["loss"] for item in told if item["size"] <= 0.5) - optimum

    ours = [regret("bayes", seed) for seed in range(3)]
    chance = [regret("random", seed) for seed in range(3)]
    assert max(ours) < 0.02
    assert sum(ours) < 0.3 * sum(chance)


def test_a_search_that_starts_outside_every_limit_finds_in() -> None:
    def outcome(params: Params) -> Outcome:
        x, y = vector(params)
        return {"loss": x + y, "far": math.hypot(x - 0.9, y - 0.1)}

    metrics: list[dict[str, Any]] = [{"name": "loss", "goal": "minimize"}, {"name": "far", "max": 0.08}]
    told = play("bayes", metrics, outcome, axes=2, count=25, seed=0)
    assert any(item["far"] <= 0.08 for item in told)


def test_a_run_that_lacks_a_goal_counts_as_failed_and_the_search_goes_on() -> None:
    def outcome(params: Params) -> Outcome:
        told = {"a": params["x0"], "b": 1.0 - params["x0"]}
        return {"a": told["a"]} if params["x1"] > 0.5 else told

    told = play("bayes", TWO, outcome, axes=2, count=20, seed=0)
    assert sum("b" in item for item in told) > 10


@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-300, 0.0])
def test_goals_of_any_scale_give_finite_suggestions(scale: float) -> None:
    told = play("bayes", TWO, lambda p: {"a": scale * p["x0"], "b": p["x1"] - 1.0}, axes=2, count=10, seed=0)
    assert len({tuple(item.items()) for item in told}) == 10 or scale == 0.0


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=40))
def test_the_front_is_what_nothing_dominates(rows: list[tuple[int, int, int]]) -> None:
    def dominated(row: tuple[int, ...]) -> bool:
        return any(other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows)

    assert front(rows) == [index for index, row in enumerate(rows) if not dominated(row)]


@given(
    st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 2), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
)
def test_what_is_dominated_is_never_scalarized_better(rows: list[tuple[float, float]], weight: float) -> None:
    values = np.array(rows)
    merit = scalarize(values, np.ones(len(rows), dtype=bool), np.array([weight, 1 - weight]))
    assert np.isfinite(merit).all()
    for one, a in zip(values, merit, strict=True):
        for other, b in zip(values, merit, strict=True):
            if (one <= other).all():
                assert a <= b + 1e-9 * max(1.0, abs(b))
