"""A sweep's jobs on this machine: the same requests, code and runner, on the bench instead of AWS."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom_sagemaker.sweep import SageMakerSweep
from besom_sagemaker.template import read_template

if TYPE_CHECKING:
    from besom_sagemaker.bench import Bench

BUCKET = "s3://besom-dev"
_SECRET = "besom/dev"  # noqa: S105 - a name, not a secret
_REQUEST = {
    "AlgorithmSpecification": {"TrainingImage": "this-python", "TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/output"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "RoleArn": "arn:aws:iam::123456789012:role/Dev",
}


@contextmanager
def dev_sweep(
    file: str | Path | Mapping[str, Any],
    job: Any,
    channels: Mapping[str, Path],
    secrets: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Generator[tuple[SageMakerSweep, Bench]]:
    """Give a sweep whose jobs run on a bench of this process; leaving ends what still runs.

    `job` is a template as `SageMakerSweep` takes it, None for one that fits any program; `channels` fill its
    input channels. References to secrets of this machine are pushed to the bench.
    """
    from besom_sagemaker.bench import started
    from besom_sagemaker.secrets import push, read_references

    with tempfile.TemporaryDirectory(prefix="besom-dev-") as folder, started(Path(folder)) as bench:
        known = {one.name: str(one) for one in read_references(secrets)}
        with bench.aws():
            template = read_template(dict(_REQUEST) if job is None else job)
            inputs = {name: f"{BUCKET}/data/{name}" for name in channels}
            _fill(bench, template.request, channels, inputs)
            if known:
                known = dict(push(known, _SECRET).references)
            chosen: dict[str, Any] = {"poll_seconds": 0.5, "secrets": known or None, **settings}
            template = read_template(
                {**template.request, **template.options, **_code(template)}, inputs=inputs or None
            )
            yield SageMakerSweep(template, file, **chosen), bench


def print_logs(bench: Bench, show: Callable[[str], object]) -> None:
    """Show what the jobs of a bench have printed, each line with its job's name."""
    for name in bench.lives:
        for line in bench.log(name).splitlines():
            show(f"{name} | {line}")


def _code(template: Any) -> dict[str, Any]:
    found = {"program": template.program, "source_dir": template.source_dir}
    return {name: str(value) for name, value in found.items() if value is not None}


def _fill(
    bench: Bench, request: Mapping[str, Any], channels: Mapping[str, Path], inputs: Mapping[str, str]
) -> None:
    """Make the buckets that the request names, and put the data of its channels there."""
    from besom_sagemaker.s3 import split_s3

    output = request.get("OutputDataConfig", {}).get("S3OutputPath") or BUCKET
    for bucket in {split_s3(BUCKET)[0], split_s3(output)[0]}:
        bench.add_bucket(bucket)
    for name, place in channels.items():
        bench.add_data(inputs[name], place)
