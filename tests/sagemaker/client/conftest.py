from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentOptions, run_agent
from besom.store import open_store
from besom.sweep import create_sweep
from besom.sweepfile import load
from besom_sagemaker.bench import Bench, started

PROGRAM = """
import argparse, os, time
import besom

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
chosen, _ = parser.parse_known_args()
run = besom.init()
for step in range(int(os.environ.get("STEPS", "3"))):
    print("trained", step, flush=True)
    run.log({"loss": (chosen.lr - 0.3) ** 2 + 1 / (step + 1)})
    run.check_stop()
    time.sleep(float(os.environ.get("PAUSE", "0")))
"""

SWEEP = """
program: train.py
method: random
seed: 7
run_cap: 8
metric: {name: loss, goal: minimize}
parameters: {lr: {min: 0.0, max: 1.0}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project: a sweep file and a source folder; besom keeps its things beside them."""
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "train.py").write_text(PROGRAM)
    (project / "sweep.yaml").write_text(SWEEP)
    for name in list(os.environ):
        if name.startswith("BESOM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BESOM_DIR", str(project / ".besom"))
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    with started(tmp_path / "sagemaker") as found, found.aws():
        yield found


@pytest.fixture
def request_on(folder: Path) -> Callable[..., dict[str, Any]]:
    """Makes a plain CreateTrainingJob request for the bench, whose bucket is there then."""

    def make(bench: Bench, **fields: Any) -> dict[str, Any]:
        return plain_request(bench.add_bucket("artifacts"), **fields)

    return make


def plain_request(bucket: str = "s3://artifacts", **fields: Any) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
            "TrainingInputMode": "File",
        },
        "RoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "OutputDataConfig": {"S3OutputPath": f"{bucket}/out"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **fields,
    }


@pytest.fixture
def request_of() -> Callable[..., dict[str, Any]]:
    """Makes a plain CreateTrainingJob request that is not submitted anywhere."""
    return plain_request


@pytest.fixture
def local_results(folder: Path) -> Callable[[], list[tuple[Any, ...]]]:
    """Gives what the same sweep gives on this machine, by an ordinary agent."""

    def run() -> list[tuple[Any, ...]]:
        store = open_store(f"sqlite:///{folder}/local.db")
        (folder / "train.py").write_text((folder / "src" / "train.py").read_text())
        sweep = create_sweep(store, load(folder / "sweep.yaml"))
        run_agent(store, sweep.id, AgentOptions(workers=2))
        found = [(run.number, run.state, run.params, run.value) for run in store.list_runs(sweep.id)]
        store.close()
        return found

    return run
