"""What every engine of others is kept to, whatever it proposes; and what it is told of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from besom.errors import UsageError
from besom.records import Observation, Params, RunState
from besom.search.engine import EngineMethod, Told, told
from besom.sweepfile import SweepConfig, from_mapping


class Stubborn:
    """Proposes the same point for ever, and counts how often it is asked."""

    def __init__(self, point: Params) -> None:
        self.point, self.asked = point, 0

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        self.asked += 1
        while True:
            yield self.point


class Runs:
    """The ended runs of a sweep."""

    def __init__(self, ended: list[Observation] | None = None) -> None:
        self.ended = ended or []

    def observations(self, *, after: int = 0) -> list[Observation]:
        return [item for item in self.ended if item.changed > after]

    def active(self) -> list[Params]:
        return []


def config(parameters: Mapping[str, Any], **more: Any) -> SweepConfig:
    return from_mapping(
        {"method": "optuna", "metric": {"name": "loss"}, "seed": 1, "parameters": parameters, **more}
    )


def test_of_a_huge_space_whose_constraints_leave_nothing_it_is_said_soon() -> None:
    wide = {f"x{number}": {"min": 1, "max": 1000} for number in range(4)}
    method = EngineMethod(config(wide, constraints=["x0 + x1 < 2"]), Stubborn(dict.fromkeys(wide, 1)))
    with pytest.raises(UsageError, match="random points satisfies the constraints; loosen them"):
        method.suggest(0, 1, Runs())


def test_where_the_engine_repeats_itself_another_point_of_a_huge_space_is_drawn() -> None:
    wide = {f"x{number}": {"min": 1, "max": 1000} for number in range(4)}
    same = dict.fromkeys(wide, 1)
    method = EngineMethod(config(wide), Stubborn(same))
    history = Runs([Observation("r", RunState.FINISHED, same, 1.0, 1)])
    [found] = method.suggest(1, 1, history).suggestions
    assert found.params != same


def test_runs_of_another_space_do_not_fill_this_one() -> None:
    engine = Stubborn({"a": 3})
    method = EngineMethod(config({"a": {"values": [1, 2, 3]}}), engine)
    others = [Observation(f"r{n}", RunState.FINISHED, {"b": n}, 1.0, n) for n in range(1, 9)]
    [found] = method.suggest(0, 1, Runs(others)).suggestions
    assert (found.params, engine.asked) == ({"a": 3}, 1)


LIMITED = [
    {"name": "loss", "goal": "minimize", "min": 0, "impute": "latest"},
    {"name": "acc", "goal": "maximize"},
    {"name": "ms", "min": 1, "max": 12},
]


@pytest.mark.parametrize(
    ("state", "summary", "expected"),
    [
        (RunState.FINISHED, {"loss": 3.0, "acc": 0.5, "ms": 10}, Told((3.0, 0.5), (3.0, 9.0, 2.0))),
        (RunState.STOPPED, {"loss": -1.0, "acc": 0.5, "ms": 20}, Told((-1.0, 0.5), (-1.0, 19.0, -8.0))),
        (RunState.FINISHED, {"loss": 3.0, "acc": 0.5}, None),
        (RunState.FINISHED, {"loss": 3.0, "acc": "NaN", "ms": 10}, None),
        (RunState.FAILED, {"loss": 3.0, "acc": 0.5, "ms": 10}, Told((3.0, 0.5), (3.0, 9.0, 2.0))),
        (RunState.KILLED, {"loss": 3.0, "acc": 0.5, "ms": 10}, None),
    ],
)
def test_an_engine_is_told_the_goals_and_the_room_to_each_bound(
    state: RunState, summary: dict[str, Any], expected: Told | None
) -> None:
    space = {"a": {"min": 0.0, "max": 1.0}}
    sweep = config(space, metric=None, metrics=LIMITED)
    item = Observation("r", state, {"a": 0.5}, summary["loss"], 1, summary=summary)
    assert told(sweep, item) == expected


def test_a_failed_run_has_failed_unless_its_value_shall_stand_for_it() -> None:
    sweep = config({"a": {"min": 0.0, "max": 1.0}})
    assert told(sweep, Observation("r", RunState.FAILED, {"a": 0.5}, 3.0, 1)) is None
