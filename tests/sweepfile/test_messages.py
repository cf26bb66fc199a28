from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from besom.errors import SweepFileError, UsageError
from besom.sweepfile import from_mapping, load, parse


def problems(text: str) -> list[str]:
    with pytest.raises(SweepFileError) as caught:
        parse(dedent(text).lstrip("\n"))
    return [str(problem) for problem in caught.value.problems]


def test_every_problem_of_a_file_is_told_at_once_with_its_place() -> None:
    assert problems("""
        program: train.py
        metod: grid
        metric: {name: val/loss, goal: minimise}
        parameters:
          lr: {min: 0.1, max: 0.01}
          m: {min: 0, maxx: 1}
          p: 3
          q: [1, 2]
          z: {distribution: unifrm, min: 1, max: 2}
          w: {values: [1, 2], probabilities: [0.5, 0.6], when: {opt: 3}}
          w: {mu: 3}
        constraints: ["lr < foo", "import os", 3]
        early_terminate: {type: hyperbnd}
    """) == [
        "sweep.yaml:1:1: method is missing; write method: grid, random or bayes",
        "sweep.yaml:2:1: unknown key 'metod'; did you mean 'method'?",
        "sweep.yaml:3:32: metric.goal cannot be 'minimise'; did you mean 'minimize'?",
        "sweep.yaml:5:13: parameters.lr.min (0.1) is above max (0.01)",
        "sweep.yaml:6:15: unknown key 'maxx' in parameters.m; did you mean 'max'?",
        "sweep.yaml:7:6: parameters.p must be a mapping; write {value: 3}",
        "sweep.yaml:8:6: parameters.q must be a mapping; write {values: [1, 2]}",
        "sweep.yaml:9:21: parameters.z.distribution cannot be 'unifrm'; did you mean 'uniform'?",
        "sweep.yaml:10:38: parameters.w.probabilities add up to 1.1, not to 1",
        "sweep.yaml:10:57: when: opt is no parameter; known: lr, m, w, z",
        "sweep.yaml:11:3: 'w' is here a second time",
        "sweep.yaml:12:15: constraint 'lr < foo' mentions foo, which is no parameter",
        "sweep.yaml:12:27: constraint 'import os' is no expression: invalid syntax",
        "sweep.yaml:12:40: a constraint is an expression such as 'depth * width <= 512', not 3",
        "sweep.yaml:13:25: early_terminate.type cannot be 'hyperbnd'; did you mean 'hyperband'?",
    ]


