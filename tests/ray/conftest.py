"""A real Ray cluster of one node, and a lab whose agents it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.testing.agents import Lab, open_lab
from besom.testing.ray import RayCluster, missing, ray_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    if why := missing():
        pytest.skip(why)
    with ray_cluster() as running:
        yield running


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what this machine's environment says of clusters and stores."""
    for name in [name for name in os.environ if name.startswith(("BESOM_", "WANDB_", "RAY_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def ray(cluster: RayCluster, outside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """The cluster, for this process and what it starts."""
    from ray._private.authentication_test_utils import reset_auth_token_state

    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    reset_auth_token_state()  # Ray reads its environment when it is imported
    with cluster.network.inside():
        yield cluster


@pytest.fixture
def lab(tmp_path: Path, ray: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with open_lab(tmp_path) as made:
        yield made
        ray.stop_jobs()
