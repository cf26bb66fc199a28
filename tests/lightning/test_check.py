"""`besom check` on a program built with LightningCLI: what it does not take is told before any run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom_lightning.check import guilty, reads_command_line

PROGRAM = """
from typing import Any
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel

class Model(BoringModel):
    def __init__(self, lr: float = 0.5, hidden: int = 8, word: str = "", anything: Any = None):
        super().__init__()
        raise AssertionError("a model was built")

if __name__ == "__main__":
    LightningCLI(Model)
"""
COMMAND = ["${interpreter}", "${program}", "fit", "--config", "${args_config_file}"]

Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run `besom check` on a sweep of these parameters over a program of this text."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}

    def run(
        parameters: dict[str, Any], *options: str, program: str = PROGRAM, command: list[str] = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "train.py").write_text(program)
        sweep = {
            "program": "train.py",
            "command": command,
            "method": "grid",
            "metric": {"name": "val_loss"},
            "parameters": {name: {"value": value} for name, value in parameters.items()},
        }
        (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
        return subprocess.run(
            [sys.executable, "-m", "besom", "check", "sweep.yaml", *options],
            cwd=tmp_path,
            env={**own, "BESOM_DIR": str(tmp_path / ".besom"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_program_that_takes_its_parameters_is_told_so_and_never_trains(
    check: Check, tmp_path: Path
) -> None:
    done = check({"model.lr": 1e-05, "model.word": "1e-5", "trainer.max_epochs": 3})
    assert done.returncode == 0, done.stderr
    assert "the program takes these parameters" in done.stderr
    assert not (tmp_path / ".besom").exists()


@pytest.mark.slow
def test_every_wrong_parameter_is_named_with_what_may_be_meant(check: Check) -> None:
    done = check({"model.hiden": 8, "trainer.max_epoch": 3, "model.lr": 0.1}, "--json")
    assert done.returncode == 2
    faults = sorted(json.loads(done.stdout)["faults"])
    assert faults == [
        "parameters.model.hiden: the program has no such argument; did you mean 'model.hidden'?",
        "parameters.trainer.max_epoch: the program has no such argument; did you mean 'trainer.max_epochs'?",
    ]


@pytest.mark.slow
def test_a_value_of_another_type_is_told_in_the_parsers_words(check: Check) -> None:
    done = check({"model.hidden": 8.5})
    assert done.returncode == 2
    assert "sweep.yaml: parameters.model.hidden: 8.5 is refused" in done.stderr
    assert "int" in done.stderr


@pytest.mark.slow
def test_a_parameter_that_does_not_arrive_as_it_is_is_told(check: Check) -> None:
    done = check({"model.lr": 0.1, "model.anything": "1e-5"}, command=[*COMMAND, "--model.lr=0.2"])
    assert done.returncode == 2
    assert "parameters.model.lr: 0.1 reaches the program as 0.2" in done.stderr
    assert "parameters.model.anything: '1e-5' reaches the program as 1e-05" in done.stderr


@pytest.mark.slow
def test_a_program_with_sweep_cli_is_asked_too(check: Check) -> None:
    program = PROGRAM.replace("from lightning.pytorch.cli import", "from besom_lightning import SweepCLI as")
    done = check({"model.hiden": 8}, program=program, command=["${interpreter}", "${program}", "fit"])
    assert done.returncode == 2
    assert "did you mean 'model.hidden'?" in done.stderr


def test_a_program_of_another_kind_is_not_started(check: Check, tmp_path: Path) -> None:
    done = check({"lr": 0.1}, program="import pathlib\npathlib.Path('ran').touch()\n")
    assert done.returncode == 0
    assert "takes these parameters" not in done.stderr
    assert not (tmp_path / "ran").exists()


def test_no_program_is_started_where_that_is_not_wanted(check: Check) -> None:
    done = check({"model.hiden": 8}, "--no-program", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["faults"] is None


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("from lightning.pytorch.cli import LightningCLI\nLightningCLI(M)", True),
        ("from besom_lightning import SweepCLI as LightningCLI\nLightningCLI()", True),
        ("import lightning.pytorch.cli as c\nclass C(c.LightningCLI): ...\nC()", True),
        ("from lightning.pytorch.cli import LightningCLI\nLightningCLI(M, args=['fit'])", False),
        ("# LightningCLI\nprint('LightningCLI')", False),
        ("import besom\nbesom.init()", False),
        ("def broken(", False),
    ],
)
def test_a_lightning_cli_is_known_by_its_code(source: str, *, reads: bool) -> None:
    assert reads_command_line(source) is reads


@pytest.mark.parametrize(
    ("complaint", "found"),
    [
        ("Group 'model' does not accept option 'ff'", ["model.ff"]),
        ("Subcommand 'fit' does not accept option 'model.ff'", ["model.ff"]),
        ("unrecognized arguments: --model.ff=3 --lr=2", ["lr", "model.ff"]),
        ("Parser key \"model.i\":\n  Expected a <class 'int'>. Got value: 3.5", ["model.i"]),
        (
            "Parser key \"optimizer\":\n  Given class_path 'Adam':\n    Option 'lrr' is not accepted",
            ["optimizer.init_args.lrr"],
        ),
        ("Option 'modle.f' is not accepted", ["modle.f"]),
        ("something else entirely", []),
    ],
)
def test_the_parameter_that_a_complaint_is_about_is_found(complaint: str, found: list[str]) -> None:
    names = ["lr", "model.f", "model.ff", "model.i", "modle.f", "optimizer.init_args.lrr", "trainer.i"]
    assert guilty(f"usage: train.py fit\nerror: {complaint}\n", names) == found
