from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from besom.records import Limit, Metric
from besom.space import Beta, Choice, Distribution, Lattice, LogNormal, LogUniform, Normal, Rounded, Uniform
from besom.sweepfile import SweepConfig, from_mapping, parse, parse_value

EVERYTHING = """
    program: train.py
    method: random
    name: everything
    description: all keys
    project: p
    entity: e
    metric: {name: val/loss, goal: maximize, target: 0.99, impute: best, impute_while_running: latest}
    run_cap: 40
    max_attempts: 3
    seed: 12
    command: ["${env}", python3, -u, "${program}", 3, "${args}"]
    early_terminate: {type: hyperband, max_iter: 27, s: 2.0, strict: false}
    constraints: ["model.depth * width <= 64"]
    parameters:
      width: {values: [8, 16, 32]}
      model:
        when: {width: [8, 16]}
        parameters:
          depth: {min: 1, max: 8}
          head: {values: [a, b], when: {model.depth: {min: 3}}}
      on: {values: [yes, true]}
"""


def config_of(text: str) -> SweepConfig:
    return parse(dedent(text))


def distribution_of(parameter: dict[str, Any]) -> Distribution:
    return from_mapping({"method": "random", "parameters": {"a": parameter}}).parameters[0].distribution


def test_every_key_arrives() -> None:
    config = config_of(EVERYTHING)
    assert config.metric == Metric("val/loss", "maximize", 0.99, "best", "latest")
    assert config.command == ("${env}", "python3", "-u", "${program}", "3", "${args}")
    assert config.early_terminate == {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3, "strict": False}
    assert (config.program, config.method, config.name, config.description) == (
        "train.py",
        "random",
        "everything",
        "all keys",
    )
    assert (config.project, config.entity) == ("p", "e")
    assert (config.run_cap, config.max_attempts, config.seed) == (40, 3, 12)
    assert [parameter.path for parameter in config.parameters] == [
        ("model", "depth"),
        ("model", "head"),
        ("on",),
        ("width",),
    ]
    assert config.constraints == ("model.depth * width <= 64",)
    assert config.expected_runs == 40


def test_defaults_are_wandbs() -> None:
    config = config_of("method: grid\nparameters: {a: {value: 1}}\n")
    assert config.command == ("${env}", "${interpreter}", "${program}", "${args}")
    assert (config.metric, config.run_cap, config.max_attempts, config.seed, config.early_terminate) == (
        None,
    ) * 5
    assert from_mapping({**config.raw, "metric": {"name": "x"}}).metric == Metric(
        "x", "minimize", None, "worst", "false"
    )


def test_the_conditions_of_a_group_hold_for_all_in_it() -> None:
    space = config_of(EVERYTHING).space
    assert space.check({"width": 32, "on": True}) == []
    assert space.check({"width": 8, "on": "yes", "model": {"depth": 2}}) == []
    assert space.check({"width": 8, "on": "yes", "model": {"depth": 4, "head": "a"}}) == []
    assert space.check({"width": 32, "on": True, "model": {"depth": 1}}) != []


def test_a_config_survives_the_store() -> None:
    config = config_of(EVERYTHING)
    again = from_mapping(json.loads(json.dumps(config.raw)))
    assert again == config
    assert again.text is None
    assert config.text == dedent(EVERYTHING)
    assert again != from_mapping({**config.raw, "seed": 13})


def test_keys_left_empty_are_keys_not_given() -> None:
    config = config_of("method: grid\nname:\nrun_cap:\nmetric:\nparameters: {a: {value: }}\n")
    assert (config.name, config.run_cap, config.metric) == (None, None, None)
    assert config.space.nth(0) == {"a": None}


def test_what_has_no_effect_or_is_deprecated_is_warned_about_with_its_place() -> None:
    config = config_of("""\
        method: random
        controller: {type: cloud}
        parameters:
          a: {distribution: log_uniform, min: -5, max: -1}
    """)
    assert config.warnings == (
        (
            "sweep.yaml:4:3: parameters.a uses log_uniform, whose min and max are exponents of e;"
            " log_uniform_values takes the bounds themselves"
        ),
        "sweep.yaml:2:1: controller is W&B's own and has no effect",
    )


