from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from besom.space import (
    Beta,
    Choice,
    Distribution,
    Lattice,
    LogNormal,
    LogUniform,
    Normal,
    Rounded,
    Uniform,
    canonical_text,
)

stats: Any = scipy_stats  # its annotations are partly unknown
approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
LAW = settings(deadline=None, max_examples=150)
UNIT = st.floats(0, 1)
NUMBER = st.floats(-1e9, 1e9)
POSITIVE = st.floats(1e-9, 1e9)
SHAPE = st.floats(0.05, 500)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def uniforms(draw: st.DrawFn) -> Uniform:
    low, high = sorted((draw(NUMBER), draw(NUMBER)))
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1))
    return Uniform(low, high)


@st.composite
def log_uniforms(draw: st.DrawFn) -> LogUniform:
    low, high = sorted((draw(POSITIVE), draw(POSITIVE)))
    assume(high > 1.001 * low)
    return LogUniform(low, high)


NORMALS = st.builds(Normal, NUMBER, st.floats(1e-3, 1e6))
LOG_NORMALS = st.builds(LogNormal, st.floats(-20, 20), st.floats(0.01, 5))
BETAS = st.builds(Beta, SHAPE, SHAPE)
CONTINUOUS = st.one_of(uniforms(), log_uniforms(), NORMALS, LOG_NORMALS, BETAS)
CHOICES = st.lists(JSON, min_size=1, max_size=8).map(Choice.of)
INTEGERS = st.builds(Lattice, st.integers(-(10**20), 10**20), st.just(1), st.integers(1, 10**15))
LATTICES = st.builds(
    Lattice,
    st.integers(-1000, 1000).map(lambda n: n / 100),
    st.sampled_from([0.1, 0.25, 3, 1e-3]),
    st.integers(1, 500),
)


@st.composite
def weighted_choices(draw: st.DrawFn) -> Choice:
    values = draw(st.lists(JSON, min_size=1, max_size=6))
    weights = draw(st.lists(st.floats(1e-6, 1), min_size=len(values), max_size=len(values)))
    return Choice.of(values, weights)


@st.composite
def rounded(draw: st.DrawFn) -> Rounded:
    base = draw(st.one_of(uniforms(), log_uniforms(), BETAS))
    low, high = base.bounds
    step = draw(st.sampled_from([0.1, 1, 3, 0.07])) * max(1, round((high - low) / 50))
    made = Rounded(base, step)
    assume(made.size)
    return made


FINITE = st.one_of(CHOICES, weighted_choices(), INTEGERS, LATTICES, rounded())
ENDLESS = st.one_of(CONTINUOUS, st.builds(Rounded, NORMALS, st.sampled_from([1, 0.5])))


@LAW
@given(st.one_of(FINITE, ENDLESS), UNIT)
def test_every_quantile_is_a_value_of_the_distribution(distribution: Distribution, u: float) -> None:
    value = distribution.ppf(u)
    assert distribution.find(value) == (value,)
    assert distribution.find(distribution.decode(u)) is not None
    assert 0 <= distribution.encode(value) <= 1


@LAW
@given(CONTINUOUS, UNIT, UNIT)
def test_quantiles_grow(distribution: Distribution, u: float, v: float) -> None:
    low, high = sorted((u, v))
    assert distribution.ppf(low) <= distribution.ppf(high)


@LAW
@given(CONTINUOUS, st.floats(0.001, 0.999))
def test_encode_undoes_ppf_where_values_are_continuous(distribution: Distribution, u: float) -> None:
    value = distribution.ppf(u)
    again = distribution.decode(distribution.encode(value))
    assert again == approx(value, rel=1e-6, abs=1e-9)


@LAW
@given(st.one_of(CHOICES, weighted_choices(), INTEGERS, LATTICES), st.data())
def test_decode_undoes_encode_where_values_are_counted(
    distribution: Distribution, data: st.DataObject
) -> None:
    assert distribution.size is not None
    value = distribution.nth(data.draw(st.integers(0, distribution.size - 1)))
    again = distribution.decode(distribution.encode(value))
    assert canonical_text(again) == canonical_text(value)


@LAW
@given(rounded(), st.floats(0.01, 0.99))
def test_decode_undoes_encode_where_rounded_values_are_likely(distribution: Rounded, u: float) -> None:
    value = distribution.ppf(u)
    assert distribution.decode(distribution.encode(value)) == value


@LAW
@given(FINITE, st.data())
def test_values_are_counted_once(distribution: Distribution, data: st.DataObject) -> None:
    size = distribution.size
    assert size is not None
    indices = (
        range(size)
        if size <= 200
        else data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=50))
    )
    values = [distribution.nth(index) for index in indices]
    assert len(set(map(canonical_text, values))) == len(indices)
    assert all(distribution.find(value) == (value,) for value in values)
    with pytest.raises(IndexError):
        distribution.nth(size)


