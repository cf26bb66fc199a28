from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from besom.agent import build_command, unknown_macros
from besom.agent.command import nest_at_dots, program_folder, write_argument_files
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.sweepfile import SweepConfig, from_mapping
from besom.sweepfile.yaml12 import parse_value

FOLDER = RunFolder(Path("/runs/abc"))
MACROS = [
    "${args}",
    "${args_no_equals}",
    "${args_no_hyphens}",
    "${args_no_boolean_flags}",
    "${args_append_hydra}",
    "${args_override_hydra}",
    "${args_json}",
]

# Every kind of value that W&B's macros were observed with (wandb 0.31.0).
VALUES: dict[str, Any] = {
    "big": 1e22,
    "dct": {"a": 1, "b": {"c": [True]}},
    "flag_f": False,
    "flag_t": True,
    "lr": 1e-05,
    "lst": [1, "x", None, True],
    "none": None,
    "opt.lr": 0.1,
    "text": "a b",
    "three": 3.0,
    "zero": 0,
}
PRINTED = {
    "big": "1e+22",
    "dct": "{'a': 1, 'b': {'c': [True]}}",
    "flag_f": "False",
    "flag_t": "True",
    "lr": "1e-05",
    "lst": "[1, 'x', None, True]",
    "none": "None",
    "opt.lr": "0.1",
    "text": "a b",
    "three": "3.0",
    "zero": "0",
}


def config(command: Sequence[Any], params: Mapping[str, Any], **more: Any) -> SweepConfig:
    return from_mapping(
        {
            "method": "grid",
            "program": "train.py",
            "command": list(command),
            "parameters": {name: {"value": value} for name, value in (params or {"x": 1}).items()},
            **more,
        }
    )


def expand(element: str, params: Mapping[str, Any] | None = None, **environment: str) -> list[str]:
    values = VALUES if params is None else params
    return build_command(config(["x", element], values), values, folder=FOLDER, environment=environment)[1:]


@pytest.mark.parametrize(
    ("macro", "argv"),
    [
        ("${args}", [f"--{name}={text}" for name, text in PRINTED.items()]),
        ("${args_no_equals}", [word for name, text in PRINTED.items() for word in (f"--{name}", text)]),
        ("${args_no_hyphens}", [f"{name}={text}" for name, text in PRINTED.items()]),
        ("${args_append_hydra}", [f"+{name}={text}" for name, text in PRINTED.items()]),
        ("${args_override_hydra}", [f"++{name}={text}" for name, text in PRINTED.items()]),
        (
            "${args_no_boolean_flags}",
            [
                f"--{name}" if text == "True" else f"--{name}={text}"
                for name, text in PRINTED.items()
                if text != "False"
            ],
        ),
        ("${args_json}", [json.dumps(VALUES)]),
        ("${args_json_file}", ["/runs/abc/args.json"]),
        ("${args_config_file}", ["/runs/abc/args.yaml"]),
        ("${args_dict}", list(VALUES)),
        ("${program}", ["train.py"]),
        ("${env}", ["/usr/bin/env"]),
        ("${interpreter}", [sys.executable]),
        ("x${args}", ["x${args}"]),
        ("${args}x", ["${args}x"]),
        ("${foo}", []),
        ("${envvar:lower}", []),
        ("x ${envvar:lower}", ["x ${envvar:lower}"]),
        ("plain", ["plain"]),
    ],
)
def test_a_macro_expands_as_in_wandb(macro: str, argv: list[str]) -> None:
    assert expand(macro) == argv


# The facts of W&B's own test of its agent: a is True, b False, c 1, d None.
@pytest.mark.parametrize(
    ("macro", "argv"),
    [
        ("${args}", ["--a=True", "--b=False", "--c=1", "--d=None"]),
        ("${args_no_hyphens}", ["a=True", "b=False", "c=1", "d=None"]),
        ("${args_no_boolean_flags}", ["--a", "--c=1", "--d=None"]),
        ("${args_json}", ['{"a": true, "b": false, "c": 1, "d": null}']),
        ("${args_append_hydra}", ["+a=True", "+b=False", "+c=1", "+d=None"]),
        ("${args_override_hydra}", ["++a=True", "++b=False", "++c=1", "++d=None"]),
    ],
)
def test_wandbs_own_table_holds(macro: str, argv: list[str]) -> None:
    assert expand(macro, {"a": True, "b": False, "c": 1, "d": None}) == argv


