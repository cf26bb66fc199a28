"""Parameters reach the program of a training job as they are, whatever they hold."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the SDK, which is not ours

HOSTILE: dict[str, Any] = {
    "model.lr": 0.1,
    "quotes": 'it\'s "quoted" \\ and `back`',
    "shell": "$(touch /tmp/besom-was-executed) ; rm -rf $HOME && exit 1",
    "lines": "one\ntwo\r\n\tthree",
    "long": "x" * 3000,
    "nested": {"a": {"b": [1, 2.5, None, True]}, "c": "1e-3", "d.e": {}},
    "list": [1, "2", 3.0, [False]],
    "yes": True,
    "no": False,
    "nothing": None,
    "number_as_text": "1e-3",
    "whole_float": 1.0,
    "big": 2**60,
    "flag": "--yes=0",
    "empty": "",
}
SHOW = """
import json, os, besom

run = besom.init()
seen = {"config": run.config.as_dict(), "hps": json.loads(os.environ["SM_HPS"])}
run.log({"loss": 1.0})
print("SEEN " + json.dumps(seen))
"""


def plain(bench: Bench, request: dict[str, Any]) -> Any:
    return request


def trainer(bench: Bench, request: dict[str, Any]) -> Any:
    import boto3

    sessions = importlib.import_module("sagemaker.core.helper.session_helper")
    train = importlib.import_module("sagemaker.train")
    configs = importlib.import_module("sagemaker.train.configs")
    return train.ModelTrainer(
        sagemaker_session=sessions.Session(boto_session=boto3.Session(), default_bucket="artifacts"),
        role=bench.add_role(),
        training_image=request["AlgorithmSpecification"]["TrainingImage"],
        source_code=configs.SourceCode(source_dir="src", entry_script="train.py"),
        compute=configs.Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
        output_data_config=configs.OutputDataConfig(s3_output_path="s3://artifacts/out"),
    )


def seen_by(bench: Bench, template: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the program of a sweep's first run has found, and that its log has come home."""
    sweep = {"program": "train.py", "method": "random", "metric": {"name": "loss"}, "parameters": parameters}
    source = "src" if isinstance(template, dict) else None
    found = SageMakerSweep(template, sweep, count=1, poll_seconds=0.2, requirements=None, source_dir=source)
    assert found.run().exit_code == 0
    (run,) = found.runs()
    assert run.state is RunState.FINISHED, run.error
    lines = (Path(".besom") / "runs" / run.id / "output.log").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("SEEN "))
    shown: dict[str, Any] = json.loads(line.removeprefix("SEEN "))
    assert shown["config"] == dict(run.params)
    return shown


@pytest.mark.parametrize("make", [plain, trainer])
def test_hostile_parameters_of_a_sweep_arrive_with_exact_types(
    bench: Bench,
    folder: Path,
    request_on: Callable[..., dict[str, Any]],
    make: Callable[[Bench, dict[str, Any]], Any],
) -> None:
    (folder / "src" / "train.py").write_text(SHOW)
    template = make(bench, request_on(bench))
    shown = seen_by(bench, template, {name: {"value": value} for name, value in HOSTILE.items()})
    for place in ("config", "hps"):
        assert json.dumps(shown[place], sort_keys=True) == json.dumps(HOSTILE, sort_keys=True)
    assert not Path("/tmp/besom-was-executed").exists()


def test_a_run_of_120_parameters_has_them_all(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]]
) -> None:
    (folder / "src" / "train.py").write_text(SHOW)
    names = [f"p{number}" for number in range(120)]
    shown = seen_by(bench, request_on(bench), {name: {"min": 0.0, "max": 1.0} for name in names})
    assert sorted(shown["hps"]) == sorted(names)
    assert {type(value) for value in shown["config"].values()} == {float}
