from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Invoke = Callable[..., Result]


def test_check_shows_the_space_and_the_first_command(invoke: Invoke, folder: Path) -> None:
    result = invoke("check", "sweep.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "one of 1, 2, 3, 4" in result.stdout
    assert "Est. Runs  4" in result.stdout
    command = shlex.split(result.stdout.partition("first run  ")[2].strip())
    assert command == ["/usr/bin/env", sys.executable, "train.py", "--x=1"]
    assert not (folder / ".besom").exists()


def test_the_first_command_is_what_the_first_run_gets(invoke: Invoke, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: random\nseed: 7\nrun_cap: 1\nmetric: {name: loss}\n"
        "parameters:\n  x: {min: 0.0, max: 1.0}\n"
    )
    first = json.loads(invoke("check", "sweep.yaml", "--json").stdout)["first"]
    sweep = invoke("sweep", "sweep.yaml").stdout.strip()

    subprocess.run(
        [sys.executable, "-m", "besom", "agent", sweep], check=True, capture_output=True, timeout=60
    )
    [run] = json.loads(invoke("ls", sweep, "--json").stdout)
    assert run["params"] == first["params"]


def test_a_first_run_that_depends_on_chance_is_marked(invoke: Invoke, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    assert "# with seed" not in invoke("check", "sweep.yaml").stdout
    (folder / "sweep.yaml").write_text(text.replace("grid", "random"))
    assert "  # with seed: 0; the file has none" in invoke("check", "sweep.yaml").stdout
    (folder / "sweep.yaml").write_text(text.replace("grid", "random") + "seed: 1\n")
    assert "# with seed" not in invoke("check", "sweep.yaml").stdout


def test_check_warns_of_what_is_allowed_but_odd(invoke: Invoke, folder: Path) -> None:
    (folder / "odd.yaml").write_text(
        "program: absent.py\nmethod: random\nparameters: {x: {min: 0.0, max: 1.0}}\n"
        "command: [python, '${program}', '${agrs}']\n"
    )
    result = invoke("check", "odd.yaml", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["expected_runs"] is None
    warnings = " | ".join(found["warnings"])
    for word in ("no metric", "does not end by itself", "${agrs}", "absent.py"):
        assert word in warnings
    assert invoke("check", "odd.yaml").stderr.count("warning: ") == 4


def test_what_has_no_effect_is_told_wherever_the_file_is_read(invoke: Invoke, folder: Path) -> None:
    with (folder / "sweep.yaml").open("a") as file:
        file.write("controller: {type: local}\n")
    told = "sweep.yaml:7:1: controller is W&B's own and has no effect"
    assert told in json.loads(invoke("check", "sweep.yaml", "--json").stdout)["warnings"]
    for command in (["check"], ["sweep"], ["run", "--new"]):
        assert f"warning: {told}\n" in invoke(*command, "sweep.yaml").stderr


def test_conditions_and_constraints_are_shown(invoke: Invoke, folder: Path) -> None:
    (folder / "when.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters:\n"
        "  opt: {values: [adam, sgd]}\n  momentum: {values: [0.0, 0.9], when: {opt: sgd}}\n"
        "  n: {values: [1, 2]}\n"
        "constraints: ['n < 2']\n"
    )
    shown = invoke("check", "when.yaml").stdout
    assert "opt is" in shown
    assert "n < 2" in shown
    assert "Est. Runs    3" in shown


def test_a_space_that_its_constraints_empty_is_told(invoke: Invoke, folder: Path) -> None:
    (folder / "none.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\n"
        "parameters: {n: {values: [1, 2]}}\nconstraints: ['n > 2']\n"
    )
    for command in ("check", "sweep", "run"):
        result = invoke(command, "none.yaml")
        assert result.exit_code == 2
        assert result.stderr == (
            "besom: none.yaml: no point of the space satisfies the constraints; loosen them\n"
        )


def test_a_file_that_is_not_there_is_told(invoke: Invoke) -> None:
    result = invoke("check", "nowhere.yaml")
    assert result.exit_code in {2, 3}
    assert "nowhere.yaml" in result.stderr
