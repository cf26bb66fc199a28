"""A server cannot make an agent run anything but the sweep's own program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentOptions
from besom.agent.allowed import allowed_programs, check_allowed
from besom.errors import UsageError
from besom.sweepfile import SweepConfig, parse


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "work"
    here.mkdir()
    for file in (here / "train.py", here / "other.py", tmp_path / "outside.py"):
        file.touch()
    (here / "link.py").symlink_to(tmp_path / "outside.py")
    monkeypatch.chdir(here)
    return here


def config(program: str | None = "train.py", command: list[Any] | None = None) -> SweepConfig:
    words = [
        "method: grid",
        "parameters: {x: {values: [1]}}",
        *([f"program: {program!r}"] if program else []),
        *([f"command: {command}"] if command else []),
    ]
    return parse("\n".join(words))


def test_only_a_server_s_sweeps_are_limited_unless_the_agent_pins_a_program() -> None:
    assert allowed_programs("sqlite:///x", AgentOptions()) is None
    assert allowed_programs("postgresql://h/d", AgentOptions()) is None
    assert allowed_programs("https://h", AgentOptions()) == ()
    assert allowed_programs("https://h", AgentOptions(allow_any_command=True)) is None
    assert allowed_programs("sqlite:///x", AgentOptions(allow_programs=("a.py",))) == ("a.py",)


def test_a_program_below_the_working_directory_is_run(here: Path) -> None:
    check_allowed(config(), here, ())
    check_allowed(config(command=["python3", "${program}", "--fast", "${args}"]), here, ())
    check_allowed(config(), here, ("train.py",))


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "touch marker"],
        ["sh", "-c", "touch marker", "${program}"],
        ["${env}", "LD_PRELOAD=x.so", "${program}"],
        ["${interpreter}", "-c", "import os", "${program}"],
        ["${envvar:SHELL}", "${program}"],
        ["${args}", "${program}"],
    ],
)
def test_a_command_that_starts_anything_else_is_refused(here: Path, command: list[str]) -> None:
    with pytest.raises(UsageError, match="--allow-any-command"):
        check_allowed(config(command=command), here, ())


@pytest.mark.parametrize("program", ["../outside.py", "link.py", "/bin/sh", "missing.py", "-c"])
def test_a_program_from_elsewhere_is_refused(here: Path, program: str) -> None:
    with pytest.raises(UsageError, match="no file below"):
        check_allowed(config(program), here, ())


def test_a_program_that_is_not_pinned_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match=r"this agent runs other\.py only"):
        check_allowed(config(), here, ("other.py",))


def test_a_program_in_a_folder_that_the_server_names_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match="no file below"):
        check_allowed(config("work/train.py"), here.parent, ())