@LAW
@given(CONTINUOUS)
def test_what_has_no_end_cannot_be_counted(distribution: Distribution) -> None:
    assert distribution.size is None
    assert not distribution.even
    with pytest.raises(IndexError):
        distribution.nth(0)


# ---- bounds


@LAW
@example(Beta(2.0, 2.0), 5e-324)
@given(st.one_of(uniforms(), log_uniforms(), BETAS), UNIT)
def test_no_value_is_an_ulp_outside_the_bounds(distribution: Uniform, u: float) -> None:
    low, high = distribution.bounds
    assert low <= distribution.ppf(u) <= high


def test_the_ends_of_a_range_are_hit() -> None:
    assert (Uniform(-0.3, 0.1).ppf(0), Uniform(-0.3, 0.1).ppf(1)) == (-0.3, 0.1)
    assert (Lattice(3, 1, 8).ppf(0.0), Lattice(3, 1, 8).ppf(1.0)) == (3, 10)
    assert LogUniform(0.001, 0.1).ppf(1) <= 0.1
    assert LogUniform(0.1, 1.0).ppf(0) >= 0.1


def test_a_range_wider_than_the_largest_float_stays_finite() -> None:
    wide = Uniform(-1.7e308, 1.7e308)
    assert wide.ppf(0.5) == 0
    assert wide.encode(0.0) == approx(0.5)


def test_a_log_scale_rounded_to_fives_from_one_to_hundred_never_gives_zero() -> None:
    values = Rounded(LogUniform(1.0, 100.0), 5)
    assert [values.nth(index) for index in range(20)] == list(range(5, 101, 5))
    assert values.ppf(0.0) == 5


def test_beta_rounded_to_a_step_that_does_not_divide_one_stays_within_one() -> None:
    values = Rounded(Beta(2.0, 2.0), 0.6)
    assert [values.nth(index) for index in range(values.size or 0)] == [0.0, 0.6]


# ---- values


def repr_of(value: Any) -> str:
    return "10^400" if value == 10**400 else repr(value)


def test_falsy_values_have_places_of_their_own() -> None:
    falsy: list[Any] = [0, False, "", None, [], {}]
    choice = Choice.of(falsy)
    assert [choice.encode(value) for value in falsy] == [(2 * i + 1) / 12 for i in range(6)]
    assert choice.find(False) == (False,)
    assert choice.find(0) == (0,)


def test_equal_values_collapse_but_true_is_not_one() -> None:
    assert Choice.of([1, 1.0, True, "1", 2, 1]).values == (1, True, "1", 2)
    assert Choice.of([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}, {"a": 1}]).size == 2


def test_weights_of_equal_values_add_up_and_a_value_of_weight_zero_is_none() -> None:
    choice = Choice.of(["a", "b", "a", "c"], [0.25, 0.5, 0.25, 0.0])
    assert choice == Choice(("a", "b"), (0.5, 0.5))
    assert choice.find("c") is None


def test_the_last_quantile_of_a_weighted_choice_is_its_last_value() -> None:
    choice = Choice.of([1, 2, 3], [0.1, 0.2, 0.7])
    assert [choice.ppf(u) for u in (0.0, 0.0999, 0.11, 0.299, 0.31, 1.0)] == [1, 1, 2, 2, 3, 3]


