"""What W&B's own suite knows of sweep configs; docs/wandb-compat.md has the differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from besom.errors import SweepFileError
from besom.sweepfile import from_mapping

approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def grid(**parameters: Any) -> list[dict[str, Any]]:
    """Give every point of a grid over `parameters`, flat, in order."""
    space = from_mapping({"method": "grid", "parameters": parameters}).space
    points = [space.nth(index) for index in range(space.size or 0)]
    return [space.flatten(point) for point in points if point is not None]


def pairs(v1: Mapping[str, Any], v2: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(point["v1"], point["v2"]) for point in grid(v1=v1, v2=v2)]


@pytest.mark.parametrize(
    ("v1", "v2", "points"),
    [
        ([1, 2, 3], [4, 5], [(1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)]),
        (["", [9, 5]], [256, 512], [("", 256), ("", 512), ([9, 5], 256), ([9, 5], 512)]),
        (["a", "b", "c", "a"], [1, 2], [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]),
        ([3000000, 3000000.0, "next"], [0], [(3000000, 0), ("next", 0)]),
        ([True, 1, 1.0], [False, 0], [(True, False), (True, 0), (1, False), (1, 0)]),
        (
            [{"b": 2, "a": 1}, {"a": 1, "b": 2}, {"a": 3}],
            [None],
            [({"b": 2, "a": 1}, None), ({"a": 3}, None)],
        ),
        ([{"e": {"f": "g"}}, {"a": "b"}, {"a": "b"}], ["x"], [({"e": {"f": "g"}}, "x"), ({"a": "b"}, "x")]),
    ],
)
def test_grids_come_in_wandbs_order_without_equal_values(
    v1: list[Any], v2: list[Any], points: list[tuple[Any, Any]]
) -> None:
    assert pairs({"values": v1}, {"values": v2}) == points


def test_a_grid_of_mixed_kinds_has_each_combination_once() -> None:
    points = pairs({"values": [None, 2, 3, "a", (2, 3), 3]}, {"values": ["a", "b", "c'"]})
    assert len(points) == 15
    assert all(points.count(point) == 1 for point in points)


def test_constants_are_carried_along() -> None:
    assert pairs({"values": ["a", "b"]}, {"value": 1}) == [("a", 1), ("b", 1)]
    assert pairs({"value": "a"}, {"value": "b"}) == [("a", "b")]


def test_whole_numbers_run_from_min_to_max_both_included() -> None:
    v1 = {"distribution": "int_uniform", "min": -52, "max": 10}
    assert [a for a, _ in pairs(v1, {"value": "test"})] == list(range(-52, 11))


def test_quantized_ranges_run_from_min_in_steps_of_q() -> None:
    v1 = {"distribution": "q_uniform", "min": -9.211, "max": 23.23, "q": 2.341}
    assert [a for a, _ in pairs(v1, {"value": 0})] == approx([-9.211 + 2.341 * step for step in range(14)])


def test_nested_parameters_are_part_of_the_grid() -> None:
    nested = {
        "parameters": {"n1": {"values": [0.01, 0.001]}, "n2": {"value": 0.9}, "n3": {"values": [1, 2, 3]}}
    }
    points = grid(p1={"values": ["a", "b", "c"]}, p2=nested)
    assert len(points) == 18
    assert points[1] == {"p1": "a", "p2.n1": 0.01, "p2.n2": 0.9, "p2.n3": 2}


@pytest.mark.parametrize("method", ["bayes", "grid", "random"])
def test_equal_names_at_different_depths_are_no_conflict(method: str) -> None:
    deep = {"parameters": {"b": {"value": 1}, "c": {"parameters": {"d": {"value": 2}}}}}
    config = from_mapping(
        {"method": method, "metric": {"name": "loss"}, "parameters": {"a": deep, "b": {"values": [2, 3]}}}
    )
    assert config.space.nth(0) == {"a": {"b": 1, "c": {"d": 2}}, "b": 2}


VALID: list[dict[str, Any]] = [
    {"method": "grid", "parameters": {"param1": {"values": ["one two", "three four", '"five six"']}}},
    {"method": "bayes", "command": ["echo", "hello world"], "metric": {"name": "m", "goal": "maximize"}},
    {
        "method": "bayes",
        "metric": {"name": "m"},
        "parameters": {"a": {"values": [None, 1]}, "b": {"value": None}},
    },
    {"method": "bayes", "metric": {"name": "m", "goal": "maximize", "target": 0.99}},
    {
        "method": "bayes",
        "metric": {"name": "m"},
        "parameters": {"a": {"distribution": "normal", "mu": 100, "sigma": 10}},
    },
    {
        "method": "bayes",
        "metric": {"name": "m"},
        "parameters": {
            "p": {"parameters": {"q": {"distribution": "q_uniform", "min": 0, "max": 256, "q": 1}}}
        },
    },
    {
        "method": "grid",
        "metric": {"name": "m", "goal": "maximize"},
        "early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3},
    },
    {"method": "random", "run_cap": 300},
    {"method": "random", "controller": {"type": "cloud"}},
    {"method": "random", "controller": {"type": "local"}},
    {"method": "bayes", "scheduler": {"engine": "wandb"}},
    {
        "method": "bayes",
        "scheduler": {"engine": "wandb", "source": "s.py", "optimizer": "build", "search_space": "space"},
        "parameters": None,
    },
    {"method": "custom", "metrics": [{"name": "loss"}, {"name": "accuracy", "goal": "maximize"}]},
    {"method": "random", "parameters": {"a": {"min": 0, "max": 1, "distribution": "uniform"}}},
]


@pytest.mark.parametrize("sweep", VALID)
def test_what_wandb_accepts_is_accepted(sweep: dict[str, Any]) -> None:
    from_mapping({"parameters": {"v1": {"values": [1, 2, 3]}}, **sweep})


INVALID: list[dict[str, Any]] = [
    {"parameters": {"v1": {"max": 3, "min": 5}, "v2": {"min": 5, "max": 6}}},
    {"parameters": {"v1": {"mu": 0.1, "sigma": -0.1, "distribution": "normal"}}},
    {"parameters": None},
    {"parameters": {}},
    {"parameters": {"v1": {"values": [1, 2, 3], "probabilities": [0.1, 0.2, 0.3, 0.4]}}},
    {"parameters": {"v1": {"values": [1, 2, 3], "probabilities": [0.1, 0.2, 0.3]}}},
    {"parameters": {"v1": {"invalid": "this"}}},
    {"parameters": {"v1": {"values": []}}},
    {"parameters": {"v1": {"min": 0.0, "max": 1.0, "distribution": "int_uniform"}}},
    {"parameters": {"v1": {"min": 2, "max": 1, "distribution": "log_uniform_values"}}},
    {"metric": {"name": "loss", "goal": "minimise"}},
    {"metric": "{'goal': 'maximize', 'name': 'val/loss'}"},
    {"controller": {"type": "invalid"}},
    {"method": None},
    {"run_cap": 0},
    {"run_cap": -1},
    {"run_cap": -0.3},
    {"run_cap": 5.1},
    {"run_cap": "1"},
    {"method": "custom", "metrics": [{"name": "loss"}]},
    {"method": "custom", "metrics": "not-a-list"},
    {"method": "custom", "metrics": ["loss", "accuracy"]},
    {"method": "custom", "metric": {"name": "loss"}, "metrics": [{"name": "loss"}, {"name": "accuracy"}]},
    {"scheduler": {"engine": "optuna", "source": "s.py"}},
    {"scheduler": {"engine": "not-an-engine"}},
    {"scheduler": {"source": "s.py"}},
    {"scheduler": {"engine": "wandb", "optimizer": "build"}},
    {"method": "custom", "scheduler": {"engine": "wandb"}},
    {"scheduler": {"engine": "wandb"}, "controller": {"type": "local"}},
    {
        "scheduler": {"engine": "wandb"},
        "early_terminate": {"type": "hyperband", "min_iter": 3},
        "metric": {"name": "loss"},
    },
    {"scheduler": {"engine": "wandb", "source": "s.py", "search_space": ""}, "parameters": None},
]


@pytest.mark.parametrize("sweep", INVALID)
def test_what_wandb_refuses_is_refused(sweep: dict[str, Any]) -> None:
    with pytest.raises(SweepFileError):
        from_mapping({"method": "random", "parameters": {"v1": {"values": [1, 2, 3]}}, **sweep})


def test_hyperband_gets_wandbs_defaults() -> None:
    sweep = {
        "method": "random",
        "metric": {"name": "val/loss"},
        "parameters": {"a": {"values": ["0.15", "0.2"]}},
    }
    config = from_mapping({**sweep, "early_terminate": {"type": "hyperband", "min_iter": 3}})
    assert config.early_terminate == {"type": "hyperband", "min_iter": 3, "eta": 3, "strict": True}


@pytest.mark.parametrize("name", ["log_uniform", "q_log_uniform", "inv_log_uniform"])
def test_exponent_distributions_are_deprecated(name: str) -> None:
    config = from_mapping(
        {"method": "random", "parameters": {"a": {"min": 1, "max": 2, "distribution": name}}}
    )
    assert len(config.warnings) == 1


def test_reading_a_mapping_leaves_it_as_it_was() -> None:
    sweep = {"method": "random", "parameters": {"a": {"distribution": "normal"}}}
    from_mapping(sweep)
    assert sweep == {"method": "random", "parameters": {"a": {"distribution": "normal"}}}
