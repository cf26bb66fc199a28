from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from besom.cli import COMMANDS, EXTRAS

Invoke = Callable[..., Result]
HEAVY = (
    "rich",
    "numpy",
    "scipy",
    "yaml",
    "importlib.metadata",
    "besom.store",
    "besom.agent",
    "besom.run",
)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from besom.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_shows_every_command(invoke: Invoke) -> None:
    shown = invoke("--help").stdout
    assert [name for name in (*COMMANDS, *EXTRAS) if f"\n  {name} " not in shown] == []


@pytest.mark.parametrize("name", [*COMMANDS, *EXTRAS])
def test_every_command_explains_itself(invoke: Invoke, name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: besom {name}")
    assert "--store" in result.stdout
    assert "\\b" not in result.stdout


def test_an_unknown_command_gets_a_suggestion(invoke: Invoke) -> None:
    result = invoke("wacth")
    assert result.exit_code == 2
    assert "Did you mean 'watch'?" in result.stderr


def test_a_command_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError(name='boto3')")
    done = subprocess.run(
        [sys.executable, "-m", "besom", "secrets", "push", "TOKEN"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TOKEN": "hunter22"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "besom secrets needs boto3" in done.stderr
    assert "pip install 'besom[sagemaker]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_package_brings_a_command(tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(
        "import click\n@click.command()\ndef greet():\n    'Say hello.'\n    print('hello')\n"
    )
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[besom.commands]\ngreet = others:greet\n")
    done = subprocess.run(
        [sys.executable, "-m", "besom", "greet"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_the_version_is_shown(invoke: Invoke) -> None:
    import besom

    assert invoke("--version").stdout == f"besom {besom.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(invoke: Invoke, shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_BESOM_COMPLETE" in result.stdout


def _complete(*words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from besom.cli import main; main()"],
        env={
            **os.environ,
            "_BESOM_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("besom", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_are_completed(folder: object) -> None:
    assert _complete("wa") == ["watch"]


def test_sweep_ids_are_completed(created: str) -> None:
    assert _complete("watch", created[:2]) == [created]


def test_nothing_is_completed_where_there_is_no_store(folder: object) -> None:
    assert _complete("watch", "") == []
