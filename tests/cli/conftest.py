from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from besom.cli import cli

TRAIN = """
import argparse
import besom

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=int)
parser.add_argument("--bad", type=int)
args = parser.parse_args()

with besom.init(config=vars(args)) as run:
    x = args.x
    print(f"x is {x}", flush=True)
    for step in range(3):
        run.log({"loss": (x - 3) ** 2 + 2 - step})
    if x == args.bad:
        raise ValueError("this x is bad")
"""

SLOW = """
import time
import besom

with besom.init() as run:
    run.log({"loss": 1.0})
    print("begun", flush=True)
    time.sleep(60)
"""

SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  x: {values: [1, 2, 3, 4]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a sweep of four runs, as the working directory, and nothing of besom's set."""
    for name in list(os.environ):
        if name.startswith(("BESOM_", "WANDB_")) or name in {"NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))  # else one above the temporary folder is found
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def call(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `besom WORDS` as a process of its own."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "besom", *map(str, words)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def start(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Begin `besom WORDS` as a process of its own, in a process group of its own."""

    def run(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "besom", *map(str, words)]
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return run


@pytest.fixture
def invoke(folder: Path) -> Callable[..., Result]:
    """Run `besom WORDS` in this process."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words])

    return run


@pytest.fixture
def swept(folder: Path, call: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    """The id of a sweep whose four runs have ended well."""
    done = call("run", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    return sweep_id(call)


@pytest.fixture
def created(call: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    """The id of a sweep that has not begun."""
    done = call("sweep", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sweep_id(call: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    return call("ls").stdout.splitlines()[1].split()[0]


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait until a condition holds; fail after 20 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "waited 20 s in vain"
            time.sleep(0.05)

    return wait
