from __future__ import annotations

import pytest

from besom.errors import SweepFileError
from besom.sweepfile import from_mapping, parse


def test_a_grid_is_walked_in_the_order_that_the_file_gives() -> None:
    config = parse("method: grid\norder: [b, a]\nparameters: {a: {values: [1, 2]}, b: {values: [x, y]}}\n")
    points = [config.space.nth(index) for index in range(4)]
    assert points == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "y"}]


def test_parameters_that_the_order_leaves_out_follow_by_name() -> None:
    config = parse(
        "method: grid\norder: [c]\n"
        "parameters: {a: {values: [1, 2]}, b: {values: [1, 2]}, c: {values: [1, 2]}}\n"
    )
    points = [config.space.nth(index) for index in range(8)]
    assert points == [{"a": a, "b": b, "c": c} for c in (1, 2) for a in (1, 2) for b in (1, 2)]


def test_the_order_survives_the_store() -> None:
    config = parse("method: grid\norder: [b, a]\nparameters: {a: {values: [1, 2]}, b: {values: [1, 2]}}\n")
    assert from_mapping(config.raw) == config


def test_an_order_of_something_else_is_refused_with_its_place() -> None:
    with pytest.raises(SweepFileError, match=r"yaml:2:9: order: lrr is no parameter; did you mean 'lr'"):
        parse("method: grid\norder: [lrr]\nparameters: {lr: {values: [1, 2]}}\n")
    with pytest.raises(SweepFileError, match="order names a parameter twice"):
        parse("method: grid\norder: [lr, lr]\nparameters: {lr: {values: [1, 2]}}\n")
    with pytest.raises(SweepFileError, match="order must be a list of parameters"):
        parse("method: grid\norder: lr\nparameters: {lr: {values: [1, 2]}}\n")


def test_keys_that_begin_with_x_are_kept_and_not_read() -> None:
    config = parse("method: grid\nx-team: {who: [me]}\nparameters: {lr: {values: [1, 2]}}\n")
    assert config.raw["x-team"] == {"who": ["me"]}
    with pytest.raises(SweepFileError, match="unknown key 'y-team'"):
        parse("method: grid\ny-team: 1\nparameters: {lr: {values: [1, 2]}}\n")


@pytest.mark.parametrize("name", ["+trainer.tags", "++a", "db/engine@backup.db", "model@_global_"])
def test_a_parameter_may_be_called_what_hydra_calls_it(name: str) -> None:
    config = from_mapping({"method": "grid", "parameters": {name: {"values": [1, 2]}}})
    assert config.space.nth(0) == {name: 1}
