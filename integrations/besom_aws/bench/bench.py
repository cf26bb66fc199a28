"""The bench: one object that starts everything, and by which tests reach into it."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom_aws.bench.control import Control, Faults, controlled
from besom_aws.bench.life import Life, World, live_job, live_task

REGION = "us-east-1"
ACCOUNT = "123456789012"
VARIABLES = ("COVERAGE_", "BESOM_DIR", "HOME", "LANG", "PYTHON")


class Bench:
    """SQS, Batch and ECS on this machine; made by `started`."""

    def __init__(self, folder: Path, endpoint: str, *, place: Path, grace: float) -> None:
        self.folder = folder
        self.endpoint = endpoint
        """What AWS_ENDPOINT_URL is."""
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        """How often each operation was called."""
        self.lives: dict[str, Life] = {}
        """What runs or ran, by the job's id or the task's ARN."""
        self._clients: dict[str, Any] = {}
        self._closed = False
        self._world = World(folder, place, self._of_every_container, self._secret, grace)

    # ---- how to reach it

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make any AWS client talk to the bench."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    @contextmanager
    def aws(self) -> Generator[None]:
        """Inside, this process's AWS clients talk to the bench."""
        wanted: dict[str, str | None] = {
            **self.environment,
            "AWS_PROFILE": None,
            "AWS_SESSION_TOKEN": None,
        }
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

            session: Any = boto3.Session(
                aws_access_key_id="bench",
                aws_secret_access_key="bench",  # noqa: S106 - moto takes any
                region_name=REGION,
            )
            self._clients[service] = session.client(service, endpoint_url=self.endpoint)
        return self._clients[service]

    def add_queue(self, name: str = "sweeps", *, receives: int = 5, **attributes: str) -> str:
        """Make an SQS queue whose messages go to NAME-dead after so many receives; gives its URL."""
        sqs = self.client("sqs")
        fair = name.removesuffix(".fifo") != name
        kind = {"FifoQueue": "true"} if fair else {}
        dead = f"{name.removesuffix('.fifo')}-dead" + (".fifo" if fair else "")
        dead_url = sqs.create_queue(QueueName=dead, Attributes=kind)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        made = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive, **kind, **attributes})
        return str(made["QueueUrl"])

    def count(self, queue: str) -> tuple[int, int]:
        """Give how many messages of a queue may be taken, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def add_job_queue(self, name: str = "gpu") -> str:
        """Make a job queue of Batch; gives its name."""
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        role = self.client("iam").create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=trust)
        batch = self.client("batch")
        made = batch.create_compute_environment(
            computeEnvironmentName=f"{name}-hosts",
            type="UNMANAGED",
            state="ENABLED",
            serviceRole=role["Role"]["Arn"],
        )
        batch.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}],
        )
        return name

    def add_cluster(self, name: str = "research") -> str:
        """Make an ECS cluster; gives its name."""
        self.client("ecs").create_cluster(clusterName=name)
        return name

    def add_task_definition(self, family: str = "agent", *containers: str, **more: Any) -> str:
        """Register a task definition with containers of these names, `agent` by default; gives its family."""
        definitions = [
            {"name": name, "image": "trainer", "memory": 512, "cpu": 256, **more}
            for name in containers or ("agent",)
        ]
        self.client("ecs").register_task_definition(family=family, containerDefinitions=definitions)
        return family

    # ---- what runs

    def output(self, job: str) -> str:
        """Give what a job or task has printed, in all attempts."""
        path = self.folder / f"{job.replace(':', '-').replace('/', '-')}.log"
        return path.read_text() if path.exists() else ""

    def reclaim(self, job: str, *, warn: bool = True) -> None:
        """Take a job's spot host away, after a SIGTERM or at once."""
        self.lives[job].reclaim(warn=warn)

    def until(self, holds: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until something holds; TimeoutError, with all that was printed, if it does not."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                said = "\n".join(f"{path.name}: {path.read_text()}" for path in self.folder.glob("*.log"))
                raise TimeoutError(f"waited {seconds:g} s in vain; printed was:\n{said}")
            time.sleep(0.05)

    def close(self) -> None:
        """End everything that runs."""
        self._closed = True
        for life in self.lives.values():
            if life.container is not None:
                life.container.kill()

    # ---- inside

    def running_tasks(self) -> int:
        """Say how many tasks of ECS run."""
        tasks = [life for name, life in self.lives.items() if name.startswith("arn:")]
        return sum(life.container is None or life.container.exit_code is None for life in tasks)

    def start_job(self, job: Any, request: dict[str, Any]) -> None:
        """Start a job that Batch has taken; `job` is moto's record of it."""
        properties, overrides = job.job_definition.container_properties, request["containerOverrides"]
        _, _, index = str(job.job_id).partition(":")
        told = {"AWS_BATCH_JOB_ID": job.job_id, "AWS_BATCH_JQ_NAME": request["jobQueue"]}
        if index:
            told["AWS_BATCH_JOB_ARRAY_INDEX"] = index
        life = Life(
            self._world,
            str(job.job_id),
            overrides.get("command") or properties["command"],
            {**self._variables(properties, overrides), **told},
        )
        self._begin(str(job.job_id), life, lambda: live_job(life, job, request))

    def start_task(self, task: Any) -> None:
        """Start a task that ECS has placed; `task` is moto's record of it."""
        overrides: list[dict[str, Any]] = task.overrides.get("containerOverrides") or [{}]
        override = overrides[0]
        found = self.client("ecs").describe_task_definition(taskDefinition=task.task_definition_arn)
        definitions = {one["name"]: one for one in found["taskDefinition"]["containerDefinitions"]}
        definition = definitions[override.get("name") or next(iter(definitions))]
        metadata = f"http://169.254.170.2/v4/{task.id.replace('-', '')}-0000000001"
        environment = {
            **self._variables(definition, override),
            "ECS_CONTAINER_METADATA_URI_V4": metadata,
        }
        life = Life(self._world, task.task_arn, override.get("command") or definition["command"], environment)
        self._begin(task.task_arn, life, lambda: live_task(life, task))

    def _begin(self, name: str, life: Life, live: Callable[[], None]) -> None:
        if self._closed:
            return
        self.lives[name] = life
        threading.Thread(target=live, name=f"container-{name}", daemon=True).start()

    def _variables(self, definition: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, str]:
        named = [*(definition.get("environment") or ()), *(override.get("environment") or ())]
        secrets = {one["name"]: self._secret(one["valueFrom"]) for one in definition.get("secrets") or ()}
        return {**{one["name"]: one["value"] for one in named}, **secrets}

    def _of_every_container(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**own, **self.environment, "PATH": path}

    def _secret(self, place: str) -> str:
        """Give what AWS fills in for a `valueFrom`."""
        if ":secretsmanager:" not in place:
            got = self.client("ssm").get_parameter(Name=place, WithDecryption=True)
            return str(got["Parameter"]["Value"])
        words = place.split(":")
        document = self.client("secretsmanager").get_secret_value(SecretId=":".join(words[:7]))
        text = str(document["SecretString"])
        return str(json.loads(text)[words[7]]) if len(words) > 7 and words[7] else text


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def started(folder: Path, *, place: Path, grace: float = 30.0) -> Generator[Bench]:
    """Start a bench that keeps its files in `folder`; leaving ends everything that runs.

    Containers start in `place`; `grace` is what they have between SIGTERM and SIGKILL. One bench per process:
    moto's memory is the process's.
    """
    try:
        from moto.moto_api._internal.models import moto_api_backend
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise UsageError(
            f"the bench plays AWS with moto's server, and there is no module {error.name!r} here;"
            " pip install 'moto[batch,ecs,iam,secretsmanager,server,sqs,ssm]' brings it"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
    moto_api_backend.reset()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        bench = Bench(folder.resolve(), f"http://{host}:{port}", place=place, grace=grace)
        stack.callback(bench.close)
        control = Control(
            bench.faults,
            bench.calls,
            bench.start_job,
            bench.start_task,
            bench.running_tasks,
        )
        stack.enter_context(controlled(control))
        yield bench