def test_several_goals_are_metrics_and_the_first_is_the_metric() -> None:
    metrics = [{"name": "x"}, {"name": "y", "goal": "maximize"}]
    for method in ("custom", "bayes", "random"):
        config = from_mapping({"method": method, "metrics": metrics, "parameters": {"a": {"values": [1, 2]}}})
        assert config.metrics == (Metric("x"), Metric("y", "maximize"))
        assert config.metric == Metric("x")


def test_a_metric_with_bounds_and_no_goal_is_a_limit() -> None:
    metrics = [
        {"name": "ms", "max": 20},
        {"name": "acc", "goal": "maximize", "min": 0.5},
        {"name": "gb", "max": 1},
    ]
    config = from_mapping({"metrics": metrics, "method": "bayes", "parameters": {"a": {"values": [1, 2]}}})
    limits = (Limit("ms", None, 20), Limit("acc", 0.5, None), Limit("gb", None, 1))
    assert config.metric == Metric("acc", "maximize", limits=limits)
    assert config.metrics == ()
    alone = {"metric": {"name": "x", "max": 2}, "method": "random", "parameters": {"a": {"values": [1, 2]}}}
    assert from_mapping(alone).metric == Metric("x", limits=(Limit("x", None, 2),))


def test_impute_while_running_may_be_a_bare_false() -> None:
    config = config_of(
        "method: grid\nmetric: {name: x, impute_while_running: false}\nparameters: {a: {value: 1}}"
    )
    assert config.metric == Metric("x")


def test_numpy_values_and_tuples_become_json() -> None:
    config = from_mapping(
        {
            "method": "grid",
            "parameters": {"a": {"values": np.linspace(0, 1, 3)}, "b": {"values": (np.int64(1), [2])}},
        }
    )
    assert config.raw["parameters"] == {"a": {"values": [0.0, 0.5, 1.0]}, "b": {"values": [1, [2]]}}


# ---- YAML 1.2


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-0.0", 0.0),
        ("+12", 12),
        ("010", 10),
        ("0o10", 8),
        ("0xFF", 255),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("on", "on"),
        ("No", "No"),
        ("y", "y"),
        ("TRUE", True),
        ("false", False),
        ("'true'", "true"),
        ("~", None),
        ("null", None),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
        ("!!int 3", 3),
        ("!!null ''", None),
        ("! 3", "3"),
        ('"1e-5"', "1e-5"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("a: b: c", "a: b: c"),
        ("*x", "*x"),
        ("1e999", "1e999"),
        ("", ""),
        ("hello world", "hello world"),
    ],
)
def test_words_have_the_types_of_yaml_1_2(written: str, value: Any) -> None:
    found = parse_value(written)
    assert (found, type(found)) == (value, type(value))


def test_keys_stay_the_text_that_was_written() -> None:
    config = config_of(
        "method: grid\nparameters:\n  on: {value: {yes: 1, 1e3: 2, ~: 3}}\n  null: {value: 4}\n"
    )
    assert config.space.nth(0) == {"on": {"yes": 1, "1e3": 2, "~": 3}, "null": 4}


def test_anchors_and_merge_keys_work() -> None:
    config = config_of("""\
        method: grid
        parameters:
          a: &base {min: 1, max: 3}
          b: *base
          c: {<<: *base, max: 2}
          d: {<<: [{max: 9}, *base], min: 8}
          e: {value: &name x}
          f: {values: [*name, "<<"]}
    """)
    assert config.raw["parameters"]["c"] == {"min": 1, "max": 2}
    assert config.raw["parameters"]["d"] == {"min": 8, "max": 9}
    assert config.expected_runs == 3 * 3 * 2 * 2 * 2


def test_aliases_may_be_keys_and_a_byte_order_mark_is_skipped() -> None:
    config = parse("\ufeffmethod: grid\nparameters:\n  &k a: {value: 1}\n  b: {value: {*k : 2}}\n")
    assert config.space.nth(0) == {"a": 1, "b": {"a": 2}}


