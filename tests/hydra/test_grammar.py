"""From Hydra's override grammar to a search space and back."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.sweepfile import SweepConfig, from_mapping
from besom_hydra.grammar import CommandLine, fixed_line, read_overrides

PARSER = OverridesParser.create()


def config_of(line: CommandLine, method: str = "grid", **more: Any) -> SweepConfig:
    order = [key for key in line.keys if key in line.axes]
    parameters = {key: axis.domain for key, axis in line.axes.items()}
    return from_mapping({"method": method, "parameters": parameters, "order": order, **more})


def grid(*overrides: str, loader: Any = None) -> list[list[str]]:
    """Give the jobs of a grid as besom's sweeper makes them."""
    line = read_overrides(overrides, loader)
    if not line.axes:
        return [line.line({})]
    space = config_of(line).space
    assert space.size is not None
    points = [space.nth(index) for index in range(space.size)]
    return [line.line(space.flatten(point)) for point in points if point is not None]


def hydras(*overrides: str, loader: Any = None) -> list[list[str]]:
    """Give the jobs as Hydra's own sweeper makes them."""
    parser = OverridesParser.create(config_loader=loader)
    return BasicSweeper.split_arguments(parser.parse_overrides(list(overrides)), None)[0]


def values(override: str) -> list[Any]:
    """Give the values of an axis, in the order of its grid."""
    line = read_overrides([override], None)
    parameter = next(iter(config_of(line).space.parameters.values()))
    assert parameter.distribution.size is not None
    return [parameter.distribution.nth(index) for index in range(parameter.distribution.size)]


@pytest.fixture
def loader(tmp_path: Path, hydra_restore_singletons: Any) -> ConfigLoaderImpl:
    for name in ("db/mysql", "db/postgres", "db/sqlite", "model/big", "model/small", "config"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x: 1\n")
    return ConfigLoaderImpl(config_search_path=create_config_search_path(str(tmp_path)))


# ---- grids


@pytest.mark.parametrize(
    "overrides",
    [
        ["b=1,2", "a=x,y,z"],
        ["+a=0,1", "c=5"],
        ["a=range(0,10,3)", "b=range(3)"],
        ["a=range(5,0,-1)"],
        ["a=range(0,1,0.1)", "b=range(1,2,0.5)"],
        ["a=float(range(0,3))", "b=int(range(0.5,3))"],
        ["a=sort(3,1,2)", "b=sort(range(3),reverse=true)"],
        ["a=choice(1,2.5,true,null_,[1,2],{x:1,y:{z:[1]}})"],
        ["a=null,1,inf,nan,-inf"],
        ["a=[],[a],[a,b]", "+b={},{x:1}"],
        ["++a.b=1,2", "d@e=x,y", "a/b@c.d=x,y"],
        ["a='x y',\"it's\",z\\,z", "b=${c},1"],
        ["a=tag(t,choice(1,2))", "b=tag(u,v,range(2))"],
        ["a=1,2", "b=7", "a=3,4"],
        ["a=1,2", "a=5"],
        ["a=bool(1,0)", "b=str(x,y)"],
        ["db.user=someone", "db=mysql,postgresql"],
        ["a.b=1,2", "~c=3"],
        ["hydra_like=1,2", "x=''"],
        ["a=s3://b/k?x\\=1,other"],
    ],
)
def test_a_grid_is_what_hydras_own_sweeper_runs_in_the_same_order(overrides: list[str]) -> None:
    assert grid(*overrides) == hydras(*overrides)


def test_groups_are_globbed_as_hydra_does(loader: ConfigLoaderImpl) -> None:
    for overrides in (
        ["db=glob(*)", "+model=glob(b*)"],
        ["db=glob([m*,s*],exclude=mysql)"],
        ["db@src=glob(*q*)"],
    ):
        assert grid(*overrides, loader=loader) == hydras(*overrides, loader=loader)


def test_a_glob_that_matches_nothing_is_told(loader: ConfigLoaderImpl) -> None:
    with pytest.raises(HydraException, match=r"matches no option of 'db'$"):
        grid("db=glob(x*)", loader=loader)
    with pytest.raises(HydraException, match="matches no option of 'dbs', which is no config group"):
        grid("dbs=glob(*)", loader=loader)


def test_shuffling_keeps_the_values_and_what_the_sweep_is_known_by() -> None:
    assert sorted(values("a=shuffle(range(20))")) == list(range(20))
    assert sorted(values("a=shuffle(3,1,2)")) == [1, 2, 3]
    signatures = [read_overrides(["a=shuffle(range(20))"], None).axes["a"].signature for _ in range(5)]
    assert signatures == signatures[:1] * 5
    assert read_overrides(["a=range(20)"], None).axes["a"].signature != signatures[0]


def test_a_value_that_comes_twice_is_one_point() -> None:
    assert values("a=1,2,1.0,'1',2") == [1, 2, "1"]


def test_text_that_looks_like_something_else_stays_text() -> None:
    """Hydra's own sweeper loses the quotes inside `choice` and the cast of `str`, and composes numbers."""
    assert grid("a=str(1,2)") == [["a='1'"], ["a='2'"]]
    assert grid("a=choice('1','null',x)") == [["a='1'"], ["a='null'"], ["a=x"]]


def test_a_long_range_of_whole_numbers_is_not_listed() -> None:
    line = read_overrides(["a=range(0,1000000000000,2)"], None)
    assert config_of(line).space.size == 500_000_000_000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a=range(3,3)", "the range is empty"),
        ("a=range(0,5,0)", "a step other than 0"),
        ("a=interval(3,1)", "from a number to a larger one"),
        ("a=tag(log,interval(0,1))", "needs values above 0"),
        ("a=tag(log,range(3))", "needs values above 0"),
        ("a=tag(lgo,interval(1,2))", "tag 'lgo' says nothing about an interval; known: log"),
        ("a=choice({1:x},{y:2})", "keys of a mapping that is swept must be text"),
        ("a=range(0,1,0.000001)", "100000 is the most that can be listed"),
    ],
)
def test_what_cannot_be_swept_is_told_with_the_override(override: str, message: str) -> None:
    with pytest.raises(HydraException) as caught:
        read_overrides([override], None)
    assert override in str(caught.value)
    assert message in str(caught.value)


