"""Hydra's own tests of launchers and sweepers, for besom's launcher and sweeper with each other and with others."""

from __future__ import annotations

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

pytestmark = [
    pytest.mark.slow,
    # Of these tests' own apps.
    pytest.mark.filterwarnings("ignore:\nFuture Hydra versions will no longer change:UserWarning"),
    pytest.mark.filterwarnings("ignore:\nThe version_base parameter is not specified:UserWarning"),
    # Of joblib and submitit.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SWEEPERS = {"basic": [], "besom": ["hydra/sweeper=besom"]}
LAUNCHERS = {
    "besom": ["hydra.launcher.workers=2"],
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.timeout_min=2"],
}
PAIRS = [
    ("besom", "basic"),
    ("besom", "besom"),
    ("basic", "besom"),
    ("joblib", "besom"),
    ("submitit_local", "besom"),
]
NAMES = [f"{launcher}-launcher-{sweeper}-sweeper" for launcher, sweeper in PAIRS]


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not in tmp_path: these tests expect nothing there but what Hydra makes.
    monkeypatch.setenv("BESOM_DIR", str(tmp_path_factory.mktemp("besom")))


def options(launcher: str, sweeper: str, *more: str) -> list[str]:
    return [*SWEEPERS[sweeper], *LAUNCHERS[launcher], *more]


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [pytest.param(one, options(one, other), id=name) for (one, other), name in zip(PAIRS, NAMES, strict=True)],
)
class TestLauncher(LauncherTestSuite):
    """Results, configs, folders, resolvers, refusals."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param(one, options(one, other, "hydra.sweeper.max_batch_size=2"), id=name)
        for (one, other), name in zip(PAIRS, NAMES, strict=True)
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    """`max_batch_size`."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param({}, ["-m", f"hydra/launcher={one}", *options(one, other)], id=name)
        for (one, other), name in zip(PAIRS, NAMES, strict=True)
    ],
)
class TestIntegration(IntegrationTestSuite):
    """Whole applications in processes of their own."""
