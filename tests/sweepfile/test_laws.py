from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from besom.search import create_method
from besom.sweepfile import SweepConfig, from_mapping, parse
from besom.testing.methods import FakeHistory

LAW = settings(deadline=None, max_examples=60)
SCALAR = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab01 .e-", max_size=4)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("xy", max_size=2), inner)
)
BOUND = st.integers(-50, 50) | st.floats(-50, 50)
STEP = st.sampled_from([1, 2, 0.5, 0.1])


Mapping = dict[str, Any]
WIDTH = st.integers(1, 40) | st.floats(0.5, 40)
ABOVE_ZERO = st.integers(1, 9) | st.floats(0.01, 9)
LOG = st.sampled_from(["log_uniform_values", "inv_log_uniform_values", "log_uniform", "inv_log_uniform"])
GAUSS = st.sampled_from(["normal", "log_normal", "q_normal", "q_log_normal"])


def spread(low: float, width: float, **more: Any) -> Mapping:
    return {"min": low, "max": low + width, **more}


def mapping(**keys: Any) -> Mapping:
    return keys


def group(parameters: Mapping) -> Mapping:
    return {"parameters": parameters}


def groups(inner: st.SearchStrategy[Mapping]) -> st.SearchStrategy[Mapping]:
    return st.dictionaries(NAMES, PARAMETER | st.builds(group, inner), min_size=1)


PARAMETER: st.SearchStrategy[Mapping] = st.one_of(
    st.builds(mapping, value=VALUE),
    st.builds(mapping, values=st.lists(VALUE, min_size=1, max_size=4)),
    st.just({"values": ["a", "b", 0], "probabilities": [0.5, 0.25, 0.25]}),
    st.builds(spread, BOUND, WIDTH),
    st.builds(spread, BOUND, WIDTH, q=STEP, distribution=st.just("q_uniform")),
    st.builds(spread, ABOVE_ZERO, WIDTH, distribution=LOG),
    st.builds(spread, ABOVE_ZERO, st.just(40), q=STEP, distribution=st.just("q_log_uniform_values")),
    st.builds(mapping, distribution=GAUSS, mu=st.floats(-9, 9), sigma=st.floats(0, 3)),
    st.builds(
        mapping, distribution=st.sampled_from(["beta", "q_beta"]), a=st.floats(0.1, 9), b=st.floats(0.1, 9)
    ),
)
NAMES = st.sampled_from(["a", "b", "on", "x.y", "z-1", "_q"])
PARAMETERS = st.recursive(st.dictionaries(NAMES, PARAMETER, min_size=1, max_size=4), groups, max_leaves=4)


def leaves(parameters: Mapping, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, held in parameters.items():
        inside = held.get("parameters")
        found += leaves(inside, f"{prefix}{name}.") if inside else [f"{prefix}{name}"]
    return found


@st.composite
def configs(draw: st.DrawFn) -> SweepConfig:
    parameters = draw(PARAMETERS)
    names = leaves(parameters)
    assume(len(set(names)) == len(names))
    return from_mapping({"method": "random", "seed": draw(st.integers(0, 99)), "parameters": parameters})


@LAW
@given(configs())
def test_a_config_survives_json_and_yaml(config: SweepConfig) -> None:
    assert from_mapping(json.loads(json.dumps(config.raw))) == config
    text = json.dumps(config.raw)  # JSON is YAML 1.2
    assert parse(text) == config
    assert yaml.safe_load(text) is not None


@LAW
@given(configs())
def test_whatever_a_file_spans_its_random_points_are_points(config: SweepConfig) -> None:
    batch = create_method(config).suggest(0, 8, FakeHistory())
    for item in batch.suggestions:
        assert config.space.check(item.params) == []
        stored = json.loads(json.dumps(item.params, allow_nan=False))
        assert config.space.suggestion(stored) == item
        decoded = config.space.decode(config.space.encode(item.params))
        assert config.space.check(decoded) == []


@LAW
@given(configs())
def test_est_runs_is_how_many_runs_there_are(config: SweepConfig) -> None:
    expected = config.expected_runs
    assume(expected is not None and expected <= 200)
    method, history, cursor = create_method(config), FakeHistory(), 0
    while True:
        batch = method.suggest(cursor, 64, history)
        history.add(batch)
        cursor = batch.cursor
        if batch.exhausted:
            break
    assert len(history.seen) == expected
