from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
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

# Where environments of other SDKs are, or will be put: made once, and kept for every checkout.
ENVIRONMENTS = Path(os.environ.get("BESOM_TEST_CACHE", Path.home() / ".cache" / "besom-tests"))


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


def environment(name: str, packages: Sequence[str]) -> Path:
    """Give a virtual environment with these packages."""
    home = ENVIRONMENTS / name
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may come at once
        if not (home / "ready").exists():
            python, uv = home / "bin" / "python", Path(sys.executable).parent / "uv"
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            by_uv = [str(uv), "pip", "install", "--python", str(python)]
            pip = by_uv if uv.exists() else [str(python), "-m", "pip", "install"]
            subprocess.run([*pip, "-q", *packages], check=True)
            (home / "ready").touch()
    return home


@pytest.fixture(scope="session")
def v2_python() -> Path:
    """The Python of an environment with SDK v2, which cannot be in one with v3."""
    engine = ["click>=8.1", "pyyaml>=6", "rich>=13.7", "scipy>=1.10", "threadpoolctl>=3"]
    return environment("sagemaker-v2", ["sagemaker>=2.257,<3", *engine]) / "bin" / "python"


@pytest.fixture(scope="session")
def toolkit() -> Path:
    """An environment with SageMaker's own toolkit."""
    return environment("sagemaker-training-5.1.4", ["sagemaker-training==5.1.4"])
