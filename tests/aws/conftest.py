"""AWS played on this machine, and a lab whose agents it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.testing.agents import Lab, open_lab
from besom_aws.bench import Bench, started


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, where this process and its containers work."""
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    return tmp_path


@pytest.fixture
def bench(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with started(tmp_path_factory.mktemp("aws"), place=home) as running, running.aws():
        yield running


@pytest.fixture
def lab(home: Path, bench: Bench) -> Iterator[Lab]:
    """A lab with a SQLite file: for agents of a queue on this machine."""
    with open_lab(home) as made:
        yield made


@pytest.fixture
def far_lab(home: Path, bench: Bench, postgres_url: str) -> Iterator[Lab]:
    """A lab with a database that other machines reach too."""
    with open_lab(home, url=postgres_url) as made:
        yield made
