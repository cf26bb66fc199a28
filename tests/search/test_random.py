from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from besom.errors import NotFoundError, UsageError
from besom.search import create_method
from besom.search.base import Method
from besom.search.permutation import permuted
from besom.sweepfile import SweepConfig, from_mapping
from besom.testing.methods import FakeHistory, MethodContract

stats: Any = scipy_stats  # its annotations are partly unknown


class TestRandomContract(MethodContract):
    name = "random"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)


def random_config(parameters: dict[str, Any], **more: Any) -> SweepConfig:
    return from_mapping({"method": "random", "parameters": parameters, **more})


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(0, 2**63))
def test_the_permutation_visits_every_number_once(size: int, seed: int) -> None:
    assert sorted(permuted(index, size, seed) for index in range(size)) == list(range(size))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 10**40), st.integers(0, 2**63), st.data())
def test_the_permutation_stays_in_any_range(size: int, seed: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert 0 <= permuted(index, size, seed) < size


def test_no_index_beyond_the_range_has_an_image() -> None:
    with pytest.raises(IndexError):
        permuted(5, 5, 0)


@pytest.mark.parametrize("size", [2, 5, 16, 17])
def test_every_point_is_equally_likely_to_be_first(size: int) -> None:
    firsts = Counter(permuted(0, size, seed) for seed in range(4000))
    assert stats.chisquare([firsts[number] for number in range(size)]).pvalue > 1e-4


def test_neighbours_in_the_order_are_not_neighbours_in_the_space() -> None:
    size = 10**12
    images = [permuted(index, size, 3) for index in range(500)]
    assert stats.kstest([image / size for image in images], "uniform").pvalue > 1e-3
    assert stats.kstest([((b - a) % size) / size for a, b in pairwise(images)], "uniform").pvalue > 1e-3


def test_different_seeds_give_different_orders() -> None:
    space = {"a": {"min": 1, "max": 1000}}
    orders = [create_method(random_config(space, seed=seed)).suggest(0, 20, FakeHistory()) for seed in (1, 2)]
    assert orders[0] != orders[1]


def test_weighted_values_come_as_often_as_their_weights_say() -> None:
    config = random_config(
        {"a": {"values": ["x", "y"], "probabilities": [0.9, 0.1]}, "b": {"min": 1, "max": 9999}}
    )
    batch = create_method(config).suggest(0, 2000, FakeHistory())
    ratio = sum(item.params["a"] == "x" for item in batch.suggestions) / len(batch.suggestions)
    assert 0.87 < ratio < 0.93


def test_rare_values_still_come_in_the_end() -> None:
    config = random_config({"a": {"values": [1, 2, 3], "probabilities": [0.999998, 1e-6, 1e-6]}})
    method, cursor, seen = create_method(config), 0, set[int]()
    while True:
        batch = method.suggest(cursor, 2, FakeHistory())
        seen |= {item.params["a"] for item in batch.suggestions}
        cursor = batch.cursor
        if batch.exhausted:
            break
    assert seen == {1, 2, 3}


def test_an_infinite_space_never_ends_and_respects_constraints() -> None:
    config = random_config(
        {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}, constraints=["x < y"]
    )
    batch = create_method(config).suggest(10**6, 100, FakeHistory())
    assert len(batch.suggestions) == 100
    assert not batch.exhausted
    assert all(item.params["x"] < item.params["y"] for item in batch.suggestions)


def test_a_needle_in_an_infinite_haystack_is_looked_for() -> None:
    config = random_config({"x": {"min": 0.0, "max": 1.0}}, constraints=["x < 0.0001"])
    method = create_method(config)
    batch = method.suggest(0, 5, FakeHistory())
    assert 1 <= len(batch.suggestions) <= 5


def test_constraints_that_nothing_satisfies_are_an_error_in_an_infinite_space() -> None:
    config = random_config({"x": {"min": 0.0, "max": 1.0}}, constraints=["x > 2"])
    with pytest.raises(UsageError, match="none of 100000 random points"):
        create_method(config).suggest(0, 5, FakeHistory())


def test_a_method_that_is_not_installed_is_named() -> None:
    config = replace(random_config({"a": {"value": 1}}), method="custm")
    with pytest.raises(NotFoundError, match="did you mean 'custom'"):
        create_method(config)