# ---- inference


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        ({"value": "abcd"}, Choice(("abcd",))),
        ({"value": None}, Choice((None,))),
        ({"values": [1, 2, 3]}, Choice((1, 2, 3))),
        ({"values": [1, 2], "probabilities": [0.25, 0.75]}, Choice((1, 2), (0.25, 0.75))),
        ({"min": 0, "max": 1}, Lattice(0, 1, 2)),
        ({"min": 0.0, "max": 1.0}, Uniform(0.0, 1.0)),
        ({"min": 0.0, "max": 1}, Uniform(0.0, 1.0)),
        ({"min": 0, "max": 1.0}, Uniform(0.0, 1.0)),
        ({"distribution": "uniform", "min": 0, "max": 1}, Uniform(0.0, 1.0)),
        ({"distribution": "q_uniform", "min": 0, "max": 10}, Lattice(0.0, 1.0, 11)),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 3}, Lattice(0, 3, 4)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}, Lattice(0.0, 0.5, 3)),
        ({"distribution": "log_uniform_values", "min": 1, "max": 10}, LogUniform(1.0, 10.0)),
        ({"distribution": "inv_log_uniform_values", "min": 1, "max": 10}, LogUniform(1.0, 10.0)),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 10, "q": 2},
            Rounded(LogUniform(1.0, 10.0), 2),
        ),
        ({"distribution": "log_uniform", "min": 0, "max": 1}, LogUniform(1.0, np.e)),
        ({"distribution": "inv_log_uniform", "min": -1, "max": 0}, LogUniform(1.0, np.e)),
        ({"distribution": "normal"}, Normal(0.0, 1.0)),
        ({"distribution": "normal", "mu": 5, "sigma": 0}, Choice((5.0,))),
        ({"distribution": "log_normal"}, LogNormal(0.0, 1.0)),
        ({"distribution": "log_normal", "sigma": 0}, Choice((1.0,))),
        ({"distribution": "q_normal", "q": 0.1}, Rounded(Normal(0.0, 1.0), 0.1)),
        ({"distribution": "q_normal", "mu": 5.2, "sigma": 0, "q": 2}, Choice((6,))),
        ({"distribution": "q_log_normal", "mu": 1}, Rounded(LogNormal(1.0, 1.0), 1.0)),
        ({"distribution": "beta"}, Beta(1.0, 1.0)),
        ({"distribution": "q_beta"}, Rounded(Beta(1.0, 1.0), 1.0)),
    ],
)
def test_distributions_are_told_by_their_keys(parameter: dict[str, Any], distribution: Distribution) -> None:
    assert distribution_of(parameter) == distribution


# ---- Est. Runs


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_est_runs_is_the_product_of_the_discrete_axes_for_every_method(method: str) -> None:
    sweep = {
        "method": method,
        "metric": {"name": "loss"},
        "parameters": {
            "param1": {"values": [1, 2, 3]},
            "param2": {"parameters": {"param3": {"values": [1, 2, 3]}, "param4": {"value": 1}}},
        },
    }
    assert from_mapping(sweep).expected_runs == 9
    assert from_mapping({**sweep, "run_cap": 5}).expected_runs == 5
    assert from_mapping({**sweep, "run_cap": 50}).expected_runs == 9


def test_est_runs_of_an_endless_space_is_the_cap_or_unknown() -> None:
    sweep = {"method": "random", "parameters": {"a": {"min": 0.0, "max": 1.0}, "b": {"values": [1, 2]}}}
    assert from_mapping(sweep).expected_runs is None
    assert from_mapping({**sweep, "run_cap": 7}).expected_runs == 7


def test_the_space_is_built_once() -> None:
    config = config_of(EVERYTHING)
    assert config.space is config.space


def test_quoted_and_multi_line_scalars_are_text() -> None:
    config = config_of(
        "program:\n  train.py\nmethod: grid\nname: |\n  two\n  lines\nparameters: {a: {value: '3'}}\n"
    )
    assert (config.program, config.name, config.space.nth(0)) == ("train.py", "two\nlines\n", {"a": "3"})


def test_what_is_to_be_imputed_while_running_is_warned_of() -> None:
    text = "method: bayes\nmetric: {{name: loss{}}}\nparameters: {{a: {{values: [1]}}}}\n"
    assert parse(text.format("")).warnings == ()
    assert parse(text.format(", impute_while_running: false")).warnings == ()
    [warning] = parse(text.format(", impute_while_running: best")).warnings
    assert warning.startswith("sweep.yaml:2:9: impute_while_running has no effect")
