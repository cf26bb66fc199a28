# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false

"""Templates from the real SDKs: a ModelTrainer of this environment, a v2 estimator of one of its own."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom.store import open_store
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the SDKs, which are not ours
]


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that does not phone home."""
    config = tmp_path / "sdk.yaml"
    config.write_text(
        "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n"
    )
    monkeypatch.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))


def sdk(module: str) -> Any:
    """Import a module of the SDK, whose types are not told."""
    return importlib.import_module(f"sagemaker.{module}")


def test_a_sweep_over_a_model_trainer(
    bench: Bench, folder: Path, quiet: None, local_results: Callable[[], list[tuple[Any, ...]]]
) -> None:
    import boto3

    bench.add_bucket("artifacts")
    session = sdk("core.helper.session_helper").Session(
        boto_session=boto3.Session(), default_bucket="artifacts"
    )
    configs = sdk("train.configs")

    trainer = sdk("train").ModelTrainer(
        sagemaker_session=session,
        role=bench.add_role(),
        training_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
        base_job_name="demo",
        source_code=configs.SourceCode(source_dir="src", entry_script="train.py"),
        compute=configs.Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
        output_data_config=configs.OutputDataConfig(s3_output_path="s3://artifacts/out"),
        hyperparameters={"epochs": 3},
    )
    sweep = SageMakerSweep(trainer, "sweep.yaml", max_jobs=4, poll_seconds=0.3)
    assert sweep.template.source == "channel:code"
    assert sweep.template.program == "train.py"
    assert bench.calls["CreateTrainingJob"] == 0
    assert sweep.run().exit_code == 0
    assert [run.state for run in sweep.runs()] == [RunState.FINISHED] * 8
    found = [(run.number, run.state, run.params, run.value) for run in sweep.runs()]
    assert found == local_results()


def test_the_request_of_a_model_trainer_is_still_to_be_had() -> None:
    """A method of the SDK that it calls its own: this fails on the day that it goes."""
    import inspect

    trainer = sdk("train").ModelTrainer
    taken = inspect.signature(trainer._create_training_job_args).parameters
    assert {"input_data_config", "boto3"} <= set(taken)


V2_SCRIPT = """
import json, os, sys
import boto3, sagemaker
from sagemaker.pytorch import PyTorch
from besom_sagemaker import SageMakerSweep

session = sagemaker.Session(boto_session=boto3.Session(), default_bucket="artifacts")
estimator = PyTorch(entry_point="train.py", source_dir="src", role=sys.argv[1], framework_version="2.5",
    py_version="py311", instance_count=1, instance_type="ml.m5.large", sagemaker_session=session,
    hyperparameters={"epochs": 3}, output_path="s3://artifacts/out")
sweep = SageMakerSweep(estimator, "sweep.yaml", inputs={"train": "s3://artifacts/data"}, max_jobs=4,
    poll_seconds=0.3, toolkit=sys.argv[2] == "toolkit", requirements=None)
assert estimator.latest_training_job is None and type(session) is sagemaker.Session
print(json.dumps(sweep.template.request))
sys.exit(sweep.run().exit_code)
"""


@pytest.fixture(params=["besom", "toolkit"])
def started_by(request: pytest.FixtureRequest, bench: Bench) -> str:
    """What starts the programs of jobs; the toolkit is the real sagemaker-training, in its own image."""
    name: str = request.param
    if name == "toolkit":
        bench.images["pytorch-training"] = request.getfixturevalue("toolkit")
    return name


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("quiet")
def test_a_sweep_over_a_v2_estimator(
    bench: Bench,
    folder: Path,
    v2_python: Path,
    started_by: str,
    local_results: Callable[[], list[tuple[Any, ...]]],
) -> None:
    bench.add_bucket("artifacts")
    data = folder / "data.txt"
    data.write_text("x")
    bench.add_data("s3://artifacts/data", data)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [v2_python, "-c", V2_SCRIPT, bench.add_role(), started_by],
        env={**os.environ, "PYTHONPATH": f"{root / 'core'}{os.pathsep}{root / 'integrations'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert made["AlgorithmSpecification"]["TrainingImage"].endswith("pytorch-training:2.5-cpu-py311")
    assert [channel["ChannelName"] for channel in made["InputDataConfig"]] == ["train"]
    store = open_store()
    (sweep,) = store.list_sweeps()
    runs = store.list_runs(sweep.id)
    store.close()
    assert [run.state for run in runs] == [RunState.FINISHED] * 8
    assert [(run.number, run.state, run.params, run.value) for run in runs] == local_results()
    logs = [bench.log(name) for name in bench.lives]
    assert all(("Invoking user script" in log) is (started_by == "toolkit") for log in logs)
    assert len(bench.lives) == 8, "the estimator itself submitted nothing"