def test_lattice_values_are_written_as_people_write_them() -> None:
    assert [Lattice(0.0, 0.1, 4).nth(index) for index in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert Lattice(0.0, 0.1, 11).find(0.1 + 0.2) == (0.3,)
    assert Lattice(0.0, 0.1, 11).find(0.35) is None
    assert Lattice(0.0, 0.1, 11).find(1.1) is None


def test_lattices_of_integers_hold_integers_of_any_size() -> None:
    far = Lattice(10**30, 1, 10**40)
    assert far.find(10**30 + 7) == (10**30 + 7,)
    assert far.nth(10**39) == 10**30 + 10**39
    assert isinstance(Lattice(2, 3, 4).ppf(0.5), int)
    assert isinstance(Rounded(Normal(0.0, 1.0), 2).ppf(0.9), int)
    assert isinstance(Rounded(Normal(0.0, 1.0), 2.0).ppf(0.9), float)


@pytest.mark.parametrize("value", [None, True, "1", [1], math.nan, math.inf, 10**400], ids=repr_of)
@pytest.mark.parametrize(
    "distribution", [Lattice(0, 1, 9), Uniform(0.0, 9.0), Normal(0.0, 1.0), Rounded(Normal(0.0, 1.0), 1)]
)
def test_what_is_no_finite_number_lies_in_no_range(distribution: Distribution, value: Any) -> None:
    assert distribution.find(value) is None


def test_what_cannot_be_json_is_no_choice() -> None:
    assert Choice.of([1]).find(object()) is None
    assert Choice.of([1]).find(math.nan) is None


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        (Choice.of([1]), "1"),
        (Choice.of(["größe", {"b": 1}]), 'one of "größe", {"b":1}'),
        (Choice.of(list("abcdefgh")), 'one of "a", "b", "c", "d", "e", "f", …'),
        (Choice.of([1, 2], [0.25, 0.75]), "one of 1, 2 with probabilities 0.25, 0.75"),
        (Lattice(1, 1, 8), "integer from 1 to 8"),
        (Lattice(0.0, 0.5, 3), "from 0 to 1 by 0.5"),
        (Uniform(0.0, 1.0), "uniform from 0 to 1"),
        (LogUniform(1e-5, 0.1), "log-uniform from 1e-05 to 0.1"),
        (Normal(0.0, 2.0), "normal with mean 0 and deviation 2"),
        (LogNormal(0.0, 2.0), "log-normal with mean 0 and deviation 2 of the logarithm"),
        (Beta(1.0, 2.0), "beta with a = 1, b = 2"),
        (Rounded(Uniform(0.0, 9.0), 2), "uniform from 0 to 9, rounded to multiples of 2"),
    ],
)
def test_domains_read_well(distribution: Distribution, text: str) -> None:
    assert distribution.describe() == text


# ---- against the published formulas


def sample(distribution: Distribution, count: int = 4000) -> list[Any]:
    return [distribution.ppf(u) for u in np.random.default_rng(5).random(count).tolist()]


@pytest.mark.parametrize(
    ("distribution", "cdf"),
    [
        (Uniform(-2.0, 3.0), stats.uniform(-2, 5).cdf),
        (LogUniform(1e-15, 1e20), stats.loguniform(1e-15, 1e20).cdf),
        (Normal(4.0, 2.0), stats.norm(4, 2).cdf),
        (LogNormal(2.0, 3.0), stats.lognorm(s=3, scale=math.exp(2)).cdf),
        (Beta(2.0, 5.0), stats.beta(2, 5).cdf),
    ],
)
def test_samples_follow_the_published_distribution(
    distribution: Distribution, cdf: Callable[[Any], Any]
) -> None:
    assert stats.kstest(sample(distribution), cdf).pvalue > 0.01
    values = [distribution.ppf(u) for u in (0.01, 0.3, 0.5, 0.9)]
    assert [distribution.encode(value) for value in values] == approx(cdf(values), abs=1e-9)


@pytest.mark.parametrize(
    ("distribution", "base"),
    [
        (Rounded(Normal(4.0, 2.0), 1), stats.norm(4, 2)),
        (Rounded(Normal(4.0, 2.0), 0.5), stats.norm(4, 2)),
        (Rounded(LogNormal(2.0, 0.5), 1), stats.lognorm(s=0.5, scale=math.exp(2))),
        (Rounded(Beta(2.0, 5.0), 0.1), stats.beta(2, 5)),
    ],
)
def test_rounded_samples_follow_round_x_over_q_times_q(distribution: Rounded, base: Any) -> None:
    counts = Counter(sample(distribution))
    step = distribution.step
    values = sorted(value for value, count in counts.items() if count > 20)
    chances = [base.cdf(value + step / 2) - base.cdf(value - step / 2) for value in values]
    observed = [*(counts[value] for value in values), 4000 - sum(counts[value] for value in values)]
    expected = [*(4000 * chance for chance in chances), 4000 * (1 - sum(chances))]
    keep = [index for index, count in enumerate(expected) if count > 5]
    lost = sum(expected) - sum(expected[index] for index in keep)
    assert lost < 15
    scaled = np.array([expected[index] for index in keep])
    seen = np.array([observed[index] for index in keep])
    assert stats.chisquare(seen, scaled * seen.sum() / scaled.sum()).pvalue > 0.001


@pytest.mark.parametrize(
    ("distribution", "chances"),
    [
        (Choice.of(["a", "b", "c"]), {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        (Choice.of(["a", "b", "c"], [0.1, 0.2, 0.7]), {"a": 0.1, "b": 0.2, "c": 0.7}),
        (Lattice(-2, 1, 5), dict.fromkeys(range(-2, 3), 0.2)),
        (Lattice(0.0, 0.25, 5), dict.fromkeys((0.0, 0.25, 0.5, 0.75, 1.0), 0.2)),
    ],
)
def test_listed_values_come_as_often_as_they_should(
    distribution: Distribution, chances: dict[Any, float]
) -> None:
    counts = Counter(sample(distribution))
    assert (
        stats.chisquare([counts[value] for value in chances], [4000 * c for c in chances.values()]).pvalue
        > 0.01
    )