def test_wandbs_table_of_environment_variables_holds() -> None:
    command = [
        "${env}",
        "${interpreter}",
        "--output_dir",
        "fake/path/${envvar:FOO_DIR}/${envvar:FOO_DIR}/${envvar:FOO_DIR_TWO}",
        "--foovar",
        "${envvar:FOO_VAR}",
    ]
    environment = {"FOO_DIR": "foo_dir", "FOO_DIR_TWO": "foo_dir_two", "FOO_VAR": "foo_var"}
    argv = build_command(config(command, {}), {}, folder=FOLDER, environment=environment)
    assert argv == [
        "/usr/bin/env",
        sys.executable,
        "--output_dir",
        "fake/path/foo_dir/foo_dir/foo_dir_two",
        "--foovar",
        "foo_var",
    ]


def test_an_environment_variable_that_is_not_set_leaves_its_name() -> None:
    assert expand("a=${envvar:NOPE_X}") == ["a=NOPE_X"]


def test_environment_variables_are_looked_up_anew_for_every_run() -> None:
    made = config(["run", "${envvar:NODE}"], {})
    for node in ("a", "b"):
        argv = build_command(made, {}, folder=FOLDER, environment={"NODE": node})
        assert argv == ["run", node]


def test_the_default_command_is_wandbs() -> None:
    made = from_mapping({"method": "grid", "program": "train.py", "parameters": {"lr": {"value": 0.1}}})
    argv = build_command(made, {"lr": 0.1}, folder=FOLDER)
    assert argv == ["/usr/bin/env", sys.executable, "train.py", "--lr=0.1"]


def test_a_nested_parameter_is_one_dotted_flag_for_each_leaf() -> None:
    made = from_mapping(
        {
            "method": "grid",
            "command": ["run", "${args}", "${args_override_hydra}", "${args_json}"],
            "parameters": {
                "model": {
                    "parameters": {"depth": {"value": 3}, "head": {"parameters": {"dim": {"value": 8}}}}
                },
                "optimizer": {"value": {"name": "adam", "lr": 0.1}},
            },
        }
    )
    params = {"model": {"depth": 3, "head": {"dim": 8}}, "optimizer": {"name": "adam", "lr": 0.1}}
    assert build_command(made, params, folder=FOLDER) == [
        "run",
        "--model.depth=3",
        "--model.head.dim=8",
        "--optimizer={'name': 'adam', 'lr': 0.1}",
        "++model.depth=3",
        "++model.head.dim=8",
        "++optimizer={'name': 'adam', 'lr': 0.1}",
        json.dumps(params),
    ]


def test_elements_that_are_no_strings_become_strings() -> None:
    assert build_command(config(["run", "--n", 3], {}), {}, folder=FOLDER) == ["run", "--n", "3"]


def test_a_command_of_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="expands to nothing"):
        build_command(config(["${nothing}"], {}), {}, folder=FOLDER)


def test_a_command_that_wants_a_program_needs_one() -> None:
    made = from_mapping(
        {"method": "grid", "parameters": {"x": {"value": 1}}, "command": ["run", "${program}"]}
    )
    with pytest.raises(UsageError, match="names no `program`"):
        build_command(made, {"x": 1}, folder=FOLDER)
    with pytest.raises(UsageError, match="names no `program`"):
        program_folder(made, None, Path())


def test_only_macros_that_do_not_exist_are_unknown() -> None:
    known = ["${env}", "${interpreter}", "${program}", "${envvar:HOME}", "a${b}c", "plain", "${args_dict}"]
    files = ["${args_json_file}", "${args_config_file}"]
    assert unknown_macros([*known, *MACROS, *files, "${arg}", "${args_hydra"]) == ["${arg}"]


def test_argument_files_have_the_true_types(tmp_path: Path) -> None:
    params = {"lr": 1e-05, "name": "1e-05", "on": True, "opt": {"x": 1}, "model.depth": 3, "model.big": 1e22}
    made = config(["run", "${args_json_file}", "${args_config_file}"], params)
    folder = RunFolder(tmp_path)
    argv = build_command(made, params, folder=folder)
    write_argument_files(made, params, folder=folder)
    assert json.loads(Path(argv[1]).read_text()) == params
    assert yaml.safe_load(Path(argv[2]).read_text()) == {
        "lr": 1e-05,
        "name": "1e-05",
        "on": True,
        "opt": {"x": 1},
        "model": {"depth": 3, "big": 1e22},
    }


@pytest.mark.parametrize(
    "text", ["1e-5", "-1e5", "1.5", ".5e-3", "0o17", "1_0", "12:30", "on", "null", "~", "=", ""]
)
def test_text_that_looks_like_a_number_stays_text_for_every_yaml(text: str, tmp_path: Path) -> None:
    made = config(["run", "${args_config_file}"], {"x": text, "deep": [text]})
    folder = RunFolder(tmp_path)
    write_argument_files(made, {"x": text, "deep": [text]}, folder=folder)
    written = (tmp_path / "args.yaml").read_text()
    assert parse_value(written) == yaml.safe_load(written) == {"x": text, "deep": [text]}


