"""Starts agents as one array job of AWS Batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from besom.errors import UsageError
from besom.launch.base import AgentJob, Launched
from besom.launch.pairs import parse_pairs
from besom_aws.aws import create_client, explained
from besom_aws.options import BATCH_OPTIONS
from besom_aws.request import (
    agent_command,
    in_hundreds,
    named,
    parse_environment,
    parse_secrets,
    require_valid,
    shown,
    store_variable,
)

if TYPE_CHECKING:
    import click

LARGEST = 10_000
"""The jobs of an array, at most."""

EVALUATE_ON_EXIT = (
    # The first that fits decides; five are allowed. Tried again is what a host took with it, or an agent that
    # was told to end, was killed, or lost its store. What would fail again is not.
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onExitCode": "143", "action": "RETRY"},
    {"onExitCode": "137", "action": "RETRY"},
    {"onExitCode": "4", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
)
_GONE = ("SUCCEEDED", "FAILED")


class BatchLauncher:
    """As an array job of AWS Batch, whose jobs are agents and are tried again when spot hosts are lost."""

    name: ClassVar[str] = "batch"
    options: ClassVar[Sequence[click.Option]] = BATCH_OPTIONS

    def __init__(
        self,
        *,
        queue: str | None = None,
        definition: str | None = None,
        image: str | None = None,
        vcpus: str | None = None,
        memory: int | None = None,
        gpus: int | None = None,
        attempts: int = 3,
        timeout: int | None = None,
        env: Sequence[str] = (),
        secret: Sequence[str] = (),
        tag: Sequence[str] = (),
        job_role: str | None = None,
        execution_role: str | None = None,
        fargate: bool = False,
        own_store: bool = False,
        region: str | None = None,
    ) -> None:
        self._queue, self._definition, self._image = queue, definition, image
        self._vcpus, self._memory, self._gpus = vcpus, memory, gpus
        self._attempts, self._timeout = attempts, timeout
        self._environment = parse_environment(env)
        self._secrets = parse_secrets(secret)
        self._tags = parse_pairs("--tag", tag)
        self._job_role, self._execution_role, self._fargate = job_role, execution_role, fargate
        self._own_store, self._region = own_store, region
        self._check()

    def _check(self) -> None:
        if self._definition and self._image:
            raise UsageError("give --definition or --image, not both: an image gets a definition of its own")
        of_image = {
            "--secret": self._secrets,
            "--job-role": self._job_role,
            "--execution-role": self._execution_role,
            "--fargate": self._fargate,
        }
        if given := [option for option, value in of_image.items() if value and self._definition]:
            raise UsageError(
                f"{given[0]} belongs into the job definition {self._definition!r}; it is for --image"
            )
        if (self._secrets or self._fargate) and not self._execution_role:
            raise UsageError("--secret and --fargate need --execution-role, the role that AWS itself takes")
        if self._fargate and self._gpus:
            raise UsageError("Fargate has no GPUs; leave --fargate out, for a queue of EC2 hosts")

    def preview(self, job: AgentJob, count: int) -> str:
        """Give the requests that `launch` would make, as JSON; asks nobody."""
        return shown(self._requests(job, count))

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Submit the job; UsageError where it cannot be one, AwsError or AwsAwayError where AWS refuses."""
        requests = self._requests(job, count)
        client = self._client()
        submit = dict(requests["SubmitJob"])
        if (definition := requests.get("RegisterJobDefinition")) is not None:
            with explained("registering the job definition"):
                submit["jobDefinition"] = client.register_job_definition(**definition)["jobDefinitionArn"]
        with explained(f"submitting to {self._queue}"):
            job_id = str(client.submit_job(**submit)["jobId"])
        ids = [job_id] if count == 1 else [f"{job_id}:{index}" for index in range(count)]
        return [
            Launched(one, f"Batch job {one} in {self._queue}, its output is in /aws/batch/job") for one in ids
        ]

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those that Batch has not seen the end of, jobs that wait to be tried again among them."""
        ids = [agent.job_id for agent in launched]
        states = self._describe({*ids, *map(_array_of, ids)})

        def gone(job_id: str) -> bool:
            # The jobs of an array come into being some time after it.
            found = states.get(job_id) or states.get(_array_of(job_id))
            return found is None or found["status"] in _GONE

        return [agent for agent in launched if not gone(agent.job_id)]

    def cancel(self, launched: Sequence[Launched]) -> None:
        """Have Batch end jobs, a whole array as one; their agents give the runs back."""
        arrays: dict[str, list[str]] = {}
        for agent in launched:
            arrays.setdefault(_array_of(agent.job_id), []).append(agent.job_id)
        states = self._describe(arrays)
        client = self._client()
        for array, jobs in arrays.items():
            size = states.get(array, {}).get("arrayProperties", {}).get("size")
            for job_id in [array] if size == len(jobs) else jobs:
                with explained(f"ending job {job_id}"):
                    client.terminate_job(jobId=job_id, reason="canceled by besom")

    def _client(self) -> Any:
        return create_client("batch", self._region)

    def _describe(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        client = self._client()
        found: dict[str, dict[str, Any]] = {}
        for some in in_hundreds(sorted(ids)):
            with explained("looking at the jobs"):
                answer = client.describe_jobs(jobs=list(some))
            found |= {one["jobId"]: one for one in answer["jobs"]}
        return found

    # ---- the requests

    def _requests(self, job: AgentJob, count: int) -> Mapping[str, Any]:
        """Give the requests by their operation, in the order of the calls."""
        if not self._queue or not (self._definition or self._image):
            raise UsageError("Batch needs --queue, and --definition or --image")
        if count > LARGEST:
            raise UsageError(f"an array job has at most {LARGEST} jobs, not {count}; launch several times")
        requests: dict[str, Any] = {}
        if self._image:
            requests["RegisterJobDefinition"] = self._registration(job)
        requests["SubmitJob"] = self._submission(job, count)
        for operation, request in requests.items():
            require_valid("batch", operation, request)
        return requests

    def _registration(self, job: AgentJob) -> dict[str, Any]:
        container: dict[str, Any] = {"image": self._image, "resourceRequirements": self._resources()}
        if self._job_role:
            container["jobRoleArn"] = self._job_role
        if self._execution_role:
            container["executionRoleArn"] = self._execution_role
        if self._secrets:
            container["secrets"] = self._secrets
        if self._fargate:
            container["networkConfiguration"] = {"assignPublicIp": "ENABLED"}
        return {
            "jobDefinitionName": _name(job),
            "type": "container",
            "platformCapabilities": ["FARGATE" if self._fargate else "EC2"],
            "containerProperties": container,
            "tags": self._all_tags(job),
        }

    def _submission(self, job: AgentJob, count: int) -> dict[str, Any]:
        brought = self._own_store or any(secret["name"] == "BESOM_STORE" for secret in self._secrets)
        store = store_variable(
            job.store,
            brought or "BESOM_STORE" in self._environment,
            "put it into AWS and give --secret BESOM_STORE=secretsmanager:ARN#KEY (with --image), or have the"
            " job definition bring it and give --own-store",
        )
        container: dict[str, Any] = {
            "command": agent_command(job.sweep_id, job.arguments),
            "environment": named({**store, **self._environment}),
        }
        if not self._image and (resources := self._resources()):
            container["resourceRequirements"] = resources
        request: dict[str, Any] = {
            "jobName": _name(job),
            "jobQueue": self._queue,
            "jobDefinition": self._definition or _name(job),
            "containerOverrides": container,
            "retryStrategy": {"attempts": self._attempts, "evaluateOnExit": list(EVALUATE_ON_EXIT)},
            "tags": self._all_tags(job),
            "propagateTags": True,
        }
        if count > 1:
            request["arrayProperties"] = {"size": count}
        if self._timeout:
            request["timeout"] = {"attemptDurationSeconds": self._timeout}
        return request

    def _resources(self) -> list[dict[str, str]]:
        least = {"VCPU": "1", "MEMORY": "2048"} if self._image else {}
        wanted = {"VCPU": self._vcpus, "MEMORY": self._memory, "GPU": self._gpus}
        told = {kind: str(amount) for kind, amount in wanted.items() if amount}
        return [{"type": kind, "value": amount} for kind, amount in {**least, **told}.items()]

    def _all_tags(self, job: AgentJob) -> dict[str, str]:
        return {"besom-sweep": job.sweep_id, **self._tags}


def _name(job: AgentJob) -> str:
    return f"besom-{job.sweep_id}"


def _array_of(job_id: str) -> str:
    return job_id.partition(":")[0]
