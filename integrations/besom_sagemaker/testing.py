"""A pytest fixture for code that runs on SageMaker.

With `pytest_plugins = ["besom_sagemaker.testing"]` in a conftest.py:

    def test_a_job_trains(sagemaker_bench):
        role, bucket = sagemaker_bench.add_role(), sagemaker_bench.add_bucket("b")
        ...                                          # submit with boto3 or an SDK
        assert sagemaker_bench.wait("my-job")["TrainingJobStatus"] == "Completed"
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from besom_sagemaker.bench import Bench, started


@pytest.fixture
def sagemaker_bench(tmp_path: Path) -> Generator[Bench]:
    """A SageMaker of its own for one test, and this process's AWS clients talking to it."""
    with started(tmp_path / "sagemaker") as bench, bench.aws():
        yield bench
