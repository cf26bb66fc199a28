"""The laws every Method keeps: subclass `MethodContract` with `name` and `method`, and pytest proves them.

A method that runs a point more than once, as population-based training does, keeps `ProposalContract`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from besom.records import Batch, Observation, Params, RunState, Suggestion
from besom.search.base import Method
from besom.sweepfile import SweepConfig, from_mapping

FINITE: Mapping[str, Mapping[str, Any]] = {
    "one point": {"parameters": {"a": {"value": 1}}},
    "falsy values": {"parameters": {"a": {"values": [0, False, "", None, []]}, "b": {"min": 0, "max": 3}}},
    "nested": {
        "parameters": {"m": {"parameters": {"d": {"min": 1, "max": 3}}}, "m.lr": {"values": [0.1, 0.01]}}
    },
    "conditions": {
        "parameters": {
            "opt": {"values": ["adam", "sgd", "rms"]},
            "momentum": {"values": [0.5, 0.9], "when": {"opt": ["sgd", "rms"]}},
            "nesterov": {"values": [True, False], "when": {"opt": "sgd", "momentum": {"min": 0.8}}},
        }
    },
    "constraints": {
        "parameters": {"a": {"min": 1, "max": 9}, "b": {"min": 1, "max": 9}},
        "constraints": ["a * b <= 20", "a != b"],
    },
    "quantized": {"parameters": {"x": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}}},
}
"""Small sweep files without `method`, which a contract's `method` hook gets with its own name filled in."""


class FakeHistory:
    """The runs of a sweep in memory: everything suggested, each ended at once with a made-up value."""

    def __init__(self) -> None:
        self.seen: dict[str, Suggestion] = {}

    def add(self, batch: Batch) -> list[Suggestion]:
        """Keep what is new, as the store does, and give it."""
        new = [item for item in batch.suggestions if item.key not in self.seen]
        self.seen.update({item.key: item for item in new})
        return new

    def observations(self, *, after: int = 0) -> Sequence[Observation]:
        runs = list(self.seen.values())[after:]
        return [
            Observation(f"r{number}", RunState.FINISHED, item.params, float(number % 7), number)
            for number, item in enumerate(runs, start=after + 1)
        ]

    def active(self) -> Sequence[Params]:
        return ()

    def handed_out(self, *, after: int = 0) -> Sequence[Observation]:
        keys = list(self.seen)
        return [replace(item, key=keys[item.changed - 1]) for item in self.observations(after=after)]


class ProposalContract:
    """What holds for every method, one that runs a point more than once included; `name` is its word."""

    name: str

    def method(self, config: SweepConfig) -> Method:
        """Build the method under test."""
        raise NotImplementedError

    def config(self, sweep: Mapping[str, Any]) -> SweepConfig:
        """Give a sweep file's config with this method and a seed."""
        metric = {"name": "loss", "goal": "minimize"}
        return from_mapping({"method": self.name, "metric": metric, "seed": 7, **sweep})

    @pytest.fixture(params=FINITE)
    def finite(self, request: pytest.FixtureRequest) -> SweepConfig:
        """A small sweep with finitely many points."""
        return self.config(FINITE[request.param])

    def walk(self, config: SweepConfig, count: int) -> Iterator[tuple[Batch, list[Suggestion]]]:
        """Ask for batches of `count`, as a scheduler does, until the method is exhausted."""
        method, history = self.method(config), FakeHistory()
        cursor = 0
        for _ in range(10_000):
            batch = method.suggest(cursor, count, history)
            assert batch.cursor >= cursor
            yield batch, history.add(batch)
            if batch.exhausted:
                return
            cursor = batch.cursor
        raise AssertionError("the method never said that it was exhausted")

    def test_what_is_suggested_is_a_point_of_the_space(self, finite: SweepConfig) -> None:
        for batch, _ in self.walk(finite, 5):
            for item in batch.suggestions:
                assert finite.space.check(item.params) == []
                assert finite.space.suggestion(item.params).params == item.params

    def test_a_batch_holds_no_more_than_asked_for(self, finite: SweepConfig) -> None:
        for count in (1, 2, 7):
            assert all(len(batch.suggestions) <= count for batch, _ in self.walk(finite, count))

    def test_the_same_cursor_gives_the_same_batch(self, finite: SweepConfig) -> None:
        first, second = self.method(finite), self.method(finite)
        cursor = 0
        for _ in range(10):
            batch = first.suggest(cursor, 4, FakeHistory())
            again = first.suggest(cursor, 4, FakeHistory())
            assert batch == again == second.suggest(cursor, 4, FakeHistory())
            if batch.exhausted:
                break
            cursor = batch.cursor

    def test_a_config_read_back_from_the_store_suggests_the_same(self, finite: SweepConfig) -> None:
        again = from_mapping(finite.raw)
        assert list(self.walk(finite, 3)) == list(self.walk(again, 3))

    def test_an_exhausted_method_stays_exhausted(self, finite: SweepConfig) -> None:
        *_, (last, _) = self.walk(finite, 64)
        again = self.method(finite).suggest(last.cursor, 64, FakeHistory())
        assert again == Batch((), last.cursor, exhausted=True)

    def test_it_says_how_many_suggestions_may_wait(self, finite: SweepConfig) -> None:
        assert self.method(finite).lookahead >= 1

    def test_a_space_that_constraints_leave_empty_ends(self) -> None:
        sweep = {"parameters": {"a": {"min": 1, "max": 50}}, "constraints": ["a > 50"]}
        batches = list(self.walk(self.config(sweep), 8))
        assert all(not batch.suggestions for batch, _ in batches)
        assert batches[-1][0].exhausted


class MethodContract(ProposalContract):
    """What holds for every method whose suggestions are points of the space, each of which runs once."""

    @pytest.mark.parametrize("count", [1, 3, 64])
    def test_a_finite_space_is_covered_once_and_ends(self, finite: SweepConfig, count: int) -> None:
        found = [item for _, new in self.walk(finite, count) for item in new]
        space = finite.space
        assert space.size is not None
        points = [point for index in range(space.size) if (point := space.nth(index)) is not None]
        assert sorted(item.key for item in found) == sorted(space.suggestion(point).key for point in points)
        assert len(found) == space.expected

    def test_a_suggestion_has_the_key_of_its_point(self, finite: SweepConfig) -> None:
        for batch, _ in self.walk(finite, 5):
            for item in batch.suggestions:
                assert finite.space.suggestion(item.params) == item