# ---- searches


@pytest.mark.parametrize(
    ("override", "domain"),
    [
        ("a=interval(0,1)", {"distribution": "uniform", "min": 0.0, "max": 1.0}),
        ("a=tag(log,interval(1e-5,1e-1))", {"distribution": "log_uniform_values", "min": 1e-05, "max": 0.1}),
        ("a=int(interval(1,8))", {"distribution": "q_uniform", "min": 1, "max": 7, "q": 1}),
        (
            "a=tag(log,int(interval(1,9)))",
            {"distribution": "q_log_uniform_values", "min": 1, "max": 8, "q": 1},
        ),
        ("a=tag(q0.25,interval(0,1))", {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.25}),
        ("a=tag(q0.3,interval(0,1))", {"distribution": "q_uniform", "min": 0.0, "max": 0.9, "q": 0.3}),
        ("a=tag('q=2',int(interval(0,9)))", {"distribution": "q_uniform", "min": 0, "max": 8, "q": 2}),
        (
            "a=tag(log,q4,int(interval(4,65)))",
            {"distribution": "q_log_uniform_values", "min": 4, "max": 64, "q": 4},
        ),
        ("a=range(0,3)", {"distribution": "q_uniform", "min": 0, "max": 2, "q": 1}),
        ("a=range(0,10,3)", {"distribution": "q_uniform", "min": 0, "max": 9, "q": 3}),
        ("a=range(5,0,-1)", {"distribution": "q_uniform", "min": 1, "max": 5, "q": 1}),
        ("a=range(0,1,0.25)", {"distribution": "q_uniform", "min": 0, "max": 0.75, "q": 0.25}),
        ("a=tag(log,range(1,100))", {"distribution": "q_log_uniform_values", "min": 1, "max": 99, "q": 1}),
        ("a=int(interval(3,4))", {"value": 3}),
        ("a=choice(b,1)", {"values": ["b", 1]}),
    ],
)
def test_ranges_and_intervals_mean_the_same_to_every_method(override: str, domain: dict[str, Any]) -> None:
    assert read_overrides([override], None, listed=False).axes["a"].domain == domain


