from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from besom.journal import Account, read_account
from besom_sagemaker.bench import Bench, started
from besom_sagemaker.inside import boot
from besom_sagemaker.job import (
    BOOT,
    CHANNEL,
    ENTRYPOINT,
    JOB_CHANNEL,
    MANY_CHECKPOINTS,
    SOURCE,
    JobDocument,
    Layout,
    RunSpec,
    RunStatus,
    StopRequest,
    read_status,
)
from besom_sagemaker.transport import fetch_journal

BUCKET = "sweeps"


@dataclass
class Lab:
    """A bench with a sweep's place in S3, and jobs by the contract, without the client that plans them."""

    bench: Bench
    folder: Path
    role: str
    layout: Layout = field(default_factory=lambda: Layout(f"s3://{BUCKET}/besom/s1"))

    def spec(self, run_id: str, params: Mapping[str, Any], *, attempt: int = 1, **more: Any) -> RunSpec:
        prefix = self.layout.run(run_id, attempt)
        return RunSpec(run_id, attempt, 1, run_id, params, prefix, **more)

    def submit(
        self,
        name: str,
        script: str,
        runs: tuple[RunSpec, ...],
        *,
        wheel: bytes | None = None,
        files: Mapping[str, bytes] | None = None,
        request: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        channels: Sequence[Mapping[str, Any]] = (),
        sweep_id: str = "s1",
        **document: Any,
    ) -> None:
        """Create a job that runs `script` as train.py once for each run."""
        sha = f"{hash((script, wheel)) & 0xFFFFFFFF:x}"
        channel = {BOOT: Path(boot.__file__).read_bytes(), SOURCE: tar_gz({"train.py": script.encode()})}
        channel |= files or {}
        if wheel is not None:
            channel["besom-0.whl"] = wheel
        names = {name for run in runs for name in run.params}
        sweep = {"program": "train.py", "method": "random", **(config or {})}
        sweep.setdefault(
            "parameters", {name: {"min": 0.0, "max": 1.0} for name in names} or {"x": {"value": 0}}
        )
        told = JobDocument(sweep_id, name, sweep, runs=runs, **document)
        s3 = self.bench.world.s3
        for file, body in channel.items():
            s3.put(self.layout.code(sha) + file, body)
        s3.put(f"{self.layout.job(name)}job.json", told.to_json().encode())
        checkpoints = {"S3Uri": self.layout.checkpoints(runs[0].run_id if len(runs) == 1 else name)}
        if len(runs) > 1:
            checkpoints["LocalPath"] = MANY_CHECKPOINTS
        wanted: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": list(ENTRYPOINT),
            },
            "InputDataConfig": [
                s3_channel(CHANNEL, self.layout.code(sha)),
                s3_channel(JOB_CHANNEL, self.layout.job(name)),
                *channels,
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "CheckpointConfig": checkpoints,
            **(request or {}),
        }
        self.bench.client("sagemaker").create_training_job(**wanted)

    def status(self, spec: RunSpec) -> RunStatus | None:
        text = self.bench.world.s3.get(spec.prefix + "status.json")
        return read_status(text) if text else None

    def account(self, spec: RunSpec) -> Account:
        path = self.folder / f"{spec.run_id}.{spec.attempt}.jsonl"
        fetch_journal(self.bench.world.s3, spec.prefix, path)
        return read_account(path)

    def logged(self, spec: RunSpec) -> list[dict[str, Any]]:
        self.account(spec)
        path = self.folder / f"{spec.run_id}.{spec.attempt}.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        return [entry["body"]["data"] for entry in entries if entry["kind"] == "history"]

    def stop(self, spec: RunSpec, request: StopRequest) -> None:
        self.bench.world.s3.put(spec.prefix + "stop.json", request.to_json().encode())

    def prints(self, name: str, text: str, timeout: float = 30.0) -> None:
        self.bench.until(lambda: text in self.bench.log(name), timeout, name)


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return packed.getvalue()


def s3_channel(name: str, prefix: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": prefix, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


@pytest.fixture
def make_lab(tmp_path: Path) -> Generator[Callable[..., Lab]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(**options: Any) -> Lab:
            bench = stack.enter_context(started(tmp_path / "bench", **options))
            stack.enter_context(bench.aws())
            bench.add_bucket(BUCKET)
            return Lab(bench, tmp_path, bench.add_role())

        yield make


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()
