"""The life of one training job: what SageMaker does with a CreateTrainingJob request, on this machine."""

from __future__ import annotations

import json
import math
import os
import re
import select
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from besom_sagemaker.bench.container import HOST_PATH, Container, start_container
from besom_sagemaker.s3 import S3

TICK = 0.1
SYNC = 1.0  # seconds between two looks at the checkpoints
CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity"
    " error. Please retry using a different ML instance type or after some time."
)


@dataclass(slots=True)
class World:
    """What jobs share."""

    s3: S3
    folder: Path
    image: Callable[[str], Path]  # a TrainingImage -> its bin folder
    environment: Mapping[str, str]  # AWS's variables
    write_log: Callable[[str, list[str]], None]  # a log stream and new lines
    enclosed: bool
    grace: float = 120.0  # from SIGTERM to SIGKILL


@dataclass(slots=True)
class JobLife:
    """A job between its creation and its end; `tell` puts what is known of it where Describe finds it."""

    world: World
    request: Mapping[str, Any]
    tell: Callable[..., None]
    note: Callable[[str, str], None]  # a secondary status and its message
    lacks_capacity: bool = False
    stopping: bool = False
    interruptions: int = 0  # asked for
    _interrupted: int = 0  # done
    _container: Container | None = None
    _asked_at: float = math.inf  # when the present container was told to end
    _warned: bool = True  # whether it gets SIGTERM and a while before SIGKILL
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _metrics: dict[str, float] = field(default_factory=dict[str, float])
    _synced: dict[Path, float] = field(default_factory=dict[Path, float])

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.request["TrainingJobName"])

    @property
    def root(self) -> Path:
        """The folder that is /opt/ml in the present container."""
        return self.world.folder / self.name / str(self._interrupted + 1) / "ml"

    def live(self) -> None:
        """Go from Starting to the end."""
        began = time.monotonic()
        if self.lacks_capacity:
            self._end("Failed", "Failed", CAPACITY, billable=0.0)
            return
        while True:
            self.note("Starting", "Preparing the instances for training")
            self._download()
            if self._over():
                break
            code, overdue = self._train(began)
            self._sync()
            if self._interrupted >= self.interruptions or self._over() or overdue:
                self._conclude(code, time.monotonic() - began, overdue=overdue)
                return
            self._renew()
            self.note("Interrupted", "Training job interrupted due to insufficient capacity")
        self._end("Stopped", "Stopped", None, billable=0.0)

    def stop(self) -> None:
        """Do what StopTrainingJob does."""
        self.stopping = True
        self.tell(training_job_status="Stopping")
        self.note("Stopping", "Stopping the training job")
        self._end_container()

    def interrupt(self, *, warn: bool = True) -> None:
        """Take the spot instance away, with SIGTERM and two minutes before, or at once."""
        with self._lock:
            self.interruptions += 1
            self._end_container(warn=warn)

    def kill(self) -> None:
        """End the container, whatever is in it."""
        self.stopping = True
        self._end_container(warn=False)
        if self._container is not None:
            self._container.kill()

    def _over(self) -> bool:
        return self.stopping

    def _renew(self) -> None:
        """Take note that the interruptions so far are done with."""
        with self._lock:
            self._interrupted = self.interruptions
            if not self.stopping:
                self._asked_at, self._warned = math.inf, True

    def _end_container(self, *, warn: bool = True) -> None:
        """Have the container ended, or the next one, if it has not been started yet."""
        self._warned = self._warned and warn
        self._asked_at = min(self._asked_at, time.monotonic())

    # ---- before

    def _download(self) -> None:
        self.note("Downloading", "Downloading input data")
        root = self.root
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root.parent / "hosts").write_text("127.0.0.1 localhost algo-1\n")
        channels: dict[str, Any] = {}
        for channel in self.request.get("InputDataConfig") or ():
            name = channel["ChannelName"]
            channels[name] = {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            }
            self._fetch(channel["DataSource"]["S3DataSource"]["S3Uri"], root / "input" / "data" / name)
        instance = self.request["ResourceConfig"].get("InstanceType", "ml.m5.large")
        group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": ["algo-1"]}
        files = {
            "hyperparameters": self.request.get("HyperParameters") or {},
            "inputdataconfig": channels,
            "init-config": {},
            "resourceconfig": {
                "current_host": "algo-1",
                "current_instance_type": instance,
                "current_group_name": "homogeneousCluster",
                "hosts": ["algo-1"],
                "instance_groups": [group],
                "network_interface_name": "lo",
            },
        }
        for name, body in files.items():
            (root / "input" / "config" / f"{name}.json").write_text(json.dumps(body))
        if (kept := self._kept()) is not None:
            kept[1].mkdir(parents=True, exist_ok=True)
            self.world.s3.fetch_all(kept[0], kept[1])
            self._synced = {path: path.stat().st_mtime for path in kept[1].rglob("*") if path.is_file()}

    def _fetch(self, uri: str, folder: Path) -> None:
        """Fetch a channel: everything below a prefix, or one object."""
        folder.mkdir(parents=True, exist_ok=True)
        prefix, _, last = uri.rpartition("/")
        for name in self.world.s3.names(f"{prefix}/"):
            if name.startswith(last):
                inside = name[len(last) :].lstrip("/") if name != last else name
                if inside and not inside.endswith("/"):
                    self.world.s3.fetch(f"{prefix}/{name}", folder / inside)

    def _kept(self) -> tuple[str, Path] | None:
        """Give the prefix that checkpoints are kept at, and their folder."""
        config = self.request.get("CheckpointConfig")
        if not config:
            return None
        local = Path(config.get("LocalPath") or "/opt/ml/checkpoints")
        inside = local.relative_to("/opt/ml") if local.is_relative_to("/opt/ml") else Path(local.name)
        return config["S3Uri"].rstrip("/") + "/", self.root / inside

    # ---- while it trains

    def _train(self, began: float) -> tuple[int, bool]:
        """Run the container; gives its exit code and whether its time ran out."""
        self.note("Training", "Training image download completed. Training in progress.")
        self.tell(training_start_time=None)
        container = self._container = start_container(
            self.root, self._argv(), self._environment(), enclosed=self.world.enclosed
        )
        stopping: Mapping[str, Any] = self.request.get("StoppingCondition") or {}
        longest = float(stopping.get("MaxRuntimeInSeconds") or 86400)
        log = _Log(container, self._print)
        sync_at, overdue, told = time.monotonic() + SYNC, False, False
        while log.read():
            now = time.monotonic()
            if now - began > longest and not overdue:
                overdue = True
                self._end_container()
            if self._warned and not told and now >= self._asked_at:
                told = container.terminate()
            if now >= self._asked_at + (self.world.grace if self._warned else 0.0):
                container.kill()
            if now > sync_at:
                self._sync()
                sync_at = time.monotonic() + SYNC
        code = container.process.wait()
        container.kill()  # what it left behind
        log.close()
        return (code if code >= 0 else 128 - code), overdue

    def _argv(self) -> list[str]:
        algorithm = self.request["AlgorithmSpecification"]
        words = [*(algorithm.get("ContainerEntrypoint") or ()), *(algorithm.get("ContainerArguments") or ())]
        return words or ["train"]

    def _environment(self) -> dict[str, str]:
        image = self.world.image(self.request["AlgorithmSpecification"].get("TrainingImage", ""))
        measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        return {
            **measured,
            **(self.request.get("Environment") or {}),
            "PATH": f"{image}:{HOST_PATH}",
            "HOME": "/root" if self.world.enclosed else str(self.root),
            "LANG": "C.UTF-8",
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{self.name}",
            "CURRENT_HOST": "algo-1",
            "SAGEMAKER_REGION": "us-east-1",
            **self.world.environment,
        }

    def _print(self, lines: list[str]) -> None:
        self.world.write_log(f"{self.name}/algo-1-{self._interrupted + 1}", lines)
        for definition in self.request["AlgorithmSpecification"].get("MetricDefinitions") or ():
            for line in lines:
                if (found := re.search(definition["Regex"], line)) is not None:
                    self._measure(definition["Name"], found[1])

    def _measure(self, name: str, text: str) -> None:
        try:
            self._metrics[name] = float(text)
        except ValueError:
            return
        self.tell(metrics=dict(self._metrics))

    def _sync(self) -> None:
        """Keep the checkpoints that are new in S3."""
        if (kept := self._kept()) is None:
            return
        for path in kept[1].rglob("*"):
            try:
                if path.is_file() and self._synced.get(path) != (changed := path.stat().st_mtime):
                    self.world.s3.upload(path, kept[0] + str(path.relative_to(kept[1])))
                    self._synced[path] = changed
            except FileNotFoundError:  # noqa: PERF203 - replaced meanwhile
                continue

    # ---- at its end

    def _conclude(self, code: int, seconds: float, *, overdue: bool) -> None:
        self.note("Uploading", "Uploading generated training model")
        output = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        for name, file in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            folder = self.root / name
            if any(folder.iterdir()):
                archive = self.root.parent / file
                with tarfile.open(archive, "w:gz") as packed:
                    packed.add(folder, ".")
                self.world.s3.upload(archive, f"{output}/{self.name}/output/{file}")
        failure = self.root / "output" / "failure"
        if overdue:
            self._end("Stopped", "MaxRuntimeExceeded", None, billable=seconds)
        elif self.stopping:
            self._end("Stopped", "Stopped", None, billable=seconds)
        elif code == 0:
            self._end("Completed", "Completed", None, billable=seconds)
        else:
            said = failure.read_text(errors="replace") if failure.exists() else ""
            self._end(
                "Failed", "Failed", f"AlgorithmError: {said}, exit code: {code}"[:1024], billable=seconds
            )

    def _end(self, status: str, secondary: str, reason: str | None, *, billable: float) -> None:
        seconds = max(1, round(billable)) if billable else 0
        self.note(secondary, reason or "")
        self.tell(
            training_job_status=status,
            failure_reason=reason,
            training_end_time=None,
            training_time_in_seconds=seconds,
            billable_time_in_seconds=seconds,
        )


class _Log:
    """Reads what a container prints, line by line, without waiting for more than a tick."""

    def __init__(self, container: Container, write: Callable[[list[str]], None]) -> None:
        assert container.process.stdout is not None
        self._fd = container.process.stdout.fileno()
        self._write = write
        self._rest = b""
        self._container = container

    def close(self) -> None:
        """Let go of the container's output."""
        if self._container.process.stdout is not None:
            self._container.process.stdout.close()

    def read(self) -> bool:
        """Take what there is; False once the container has ended and all is read."""
        ready, _, _ = select.select([self._fd], [], [], TICK)
        if not ready:
            return self._container.process.poll() is None
        block = os.read(self._fd, 1 << 16)
        if not block:
            if self._rest:
                self._write([self._rest.decode("utf-8", "replace")])
            return False
        *lines, self._rest = (self._rest + block).split(b"\n")
        if lines:
            self._write([line.decode("utf-8", "replace").rstrip("\r") for line in lines])
        return True
