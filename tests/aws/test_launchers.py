from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from besom.launch import Launcher
from besom.testing.agents import Lab, open_lab
from besom.testing.launchers import LauncherContract
from besom_aws.batch import BatchLauncher
from besom_aws.bench import Bench
from besom_aws.ecs import EcsLauncher


class OnAws(LauncherContract):
    @pytest.fixture
    def lab(self, home: Path, postgres_url: str) -> Iterator[Lab]:
        with open_lab(home, url=postgres_url) as made:
            yield made


@pytest.mark.slow
class TestBatch(OnAws):
    @pytest.fixture
    def launcher(self, bench: Bench) -> Launcher:
        return BatchLauncher(queue=bench.add_job_queue(), image="trainer:1")


@pytest.mark.slow
class TestEcs(OnAws):
    @pytest.fixture
    def launcher(self, bench: Bench) -> Launcher:
        return EcsLauncher(
            cluster=bench.add_cluster(), task_definition=bench.add_task_definition(), launch_type="FARGATE"
        )
