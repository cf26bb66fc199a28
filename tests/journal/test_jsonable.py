from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from datetime import date, datetime, timezone
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.jsonable import MAX_ITEMS, jsonable


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Text(str, Enum):
    A = "a"


@dataclass
class Point:
    x: float
    inner: Any = None


def function() -> None:
    """Stands for an activation or a loss in a config."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (10**400, 10**400),
        (Level.LOW, 1),
        (Color.RED, "red"),
        (Text.A, "a"),
        ((1, {2}), [1, [2]]),
        ({1: {None: 2}}, {"1": {"None": 2}}),
        (Path("a/b"), "a/b"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02T00:00:00+00:00"),
        (Point(1.0, Point(math.nan)), {"x": 1.0, "inner": {"x": "NaN", "inner": None}}),
        (argparse.Namespace(lr=Path("x")), {"lr": "x"}),
        (int, "builtins.int"),
        (function, f"{function.__module__}.function"),
    ],
)
def test_values_get_the_form_json_has_for_them(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected
    assert type(jsonable(value)) is type(expected)


def test_a_number_too_long_to_be_read_back_is_text() -> None:
    assert jsonable(10**5000) == hex(10**5000)


def test_numbers_and_arrays_of_numpy_are_plain() -> None:
    numpy = pytest.importorskip("numpy")
    assert jsonable(numpy.float64(0.5)) == 0.5
    assert type(jsonable(numpy.float64(0.5))) is float
    assert jsonable(numpy.array(3)) == 3
    assert jsonable(numpy.array([[1.0, numpy.nan]])) == [[1.0, "NaN"]]
    assert jsonable(numpy.zeros(MAX_ITEMS + 1)) == f"<ndarray of shape ({MAX_ITEMS + 1},)>"
    assert "complex" in jsonable(numpy.complex128(1j)) or "1j" in jsonable(numpy.complex128(1j))


def test_what_holds_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested too deeply" in json.dumps(jsonable(loop))


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text() | st.integers(), below, max_size=3)
        | st.tuples(below)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(anything)
def test_law_everything_becomes_strict_json_and_stays_so(value: Any) -> None:
    first = jsonable(value)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert jsonable(first) == first
