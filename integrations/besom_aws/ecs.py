"""Starts agents as tasks of Amazon ECS."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from besom.errors import BesomError, UsageError
from besom.launch.base import AgentJob, Launched
from besom.launch.pairs import parse_pairs
from besom_aws.aws import AwsError, create_client, explained
from besom_aws.options import ECS_OPTIONS
from besom_aws.request import (
    agent_command,
    in_hundreds,
    named,
    parse_environment,
    require_valid,
    shown,
    store_variable,
)

if TYPE_CHECKING:
    import click

AT_ONCE = 10
"""The tasks that one RunTask starts, at most."""

_UNSEEN = 60.0  # seconds for which ECS may not know of a task that it has started
_REMEDIES = {
    "RESOURCE": "the cluster has no room; ask for fewer --jobs, or let it grow",
    "AGENT": "the cluster's hosts have lost their ECS agent",
    "ATTRIBUTE": "no host of the cluster has what the task definition asks for",
    "Capacity": "there is no capacity now; try again later, or without --spot",
}


class EcsLauncher:
    """As tasks of Amazon ECS, by RunTask: each task is an agent."""

    name: ClassVar[str] = "ecs"
    options: ClassVar[Sequence[click.Option]] = ECS_OPTIONS

    def __init__(
        self,
        *,
        cluster: str = "default",
        task_definition: str | None = None,
        container: str | None = None,
        launch_type: str | None = None,
        spot: bool = False,
        subnet: Sequence[str] = (),
        security_group: Sequence[str] = (),
        public_ip: bool = False,
        cpu: str | None = None,
        memory: int | None = None,
        gpus: int | None = None,
        env: Sequence[str] = (),
        tag: Sequence[str] = (),
        own_store: bool = False,
        region: str | None = None,
    ) -> None:
        if spot and launch_type:
            raise UsageError("--spot says where tasks run; leave --launch-type out")
        if (security_group or public_ip) and not subnet:
            raise UsageError("--security-group and --public-ip are for tasks in a --subnet")
        self._cluster, self._task_definition, self._container = cluster, task_definition, container
        self._launch_type, self._spot = launch_type, spot
        self._subnets, self._security_groups, self._public_ip = subnet, security_group, public_ip
        self._cpu, self._memory, self._gpus = cpu, memory, gpus
        self._environment = parse_environment(env)
        self._tags = parse_pairs("--tag", tag)
        self._own_store, self._region = own_store, region
        self._started: dict[str, float] = {}

    def preview(self, job: AgentJob, count: int) -> str:
        """Give the requests that `launch` would make, as JSON; asks AWS for a container's name at most."""
        requests = self._requests(job, count)
        return shown({"RunTask": requests[0]} if len(requests) == 1 else {"RunTask": requests})

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Start the tasks, ten at a time, all or none.

        AwsError says what ECS had no room for, or refused; those that had been started are stopped again.
        """
        requests = self._requests(job, count)
        client = self._client()
        started: list[str] = []
        try:
            for request in requests:
                self._run(client, request, started, count)
        except BesomError:
            self._stop(client, started)
            raise
        now = time.monotonic()
        self._started |= dict.fromkeys(started, now)
        return [Launched(arn, f"ECS task {arn} in cluster {self._cluster}") for arn in started]

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those that ECS has not stopped."""
        client = self._client()
        states: dict[str, str] = {}
        for some in in_hundreds([agent.job_id for agent in launched]):
            with explained("looking at the tasks"):
                answer = client.describe_tasks(cluster=self._cluster, tasks=list(some))
            states |= {task["taskArn"]: task["lastStatus"] for task in answer["tasks"]}
        now = time.monotonic()
        return [
            agent
            for agent in launched
            if states.get(agent.job_id, "STOPPED") != "STOPPED"
            or (agent.job_id not in states and now - self._started.get(agent.job_id, -_UNSEEN) < _UNSEEN)
        ]

    def cancel(self, launched: Sequence[Launched]) -> None:
        """Stop tasks: their agents give the runs back."""
        self._stop(self._client(), [agent.job_id for agent in self.alive(launched)])

    def _stop(self, client: Any, arns: Sequence[str]) -> None:
        for arn in arns:
            with explained(f"stopping task {arn}"):
                client.stop_task(cluster=self._cluster, task=arn, reason="canceled by besom")

    def _run(self, client: Any, request: Mapping[str, Any], started: list[str], count: int) -> None:
        """Start some tasks and add them to `started`; AwsError unless all of them are."""
        with explained(f"starting tasks of {self._task_definition}"):
            answer = client.run_task(**request, clientToken=uuid.uuid4().hex)
        started += [str(task["taskArn"]) for task in answer.get("tasks", ())]
        failures = answer.get("failures", ())
        if failures:
            reasons = sorted({_reason(failure) for failure in failures})
            hints = {remedy for word, remedy in _REMEDIES.items() if any(word in one for one in reasons)}
            raise AwsError(
                f"ECS could place {len(started)} of {count} tasks in cluster {self._cluster}, so none is left"
                f" running: {', '.join(reasons)}" + "".join(f"; {hint}" for hint in sorted(hints))
            )

    def _client(self) -> Any:
        return create_client("ecs", self._region)

    # ---- the requests

    def _requests(self, job: AgentJob, count: int) -> list[dict[str, Any]]:
        if not self._task_definition:
            raise UsageError("ECS needs --task-definition")
        request = self._request(job, self._container or self._only_container())
        counts = [min(AT_ONCE, count - start) for start in range(0, count, AT_ONCE)]
        requests = [{**request, "count": some} for some in counts]
        require_valid("ecs", "RunTask", requests[0])
        return requests

    def _request(self, job: AgentJob, container: str) -> dict[str, Any]:
        store = store_variable(
            job.store,
            self._own_store or "BESOM_STORE" in self._environment,
            "put it into AWS, name it in the secrets of the task definition as BESOM_STORE, and give"
            " --own-store",
        )
        agent: dict[str, Any] = {
            "name": container,
            "command": agent_command(job.sweep_id, job.arguments),
            "environment": named({**store, **self._environment}),
        }
        if self._gpus:
            agent["resourceRequirements"] = [{"type": "GPU", "value": str(self._gpus)}]
        overrides: dict[str, Any] = {"containerOverrides": [agent]}
        if self._cpu:
            overrides["cpu"] = self._cpu
        if self._memory:
            overrides["memory"] = str(self._memory)
        tags = {"besom-sweep": job.sweep_id, **self._tags}
        return {
            "cluster": self._cluster,
            "taskDefinition": self._task_definition,
            "startedBy": f"besom-{job.sweep_id}"[:128],
            "overrides": overrides,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            **self._place(),
        }

    def _place(self) -> dict[str, Any]:
        """Give where tasks run."""
        place: dict[str, Any] = {}
        if self._spot:
            place["capacityProviderStrategy"] = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        elif self._launch_type:
            place["launchType"] = self._launch_type
        if self._subnets:
            network: dict[str, Any] = {"subnets": list(self._subnets)}
            if self._security_groups:
                network["securityGroups"] = list(self._security_groups)
            network["assignPublicIp"] = "ENABLED" if self._public_ip else "DISABLED"
            place["networkConfiguration"] = {"awsvpcConfiguration": network}
        return place

    def _only_container(self) -> str:
        with explained(f"looking at the task definition {self._task_definition}"):
            answer = self._client().describe_task_definition(taskDefinition=self._task_definition)
        names = [str(one["name"]) for one in answer["taskDefinition"]["containerDefinitions"]]
        if len(names) != 1:
            raise UsageError(
                f"the task definition {self._task_definition} has the containers {', '.join(names)};"
                " say by --container which is the agent"
            )
        return names[0]


def _reason(failure: Mapping[str, Any]) -> str:
    detail = failure.get("detail")
    return str(failure.get("reason", "no reason given")) + (f" ({detail})" if detail else "")
