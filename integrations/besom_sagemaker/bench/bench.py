"""The bench: one object that starts everything, and by which tests and people reach into it."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom_sagemaker.bench.container import make_image, namespaces
from besom_sagemaker.bench.control import RUNNING, Control, Faults, controlled
from besom_sagemaker.bench.life import JobLife, World
from besom_sagemaker.s3 import S3, split_s3

log = logging.getLogger(__name__)

REGION = "us-east-1"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


class Bench:
    """SageMaker on this machine; made by `started`."""

    def __init__(self, folder: Path, endpoint: str, *, enclosed: bool | None, grace: float) -> None:
        self.folder = folder
        self.endpoint = endpoint
        """What AWS_ENDPOINT_URL is."""
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        """How often each operation on training jobs was called."""
        self.images: dict[str, Path] = {}
        """TrainingImage (or a part of it) -> a Python environment that plays it; others see this Python's."""
        self.lives: dict[str, JobLife] = {}
        self._clients: dict[str, Any] = {}
        self._threads: list[threading.Thread] = []
        self._log_lock = threading.Lock()
        self._streams: set[str] = set()
        self._image_lock = threading.Lock()
        self.client("logs").create_log_group(logGroupName=LOG_GROUP)
        self.world = World(
            s3=S3(self.client("s3")),
            folder=folder / "jobs",
            image=self._image,
            environment=self.environment,
            write_log=self._write_log,
            enclosed=namespaces() is not None if enclosed is None else enclosed,
            grace=grace,
        )

    # ---- how to reach it

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make any AWS client talk to the bench."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    @contextmanager
    def aws(self) -> Generator[None]:
        """Inside, this process's AWS clients talk to the bench."""
        gone = {"AWS_PROFILE": None, "AWS_SESSION_TOKEN": None}
        wanted: dict[str, str | None] = {**self.environment, **gone}
        before = {name: os.environ.get(name) for name in wanted}
        _set(wanted)
        try:
            yield
        finally:
            _set(before)

    def client(self, service: str) -> Any:
        """Give a boto3 client of the bench; the same one for each service."""
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            self._clients[service] = boto3.client(  # pyright: ignore
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id="bench",
                aws_secret_access_key="bench",  # noqa: S106 - moto takes any
                config=Config(max_pool_connections=32),
            )
        return self._clients[service]

    def add_bucket(self, name: str) -> str:
        """Make a bucket; gives its `s3://` address."""
        self.client("s3").create_bucket(Bucket=name)
        return f"s3://{name}"

    def add_role(self, name: str = "SageMakerRole") -> str:
        """Make a role that training jobs may take; gives its ARN."""
        trust = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",'
            ' "Principal": {"Service": "sagemaker.amazonaws.com"}}]}'
        )
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        return str(made["Role"]["Arn"])

    def add_data(self, address: str, path: Path) -> None:
        """Put a file, or all files of a folder, below an `s3://` prefix; its bucket is made if need be."""
        bucket, _ = split_s3(address)
        if bucket not in {found["Name"] for found in self.client("s3").list_buckets()["Buckets"]}:
            self.add_bucket(bucket)
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                inside = file.name if path.is_file() else str(file.relative_to(path))
                self.world.s3.upload(file, f"{address.rstrip('/')}/{inside}")

    # ---- jobs

    def describe(self, name: str) -> dict[str, Any]:
        """Give what DescribeTrainingJob says."""
        found: dict[str, Any] = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        return found

    def wait(self, name: str, timeout: float = 60.0) -> dict[str, Any]:
        """Give what DescribeTrainingJob says once the job has ended; TimeoutError if it does not."""
        self.until(lambda: self.describe(name)["TrainingJobStatus"] not in RUNNING, timeout, name)
        return self.describe(name)

    def until(self, holds: Callable[[], object], timeout: float = 30.0, what: str = "it") -> None:
        """Wait until something holds; TimeoutError, with the log of job `what`, if it does not."""
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout:g} s for {what}; its log:\n{self.log(what)}")
            time.sleep(0.05)

    def interrupt(self, name: str, *, warn: bool = True) -> None:
        """Take a job's spot instance away; it is started again."""
        self.lives[name].interrupt(warn=warn)

    def log(self, name: str) -> str:
        """Give all that a job has printed."""
        lines: list[str] = []
        for stream in sorted(found for found in self._streams if found.startswith(f"{name}/")):
            token: dict[str, str] = {}
            while True:
                page = self.client("logs").get_log_events(
                    logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token
                )
                if not page["events"]:
                    break
                lines += [event["message"] for event in page["events"]]
                token = {"nextToken": page["nextForwardToken"]}
        return "\n".join(lines)

    def close(self) -> None:
        """End everything that runs."""
        for life in self.lives.values():
            life.stopping = True
            life.kill()
        for thread in self._threads:
            thread.join(10)

    # ---- inside

    def begin(self, job: Any, request: Mapping[str, Any], lacks_capacity: bool) -> None:
        """Start a job that the control plane has taken; `job` is moto's record of it."""

        def tell(*, metrics: Mapping[str, float] | None = None, **changes: Any) -> None:
            now = _now()
            for name in ("training_start_time", "training_end_time"):
                if name in changes:
                    changes[name] = now
            if metrics is not None:
                changes["final_metric_data_list"] = [
                    {"MetricName": name, "Value": value, "Timestamp": now} for name, value in metrics.items()
                ]
            for name, value in changes.items():
                setattr(job, name, value)
            job.last_modified_time = now

        def note(status: str, message: str) -> None:
            now = _now()
            if job.secondary_status_transitions:
                job.secondary_status_transitions[-1]["EndTime"] = now
            step = {"Status": status, "StartTime": now, "StatusMessage": message}
            job.secondary_status_transitions.append(step)
            tell(secondary_status=status)

        life = JobLife(self.world, request, tell, note, lacks_capacity)
        self.lives[life.name] = life
        thread = threading.Thread(target=self._live, args=(life, tell), name=f"job-{life.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self, life: JobLife, tell: Callable[..., None]) -> None:
        try:
            life.live()
        except Exception as error:
            log.exception("job %s", life.name)
            tell(training_job_status="Failed", failure_reason=f"InternalServerError: {error}")

    def stop(self, name: str) -> None:
        """Do what StopTrainingJob does."""
        self.lives[name].stop()

    def _image(self, image: str) -> Path:
        """Give the bin folder that a TrainingImage stands for, made anew for each job."""
        parent = next((path for part, path in self.images.items() if part in image), None)
        with self._image_lock:
            folder = self.folder / "images" / f"{len(list((self.folder / 'images').glob('*')))}"
            return _with_programs(make_image(folder, parent), parent)

    def _write_log(self, stream: str, lines: list[str]) -> None:
        client = self.client("logs")
        with self._log_lock:
            if stream not in self._streams:
                client.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
                self._streams.add(stream)
            now = int(time.time() * 1000)
            for start in range(0, len(lines), 1000):
                events = [
                    {"timestamp": now, "message": line[:200_000] or " "}
                    for line in lines[start : start + 1000]
                ]
                client.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


def _with_programs(programs: Path, parent: Path | None) -> Path:
    """Let an image have the programs of the environment that plays it, such as `train`."""
    for program in (parent / "bin").iterdir() if parent is not None else ():
        if not re.match(r"(python|pip|activate)", program.name.lower()):
            (programs / program.name).symlink_to(program)
    return programs


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _now() -> datetime:
    return datetime.now(timezone.utc)


@contextmanager
def started(folder: Path, *, enclosed: bool | None = None, grace: float = 120.0) -> Generator[Bench]:
    """Start a bench that keeps its files in `folder`; leaving ends all jobs.

    `enclosed` says whether containers have namespaces of their own (None: if the kernel lets us), `grace` is
    what jobs have between SIGTERM and SIGKILL. One bench per process: moto's memory is the process's.
    """
    try:
        from moto.moto_api._internal.models import moto_api_backend
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise UsageError(
            f"the bench plays AWS with moto's server, and there is no module {error.name!r} here;"
            " pip install 'besom[sagemaker-dev]' brings it"
        ) from error
    (folder / "images").mkdir(parents=True, exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
    moto_api_backend.reset()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        bench = Bench(folder.resolve(), f"http://{host}:{port}", enclosed=enclosed, grace=grace)
        stack.callback(bench.close)
        control = Control(bench.faults, bench.calls, bench.begin, bench.stop)
        stack.enter_context(controlled(control))
        yield bench