def test_no_file_is_written_that_the_command_does_not_name(tmp_path: Path) -> None:
    write_argument_files(config(["run", "${args}"], {"x": 1}), {"x": 1}, folder=RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_both_a_value_and_a_group_cannot_be_nested() -> None:
    with pytest.raises(UsageError, match=r"'model' and 'model\.depth' cannot both be parameters"):
        nest_at_dots({"model.depth": 3, "model": "resnet"})


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,3}", fullmatch=True),
        st.one_of(st.integers(), st.booleans(), st.text(), st.none()),
    )
)
def test_nesting_at_dots_loses_nothing(flat: dict[str, Any]) -> None:
    if any(other.startswith(f"{name}.") for name in flat for other in flat):
        with pytest.raises(UsageError):
            nest_at_dots(flat)
        return

    def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in tree.items():
            if isinstance(value, Mapping):
                found |= leaves(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
            else:
                found[f"{prefix}{name}"] = value
        return found

    assert leaves(nest_at_dots(flat)) == flat


def test_the_program_is_looked_up_here_and_then_beside_the_sweep_file(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    made = config(["${program}"], {})
    with pytest.raises(UsageError, match="was not found"):
        program_folder(made, str(there), here)
    (there / "train.py").touch()
    assert program_folder(made, str(there), here) == there
    (here / "train.py").touch()
    assert program_folder(made, str(there), here) == here
    assert program_folder(config(["true"], {}), str(there), tmp_path) == tmp_path


HOSTILE = [
    "$(touch HACKED)",
    "`touch HACKED`",
    "; touch HACKED",
    "&& touch HACKED",
    "| touch HACKED",
    "\n touch HACKED \n",
    "' ; touch HACKED ; '",
    '" ; touch HACKED ; "',
    "$HOME ${IFS} ${args} ${envvar:HOME} ${program}",
    "> HACKED",
    "--help",
    "-c import os",
    "../../etc/passwd",
    "\\",
    "a\tb\r\nc",
    "*",
    "~",
    "!!",
    "%n%s",
    "é 漢 🧹 \u202e",
    "",
    " ",
]


@st.composite
def hostile_strings(draw: st.DrawFn) -> str:
    pieces = draw(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20)), min_size=1, max_size=4))
    return "".join(pieces).replace("\0", "").encode("utf-8", "ignore").decode()


@pytest.mark.slow
def test_500_hostile_strings_through_every_macro_have_no_effect_but_being_arguments(tmp_path: Path) -> None:
    """Each string is the value of a parameter; per macro, one program gets them all and repeats its argv."""
    random = Random(20)
    alphabet = "".join(map(chr, range(1, 0x250))) + "漢🧹\u202e\u2028"
    strings = HOSTILE + [
        "".join(random.choice([*HOSTILE, *alphabet]) for _ in range(random.randint(1, 8)))
        for _ in range(500 - len(HOSTILE))
    ]
    assert len(strings) == 500
    echo = "import json, sys; print(json.dumps(sys.argv[1:]))"
    params = {f"p{number:03}": text for number, text in enumerate(strings)}
    for macro in [*MACROS, "${args_json_file}", "${args_config_file}"]:
        made = config([sys.executable, "-c", echo, macro], params)
        folder = RunFolder(tmp_path)
        write_argument_files(made, params, folder=folder)
        argv = build_command(made, params, folder=folder)
        printed = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        said: list[str] = json.loads(printed)
        assert said == argv[3:]
        assert recovered(macro, said) == params
    assert sorted(path.name for path in tmp_path.iterdir()) == ["args.json", "args.yaml"]


def recovered(macro: str, said: list[str]) -> dict[str, Any]:
    """Give the parameters back from what a program was given."""
    match macro:
        case "${args_json}":
            return dict(json.loads(said[0]))
        case "${args_json_file}":
            return dict(json.loads(Path(said[0]).read_text()))
        case "${args_config_file}":
            return dict(yaml.safe_load(Path(said[0]).read_text(encoding="utf-8")))
        case "${args_no_equals}":
            return {name.removeprefix("--"): value for name, value in zip(said[::2], said[1::2], strict=True)}
        case _:
            return dict(word.lstrip("-+").split("=", 1) for word in said)


@given(hostile_strings())
def test_a_hostile_value_is_one_argument(text: str) -> None:
    assert expand("${args}", {"x": text}) == [f"--x={text}"]
    assert json.loads(expand("${args_json}", {"x": text})[0]) == {"x": text}


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_survives_its_way_through_a_flag(number: float) -> None:
    (word,) = expand("${args}", {"x": number})
    read = float(word.removeprefix("--x="))
    assert read == number or math.isclose(read, number, rel_tol=1e-15)
