"""Every test here has a lab: a store, sweeps and agents in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.testing.agents import Lab, open_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with open_lab(tmp_path) as made:
        yield made
