from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from besom.errors import UsageError
from besom.space import Choice, Condition, Lattice, LogUniform, Parameter, SearchSpace, Uniform, content_key

stats: Any = scipy_stats  # its annotations are partly unknown
approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
LAW = settings(deadline=None, max_examples=120)


def named(name: str, *values: Any, when: tuple[Condition, ...] = ()) -> Parameter:
    return Parameter((name,), Choice.of(values), when)


def integers(name: str, low: int, high: int, when: tuple[Condition, ...] = ()) -> Parameter:
    return Parameter((name,), Lattice(low, 1, high - low + 1), when)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Small spaces in which any parameter may depend on some of those before it, under any name order."""
    names = draw(st.permutations(["a", "b.c", "b.d", "e", "f", "g"]))[: draw(st.integers(1, 6))]
    made: list[Parameter] = []
    for name in names:
        conditions: list[Condition] = []
        for parent in draw(st.lists(st.sampled_from(made), max_size=2)) if made else ():
            kind = draw(st.integers(0, 2))
            size = parent.distribution.size or 1
            some = tuple(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=2)))
            between = (min(some), max(some)) if kind == 2 else None
            conditions.append(Condition(parent.name, () if between else some, kind == 1, between))
        path = tuple(name.split(".")) if draw(st.booleans()) else (name,)
        made.append(Parameter(path, Lattice(0, 1, draw(st.integers(1, 4))), tuple(conditions)))
    return SearchSpace(made)


def brute_force(space: SearchSpace) -> list[dict[str, Any]]:
    """List the points by walking every combination, active or not."""
    parameters = list(space.parameters.values())
    found: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(range(item.distribution.size or 0) for item in parameters)):
        flat = {item.name: value for item, value in zip(parameters, values, strict=True)}
        changed = True
        while changed:
            gone = [item.name for item in parameters if item.name in flat and not item.active(flat)]
            changed = bool(gone)
            for name in gone:
                del flat[name]
        found[content_key(flat)] = flat
    return list(found.values())


# ---- counting


@LAW
@given(spaces())
def test_size_and_nth_agree_with_listing_every_combination(space: SearchSpace) -> None:
    size = space.size
    assert size is not None
    points = [space.nth(index) for index in range(size)]
    keys = [space.suggestion(point).key for point in points if point is not None]
    assert len(set(keys)) == size
    assert sorted(keys) == sorted(map(content_key, brute_force(space)))


@LAW
@given(spaces(), st.integers(0, 2**63), st.integers(0, 2**63))
def test_draws_are_points_of_the_space(space: SearchSpace, seed: int, index: int) -> None:
    point = space.draw(seed, index)
    assert point is not None
    assert space.check(point) == []
    assert space.draw(seed, index) == point


@LAW
@given(spaces(), st.data())
def test_points_survive_flattening_encoding_and_json(space: SearchSpace, data: st.DataObject) -> None:
    point = space.nth(data.draw(st.integers(0, (space.size or 1) - 1)))
    assert point is not None
    assert space.unflatten(space.flatten(point)) == point
    assert space.decode(space.encode(point)) == point
    assert space.suggestion(json.loads(json.dumps(point))) == space.suggestion(point)


@LAW
@given(spaces(), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_every_place_in_the_cube_is_a_point(space: SearchSpace, vector: list[float]) -> None:
    assert space.check(space.decode(vector[: len(space.dimensions)])) == []


def test_without_conditions_the_order_is_nested_loops_over_sorted_names() -> None:
    space = SearchSpace([named("b", "x", "y"), integers("a", 1, 2), named("c", 0)])
    points = [space.nth(index) for index in range(space.size or 0)]
    assert points == [{"a": a, "b": b, "c": 0} for a in (1, 2) for b in "xy"]


def test_conditional_parameters_stand_after_their_parents_where_their_first_name_stands() -> None:
    when = (Condition("opt", ("sgd",)),)
    space = SearchSpace([named("opt", "adam", "sgd"), named("a", 1, 2, when=when), integers("m", 1, 2)])
    points = [space.nth(index) for index in range(space.size or 0)]
    assert points == [
        {"m": 1, "opt": "adam"},
        {"m": 2, "opt": "adam"},
        {"a": 1, "m": 1, "opt": "sgd"},
        {"a": 1, "m": 2, "opt": "sgd"},
        {"a": 2, "m": 1, "opt": "sgd"},
        {"a": 2, "m": 2, "opt": "sgd"},
    ]


def test_a_huge_conditional_space_is_counted_without_listing_it() -> None:
    parents = [named(f"p{i}", 0, 1, 2) for i in range(20)]
    children = [integers(f"q{i}", 1, 10**6, (Condition(f"p{i}", (1, 2)),)) for i in range(20)]
    space = SearchSpace([*parents, *children])
    assert space.size == (1 + 2 * 10**6) ** 20
    assert space.nth(space.size - 1) == {
        **{f"p{i}": 2 for i in range(20)},
        **{f"q{i}": 10**6 for i in range(20)},
    }


def test_a_long_chain_of_conditions_is_counted() -> None:
    chain = [named("p000", 0, 1)] + [
        named(f"p{i:03}", 0, 1, when=(Condition(f"p{i - 1:03}", (1,)),)) for i in range(1, 400)
    ]
    assert SearchSpace(chain).size == 401


def test_entangled_conditions_are_refused_instead_of_taking_for_ever() -> None:
    parents = [named(f"a{i:02}", 0, 1) for i in range(30)]
    child = named("z", 1, 2, when=tuple(Condition(parent.name, (1,)) for parent in parents))
    with pytest.raises(UsageError, match="too entangled"):
        _ = SearchSpace([*parents, child]).size


def test_a_parent_with_too_many_values_is_refused() -> None:
    child = named("z", 1, when=(Condition("a", (7,)),))
    with pytest.raises(UsageError, match="a has 1000000 values"):
        _ = SearchSpace([integers("a", 1, 10**6), child]).size


def test_a_continuous_parameter_makes_a_space_without_end() -> None:
    space = SearchSpace([Parameter(("x",), Uniform(0.0, 1.0)), integers("a", 1, 2)])
    assert (space.size, space.expected, space.even) == (None, None, False)
    with pytest.raises(IndexError):
        space.nth(0)


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_point_beyond_the_size(index: int) -> None:
    with pytest.raises(IndexError):
        SearchSpace([integers("a", 1, 2)]).nth(index)


def test_no_parameters_make_one_point() -> None:
    assert SearchSpace([]).size == 1
    assert SearchSpace([]).nth(0) == {}


# ---- conditions


def test_an_inactive_parent_makes_its_children_inactive_even_where_they_ask_for_a_negation() -> None:
    space = SearchSpace(
        [
            named("a", 0, 1),
            named("b", 0, 1, when=(Condition("a", (1,)),)),
            named("c", 0, 1, when=(Condition("b", (1,), negated=True),)),
        ]
    )
    assert space.check({"a": 0}) == []
    assert space.check({"a": 0, "c": 1}) == ["c is there only when b is not 1"]
    assert space.size == 1 + 1 + 2


def test_conditions_tell_true_from_one() -> None:
    space = SearchSpace(
        [
            named("a", 1, True),
            named("one", "x", when=(Condition("a", (1,)),)),
            named("yes", "y", when=(Condition("a", (True,)),)),
        ]
    )
    assert [space.nth(0), space.nth(1)] == [{"a": 1, "one": "x"}, {"a": True, "yes": "y"}]


def test_conditions_read_well() -> None:
    assert Condition("a", (1, "x")).describe() == 'a is 1 or "x"'
    assert Condition("a", ("x",), negated=True).describe() == 'a is not "x"'
    assert Condition("a", between=(1, 2.5)).describe() == "a is from 1 to 2.5"
    assert Condition("a", between=(-math.inf, 2.5)).describe() == "a is at most 2.5"
    assert Condition("a", between=(1, math.inf)).describe() == "a is at least 1"


def test_conditions_in_a_circle_are_refused() -> None:
    with pytest.raises(UsageError, match="a, b depend on one another in a circle"):
        SearchSpace(
            [named("a", 1, when=(Condition("b", (1,)),)), named("b", 1, when=(Condition("a", (1,)),))]
        )


def test_a_condition_on_nothing_and_equal_names_are_refused() -> None:
    with pytest.raises(UsageError, match="b, which is no parameter"):
        SearchSpace([named("a", 1, when=(Condition("b", (1,)),))])
    with pytest.raises(UsageError, match="same dotted name"):
        SearchSpace([named("a.b", 1), Parameter(("a", "b"), Choice.of([1]))])


# ---- chance


def test_draws_do_not_change_between_releases() -> None:
    space = SearchSpace(
        [Parameter(("lr",), LogUniform(1e-5, 0.1)), integers("n", 1, 100), named("o", "a", "b")]
    )
    assert space.draw(42, 0) == {"lr": approx(0.00022377949809733138, rel=1e-12), "n": 88, "o": "a"}
    assert space.draw(42, 10**12) == {"lr": approx(4.719252144684116e-05, rel=1e-12), "n": 96, "o": "b"}


def test_adding_a_parameter_leaves_the_draws_of_others_alone() -> None:
    few, more = (
        SearchSpace([integers("n", 1, 10**9)]),
        SearchSpace([integers("n", 1, 10**9), integers("a", 1, 9)]),
    )
    for index in range(20):
        one, other = few.draw(1, index), more.draw(1, index)
        assert one is not None
        assert other is not None
        assert one["n"] == other["n"]


def test_draws_fill_a_space_evenly_in_every_direction() -> None:
    space = SearchSpace([Parameter((name,), Uniform(0.0, 1.0)) for name in "xy"])
    points = [point for index in range(3000) if (point := space.draw(9, index)) is not None]
    for name in "xy":
        assert stats.kstest([point[name] for point in points], "uniform").pvalue > 0.01
    cells = Counter((int(4 * point["x"]), int(4 * point["y"])) for point in points)
    assert stats.chisquare(list(cells.values())).pvalue > 0.01
    assert len(cells) == 16


# ---- points


def nested() -> SearchSpace:
    return SearchSpace(
        [
            Parameter(("model", "depth"), Lattice(1, 1, 8)),
            Parameter(("model.lr",), Uniform(0.0, 1.0)),
            named("layers", {"a": 1}, {"a": 2}, {}),
        ],
        ["model.depth * model.lr < 4"],
    )


def test_params_are_nested_by_path_and_dotted_names_stay() -> None:
    params = {"layers": {"a": 1}, "model": {"depth": 3}, "model.lr": 0.5}
    flat = {"layers": {"a": 1}, "model.depth": 3, "model.lr": 0.5}
    assert nested().flatten(params) == flat
    assert nested().unflatten(flat) == params
    assert nested().check(params) == []


def test_flattening_keeps_what_is_no_parameter() -> None:
    assert nested().flatten({"extra": {"x": {"y": 1}}, "none": {}}) == {"extra.x.y": 1, "none": {}}


@pytest.mark.parametrize(
    ("params", "reasons"),
    [
        ({"layers": {}, "model.lr": 0.5}, ["model.depth is missing"]),
        (
            {"layers": {}, "model": {"depth": 9}, "model.lr": 0.5},
            ["model.depth = 9 is outside its domain: integer from 1 to 8"],
        ),
        (
            {"layers": {}, "model": {"depth": 8}, "model.lr": 0.5},
            ["model.depth * model.lr < 4 does not hold"],
        ),
        (
            {"layers": {}, "model": {"depth": 8, "deph": 1}, "model.lr": "x"},
            [
                "model.deph is no parameter; did you mean model.depth?",
                "model.lr = 'x' is outside its domain: uniform from 0 to 1",
            ],
        ),
    ],
)
def test_check_says_why_params_are_no_point(params: Mapping[str, Any], reasons: list[str]) -> None:
    assert nested().check(params) == reasons


def test_equal_points_have_equal_keys_however_their_numbers_are_written() -> None:
    space = SearchSpace([integers("n", 1, 5), Parameter(("x",), Lattice(0.0, 0.1, 11))])
    wanted = space.suggestion({"n": 2, "x": 0.3})
    assert space.suggestion({"x": 0.1 + 0.2, "n": 2.0}) == wanted
    assert space.suggestion({"x": 0.3, "n": 3}).key != wanted.key


def test_keys_do_not_change_between_releases() -> None:
    assert content_key({"a": 1, "b.c": [True, None, "x"]}) == "cccba6fcef821d13b6efe15c6808a22c"


def test_encode_skips_constants_and_marks_what_is_absent() -> None:
    space = SearchSpace(
        [named("k", 1), named("o", "a", "b"), Parameter(("x",), Uniform(0.0, 2.0), (Condition("o", ("b",)),))]
    )
    assert space.dimensions == ("o", "x")
    assert space.encode({"k": 1, "o": "a"}) == [0.25, 0.5]
    assert space.encode({"k": 1, "o": "b", "x": 2.0}) == [0.75, 1.0]
    assert space.decode([0.75, 0.25]) == {"k": 1, "o": "b", "x": 0.5}


def test_the_space_describes_itself() -> None:
    space = SearchSpace([named("o", "a", "b"), integers("n", 1, 4, (Condition("o", ("b",)),))])
    rows = [(row.name, row.domain, row.size, row.when) for row in space.describe()]
    assert rows == [("n", "integer from 1 to 4", 4, 'o is "b"'), ("o", 'one of "a", "b"', 2, "")]


# ---- expected


def test_constraints_are_counted_exactly_however_many_other_points_there_are() -> None:
    space = SearchSpace([integers("a", 1, 10), integers("b", 1, 10), integers("z", 1, 10**12)], ["a < b"])
    assert space.expected == 45 * 10**12


def test_too_many_constrained_points_are_bounded_from_above() -> None:
    space = SearchSpace([integers("a", 1, 1000), integers("b", 1, 1000)], ["a < b"])
    assert space.expected == 10**6


def test_constraints_with_conditions_count_only_where_they_apply() -> None:
    when = (Condition("opt", ("sgd",)),)
    space = SearchSpace([named("opt", "adam", "sgd"), integers("m", 1, 10, when)], ["m > 4"])
    assert space.expected == 1 + 6