@pytest.mark.parametrize(
    "override",
    ["a=range(0,3)", "a=range(5,0,-1)", "a=range(0,10,3)", "a=range(0,1,0.1)", "a=float(range(3))"],
)
def test_a_search_draws_exactly_what_hydra_lists(override: str) -> None:
    wanted: list[Any] = [*PARSER.parse_override(override).sweep_iterator()]
    line = read_overrides([override], None, listed=False)
    space = config_of(line, "random").space
    found: set[Any] = {drawn["a"] for index in range(300) if (drawn := space.draw(1, index))}
    assert sorted(found) == pytest.approx(sorted(wanted), rel=1e-15)
    assert {type(value) for value in found} == {type(value) for value in wanted}


def test_whole_numbers_stay_whole_and_below_the_end() -> None:
    for override in ("a=int(interval(1,8))", "a=tag(log,int(interval(1,8)))"):
        space = config_of(read_overrides([override], None, listed=False), "random").space
        found: list[Any] = [drawn["a"] for index in range(300) if (drawn := space.draw(1, index))]
        assert {type(value) for value in found} == {int}
        assert set(found) == set(range(1, 8))


# ---- values


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12) | st.text(
    string.punctuation + " ab1", max_size=6
)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda key: key not in ("null", "true", "false", "nan", "inf")
)
leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | texts
elements = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
)


def decoded(value: Any) -> Any:
    """Give a value as the config would have it: what OmegaConf decodes is decoded."""
    if isinstance(value, str) and (start := "${oc.decode:") and value.startswith(start):
        return float(value[len(start) : -1])
    if isinstance(value, list):
        return [decoded(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


@settings(max_examples=300, deadline=None)
@given(st.lists(elements.filter(lambda value: "???" not in repr(value)), min_size=1, max_size=4))
def test_every_value_of_a_choice_is_read_back_from_its_override(listed: list[Any]) -> None:
    from besom_hydra.arguments import write_value

    line = read_overrides([f"a={write_value(listed[0])},{','.join(map(write_value, listed))}"], None)
    space = config_of(line).space
    assert space.size is not None
    for index in range(space.size):
        point = space.nth(index)
        assert point is not None
        [text] = line.line(space.flatten(point))
        read = PARSER.parse_override(text)
        assert not read.is_sweep_override()
        assert repr(read.value()) == repr(decoded(point["a"])) or _same(read.value(), decoded(point["a"]))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or (math.isnan(one) and math.isnan(other)))


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-6, 1e6),
    st.sampled_from(["interval", "log", "int", "range"]),
    st.integers(0, 1000),
)
def test_every_point_of_a_search_is_read_back_from_its_override(
    start: float, width: float, kind: str, index: int
) -> None:
    if kind == "int":
        override = f"a=int(interval({int(start)},{int(start) + int(width) + 1}))"
    elif kind == "log":
        override = f"a=tag(log,interval({width},{width * 10}))"
    elif kind == "range":
        override = f"a=range({int(start)},{int(start) + 50},7)"
    else:
        override = f"a=interval({start},{start + width})"
    line = read_overrides([override], None, listed=False)
    space = config_of(line, "random").space
    point = space.draw(7, index)
    assert point is not None
    [text] = line.line(space.flatten(point))
    read = PARSER.parse_override(text).value()
    assert read == point["a"]
    assert type(read) is type(point["a"])


# ---- what is fixed


@pytest.mark.parametrize(
    "override",
    [
        "a=1",
        "a='x y'",
        "+a.b=[1,2]",
        "++a={x:1}",
        "~a",
        "~a=1",
        "a=",
        "a=${b}",
        "db@src=mysql",
        "a=s3://x?y\\=1",
    ],
)
def test_fixed_overrides_are_passed_on_with_their_meaning(override: str) -> None:
    key, line = fixed_line(override)
    given, passed = PARSER.parse_override(override), PARSER.parse_override(line)
    assert given.get_key_element() == passed.get_key_element() == key
    assert given.value() == passed.value()


def test_a_deletion_without_a_value_deletes_whatever_is_there() -> None:
    assert grid("a=1,2", "~b") == [["a=1", "~b"], ["a=2", "~b"]]
