"""A real SLURM cluster of one node, and a lab whose agents it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.testing.agents import Lab, open_lab
from besom.testing.slurm import SlurmCluster, missing_programs, slurm_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    if missing := missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed here (Debian: apt install slurm-wlm munge)")
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def slurm(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster, for this process and what it starts."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    return cluster


@pytest.fixture
def lab(tmp_path: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with open_lab(tmp_path) as made:
        yield made
        slurm.cancel_all()