PARAMETER = [
    ("{min: 3, max: 3}", "a.min and max are both 3; write value: 3 for a constant"),
    ("{min: 0.1, max: 0.01}", "a.min (0.1) is above max (0.01)"),
    ("{min: '0.1', max: 1}", "a.min must be a number, not '0.1'; take the quotes away"),
    ("{min: true, max: 3}", "a.min must be a number, not true"),
    ("{min: 1}", "a needs max"),
    ("{}", "a needs value, values, min and max, or distribution"),
    ("", "a must be a mapping"),
    ("{mu: 1}", "a needs distribution: normal (or log_normal, q_normal, q_log_normal)"),
    ("{a: 1}", "a needs distribution: beta (or q_beta)"),
    ("{min: 0, max: 1, q: 0.1}", "a needs distribution: q_uniform (or q_log_uniform_values"),
    ("{probabilities: [1]}", "a needs values beside probabilities"),
    ("{vals: [1]}", "unknown key 'vals' in parameters.a; did you mean 'values'?"),
    ("{values: 3}", "a.values must be a list, such as [1, 2, 3]"),
    ("{values: []}", "a.values is empty"),
    ("{values: [1], q: 2}", "unknown key 'q' in parameters.a"),
    ("{distribution: }", "a.distribution is empty"),
    ("{distribution: categorical}", "a needs values"),
    ("{distribution: categorical_w_probabilities, values: [1]}", "a needs probabilities"),
    ("{distribution: constant}", "a needs value"),
    ("{distribution: int_uniform, min: 0.0, max: 3}", "a.min (0.0) must be an integer for int_uniform"),
    ("{distribution: log_uniform_values, min: 0, max: 3}", "a.min (0) must be above 0"),
    ("{distribution: log_uniform, min: -1000, max: 3}", "a.min and max are exponents of e"),
    ("{distribution: inv_log_uniform, min: -1000, max: 3}", "a.min and max are exponents of e"),
    ("{distribution: normal, sigma: -1}", "a.sigma (-1) must not be below 0"),
    ("{distribution: log_normal, mu: 800}", "a.mu reaches values beyond floating point"),
    ("{distribution: normal, sigma: 1e305}", "a.sigma reaches values beyond floating point"),
    ("{distribution: beta, a: 0}", "a.a (0) must be from 0.001"),
    ("{distribution: q_uniform, min: 0, max: 1, q: 0}", "a.q (0) must be above 0"),
    ("{distribution: q_uniform, min: 0, max: 1, q: 1e-300}", "a.q (1e-300) is too small"),
    ("{distribution: q_normal, q: 1e-300}", "a.q (1e-300) is too small"),
    (
        "{distribution: q_log_uniform_values, min: 1, max: 4, q: 5}",
        "a.q (5) has no multiple between min and max",
    ),
    ("{values: [1, 2], probabilities: [1]}", "a.probabilities has 1 numbers for 2 values"),
    ("{values: [1, 2], probabilities: [-1, 2]}", "a.probabilities has -1, which is no probability"),
    ("{values: [1, 2], probabilities: 3}", "a.probabilities must be a list of numbers"),
    ("{parameters: {}}", "a is empty; give at least one parameter"),
    ("{parameters: 3}", "a must be a mapping of names, not 3"),
    ("{parameters: {b: {value: 1}}, x: 3}", "unknown key 'x' in parameters.a"),
    ("{value: 1, when: }", None),
    ("{value: 1, when: 3}", "a.when must be a mapping such as"),
    ("{value: 1, when: {b: {}}}", "a.when.b needs min, max or not"),
    ("{value: 1, when: {b: {min: 2, max: 1}}}", "a.when.b.min (2) is above max (1)"),
    ("{value: 1, when: {b: {min: x}}}", "a.when.b.min must be a number, not 'x'"),
    ("{value: 1, when: {b: {not: 1, min: 2}}}", "a.when.b.not cannot stand beside min and max"),
    ("{value: 1, when: {b: []}}", "a.when.b must be a value, or a list of values"),
    ("{value: 1, when: {b: [[1]]}}", "a.when.b must be a value, or a list of values"),
    ("{value: 1, when: {b: {mni: 2}}}", "unknown key 'mni' in parameters.a.when.b; did you mean 'min'?"),
    ("{value: 1, when: {b: 9}}", "when: b is 9, which never happens; it is one of 1, 2"),
    ("{value: 1, when: {b: [1, 9]}}", "which never happens"),
    ("{value: 1, when: {b: {min: 3}}}", "when: b is at least 3, which never happens"),
    ("{value: 1, when: {bb: 1}}", "when: bb is no parameter; did you mean 'b'?"),
    ("{value: 1, when: {a: 1}}", "the conditions of a depend on one another in a circle"),
    ("{value: 1, when: {b: {not: 1}}}", None),
]


@pytest.mark.parametrize(("written", "message"), PARAMETER)
def test_a_parameter_is_right_or_told_what_is_wrong_with_it(written: str, message: str | None) -> None:
    text = f"method: random\nparameters:\n  b: {{values: [1, 2]}}\n  a: {written}\n"
    if message is None:
        parse(text)
        return
    found = problems(text)
    assert len(found) == 1, found
    assert message in found[0]
    assert found[0].startswith("sweep.yaml:4:")


