from __future__ import annotations

import pytest

from besom.errors import UsageError
from besom.search import create_method
from besom.search.base import Method
from besom.search.collect import MAX_TRIES
from besom.search.grid import create_grid
from besom.sweepfile import SweepConfig, from_mapping
from besom.testing.methods import FakeHistory, MethodContract


class TestGridContract(MethodContract):
    name = "grid"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)


def test_points_come_in_the_order_of_sorted_names_with_the_last_fastest() -> None:
    config = from_mapping(
        {"method": "grid", "parameters": {"b": {"values": ["x", "y"]}, "a": {"values": [2, 1, 2]}}}
    )
    batch = create_method(config).suggest(0, 10, FakeHistory())
    assert [dict(item.params) for item in batch.suggestions] == [
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
    ]
    assert batch.exhausted


def test_a_call_looks_at_a_bounded_number_of_points() -> None:
    config = from_mapping(
        {"method": "grid", "parameters": {"a": {"min": 1, "max": 10**12}}, "constraints": ["a > 10 ** 11"]}
    )
    batch = create_method(config).suggest(5, 64, FakeHistory())
    assert (batch.suggestions, batch.cursor, batch.exhausted) == ((), 5 + MAX_TRIES, False)


def test_a_grid_needs_an_end() -> None:
    config = from_mapping({"method": "random", "parameters": {"a": {"min": 0.0, "max": 1.0}}})
    with pytest.raises(UsageError, match="finitely many"):
        create_grid(config)
