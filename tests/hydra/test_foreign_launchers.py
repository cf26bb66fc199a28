"""Hydra's own launcher tests, with launchers of other people and besom's sweeper."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from hydra_plugins.besom.sweeper import BesomSweeper

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # what Hydra's suites and launchers warn of is theirs
]

LAUNCHERS: dict[str, list[str]] = {
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.timeout_min=5"],
}


@pytest.fixture(autouse=True)
def store_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_DIR", str(tmp_path_factory.mktemp("besom")))


def test_hydra_finds_the_sweeper() -> None:
    assert BesomSweeper.__name__ in [found.__name__ for found in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [(name, [*options, "hydra/sweeper=besom"]) for name, options in LAUNCHERS.items()],
)
class TestLaunchers(LauncherTestSuite):
    """With besom's sweeper."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        (name, [*options, "hydra/sweeper=besom", "hydra.sweeper.max_batch_size=2"])
        for name, options in LAUNCHERS.items()
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    """With besom's sweeper."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        ({}, ["-m", f"hydra/launcher={name}", "hydra/sweeper=besom", *options])
        for name, options in LAUNCHERS.items()
    ],
)
class TestIntegration(IntegrationTestSuite):
    """With besom's sweeper."""