TOP = [
    ("method: grdi", "1:9: method cannot be 'grdi'; did you mean 'grid'?"),
    ("method: xyz", "1:9: method cannot be 'xyz'; known: ax, bayes, custom, grid, optuna, pbt, random"),
    ("method: [grid]", "1:9: method must be text, not a list"),
    ("method: bayes", "1:9: method bayes needs a metric"),
    ("metric: loss", "metric must be a mapping; write {name: loss, goal: minimize}"),
    ("metric: {goal: minimize}", "metric needs name"),
    ("metric: {name: x, taget: 3}", "unknown key 'taget' in metric; did you mean 'target'?"),
    ("metric: {name: x, target: high}", "metric.target must be a number, not 'high'"),
    ("metric: {name: x, impute: mean}", "metric.impute cannot be 'mean'; known: best, latest, worst"),
    ("metrics: [{name: x}]", "metrics must be a list of two or more"),
    ("metrics: [{name: x}, {name: x}]", "metrics names x more than once"),
    ("metrics: [{name: x, max: 1}, {name: y, min: 2}]", "metrics has no goal; write goal: minimize"),
    ("metrics: [{name: x, target: 1}, {name: y}]", "metrics cannot have a target where there are several"),
    ("metric: {name: x, min: 2, max: 1}", "metric.min (2) is above max (1)"),
    (
        "{method: custom, metric: {name: z}, metrics: [{name: x}, {name: y}]}",
        "metrics and metric cannot both be there",
    ),
    ("run_cap: 0", "run_cap must be at least 1, not 0"),
    ("run_cap: -1", "run_cap must be at least 1, not -1"),
    ("run_cap: 5.1", "run_cap must be a whole number, not 5.1"),
    ("run_cap: '1'", "run_cap must be a number, not '1'; take the quotes away"),
    ("max_attempts: 0", "max_attempts must be at least 1"),
    ("seed: -1", "seed must be at least 0"),
    ("seed: 99999999999999999999", "seed must be at most"),
    ("name: 2024", "name must be text; write '2024' in quotes"),
    ("command: python x", "command must be a list such as"),
    ("command: []", "command must be a list such as"),
    ("command: [python, [x]]", "a word of command must be text, not a list"),
    ('command: ["a\\0b"]', "cannot hold a NUL character"),
    ("constraints: a < 3", "constraints must be a list of expressions"),
    ("constraints: ['a + 1']", "gives 2, not true or false"),
    ("constraints: ['a < b']", "have no order"),
    ("early_terminate: hyperband", "early_terminate must be a mapping"),
    ("early_terminate: {min_iter: 3}", "early_terminate needs type"),
    (
        "{metric: {name: x}, early_terminate: {type: hyperband}}",
        "early_terminate needs min_iter, or max_iter and s",
    ),
    (
        "{metric: {name: x}, early_terminate: {type: hyperband, max_iter: 9}}",
        "needs min_iter, or max_iter and s",
    ),
    ("{metric: {name: x}, early_terminate: {type: hyperband, min_iter: 0}}", "min_iter must be at least 1"),
    (
        "{metric: {name: x}, early_terminate: {type: hyperband, min_iter: 1, eta: 1}}",
        "eta must be above 1, not 1",
    ),
    (
        "{metric: {name: x}, early_terminate: {type: hyperband, min_iter: 1, strict: 1}}",
        "strict must be true or false",
    ),
    ("early_terminate: {type: hyperband, min_iter: 3}", "early_terminate needs a metric"),
    ("controller: {type: remote}", "controller.type cannot be 'remote'"),
    ("controller: {}", "controller needs type"),
    ("controller: local", "controller must be a mapping, not 'local'"),
    ("kind: swep", "kind cannot be 'swep'"),
    ("scheduler: {engine: optuna}", "scheduler.engine 'optuna' needs method: custom"),
    ("scheduler: {source: x}", "scheduler needs engine"),
    ("scheduler: {engine: wandb, optimizer: x}", "scheduler needs source"),
    (
        "{method: custom, scheduler: {engine: wandb}}",
        "needs method: grid, random or bayes, not method: custom",
    ),
    (
        "{scheduler: {engine: wandb}, controller: {type: local}}",
        "scheduler cannot be used with controller.type local",
    ),
    (
        "{metric: {name: x}, scheduler: {engine: wandb}, early_terminate: {type: hyperband, min_iter: 1}}",
        "scheduler and early_terminate cannot both be there",
    ),
]


