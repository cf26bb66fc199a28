"""Hydra's own tests of launchers, for besom's with Hydra's basic sweeper and with besom's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # what Hydra's suites warn of is theirs
]

LAUNCHER = ["hydra.launcher.workers=2"]
PAIRS = {
    "basic-sweeper": LAUNCHER,
    "besom-sweeper": [*LAUNCHER, "hydra/sweeper=besom"],
    "spawn": [*LAUNCHER, "hydra.launcher.start_method=spawn"],
}


@pytest.fixture(autouse=True)
def store_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_DIR", str(tmp_path_factory.mktemp("besom")))


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [pytest.param("besom", overrides, id=name) for name, overrides in PAIRS.items()],
)
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param("besom", [*overrides, "hydra.sweeper.max_batch_size=2"], id=name)
        for name, overrides in PAIRS.items()
    ],
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param({}, ["-m", "hydra/launcher=besom", *LAUNCHER], id="basic-sweeper"),
        # One test runs two programs by one command in one folder, which is to go on with a sweep.
        pytest.param(
            {},
            ["-m", "hydra/launcher=besom", *LAUNCHER, "hydra/sweeper=besom", "hydra.sweeper.resume=new"],
            id="besom-sweeper",
        ),
    ],
)
class TestIntegration(IntegrationTestSuite):
    def generate_custom_cmd(self) -> Callable[[list[str], str], list[str]]:
        def fresh(command: list[str], filename: str) -> list[str]:
            shutil.rmtree(Path(filename).parent / "cli_dir", ignore_errors=True)  # that test's
            return command

        return fresh