@pytest.mark.parametrize(("written", "message"), TOP)
def test_a_key_is_told_what_is_wrong_with_it(written: str, message: str) -> None:
    rest = {"method": "random", "parameters": {"a": {"value": 1}, "b": {"value": "x"}}}
    if written.startswith("{"):
        missing = "".join(f", {key}: {value}" for key, value in rest.items() if f"{key}:" not in written)
        text = f"{written[:-1]}{missing}}}\n".replace("'a'", "a").replace("'value'", "value")
    else:
        text = written + "\n" + ("" if written.startswith("method") else "method: random\n")
        text += "parameters: {a: {value: 1}, b: {value: x}}\n"
    found = problems(text)
    assert any(message in problem for problem in found), found
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the sweep file is empty"),
        ("# nothing\n", "the sweep file is empty"),
        ("just text", "1:1: the sweep file must be a mapping of keys such as method, not 'just text'"),
        ("- method: grid", "not a list"),
        ("method: grid", "1:1: parameters is missing"),
        ("method: grid\nparameters: {}", "2:13: parameters is empty"),
        ("method: grid\nparameters: [a]", "2:13: parameters must be a mapping of names, not a list"),
        (
            "method: grid\nparameters: {3x: {value: 1}}",
            "2:14: parameters cannot have a parameter called '3x'",
        ),
        (
            "method: grid\nparameters: {a: {min: 0.0, max: 1.0}}",
            "2:14: parameters.a is uniform from 0 to 1, which a grid",
        ),
        (
            "method: grid\nparameters: {a: {parameters: {b: {value: 1}}}, a.b: {value: 2}}",
            "the dotted name a.b",
        ),
        ("method: grid\nmethod: grid\nparameters: {a: {value: 1}}", "2:1: 'method' is here a second time"),
        ("method: grid\n  parameters: x\n", "2:13: not YAML: mapping values are not allowed"),
        ("method: [grid\n", "not YAML"),
        ("#" * 2**20 + "\n", "1:1: the file is too long; a sweep file has at most 1048576 bytes"),
        (
            "method: grid\nparameters:\n\tx: {values: [1]}\n",
            "3:1: not YAML: a tab, not spaces",
        ),
        (
            "method: !!python/object/apply:os.system ['true']\n",
            "1:9: the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("method: !foo grid\n", "1:9: the tag !foo means nothing in a sweep file"),
        ("method: !!int grid\n", "the tag tag:yaml.org,2002:int does not fit 'grid'"),
        ("method: *x\n", "1:9: no &x stands before"),
        ("a: &x [*x]\n", "1:8: *x is used inside itself"),
        ("[a]: b\n", "a key must be text, not a list or mapping"),
        ("method: grid\n---\nmethod: grid\n", "a second document begins here"),
        ("<<: 3\n", "1:5: << takes a mapping, or a list of them"),
        ("method: gr\0id\n", "1:11: not YAML: "),
        ("method: .inf\n", "1:9: .inf is not a finite number"),
        ("run_cap: 1e400\n", "1:10: 1e400 is too large a number"),
        ("run_cap: 1" + "0" * 350 + "\n", "is too large a number"),
        ("run_cap: 1" + "0" * 9000 + "\n", "a number of 9001 characters is too long"),
        (
            "method: random\nparameters: {a: {min: 1, max: 1000000}, b: {value: 1, when: {a: 3}}}",
            "2:41: parameters.b depends on a, which has 1000000 values",
        ),
    ],
)
def test_a_file_is_told_what_is_wrong_with_it_as_a_whole(text: str, message: str) -> None:
    found = problems(text)
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("sweep.yaml:") for problem in found)


def test_a_file_that_is_not_utf8_is_told_where() -> None:
    with pytest.raises(SweepFileError, match=r"2:7: the file is not UTF-8 text"):
        load(write(b"method: grid\nname: \xff\xfe\n"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the sweep file .*none\.yaml: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(UsageError, match="null"):
        load("a\0b")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"method": "grid", "parameters": {"a": {"min": 3, "max": 1}}},
            "sweep config: parameters.a.min (3) is above max (1)",
        ),
        (
            {"method": "grid", "parameters": {"a": {"value": object()}}},
            "of type object, which sweep configs cannot hold",
        ),
        ({"method": "grid", "parameters": {"a": {"value": float("nan")}}}, "nan is not a finite number"),
        ({"method": "grid", "parameters": {"a": {"value": 2**2000}}}, "a number of 2001 bits is too large"),
        ({"method": "grid", "parameters": {1: {"value": 1}}}, "key 1 is not text; write '1'"),
        ("this is no mapping", "must be a mapping of keys"),
    ],
)
def test_mappings_get_the_same_messages_without_places(config: Any, message: str) -> None:
    with pytest.raises(SweepFileError) as caught:
        from_mapping(config)
    assert message in str(caught.value)


def test_a_mapping_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"method": "grid"}
    loop["parameters"] = loop
    with pytest.raises(SweepFileError, match="inside itself"):
        from_mapping(loop)
    with pytest.raises(SweepFileError, match="more than 100000 values"):
        from_mapping({"method": "grid", "parameters": {"a": {"values": list(range(100_001))}}})


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(data: bytes) -> Path:
    path = Path("sweep.yaml")
    path.write_bytes(data)
    return path
