"""Starts agents as jobs of a Ray cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from besom.errors import BesomError, UsageError
from besom.launch.base import AgentJob, Launched
from besom.store.address import hide_password
from besom_ray.cluster import RayRefusedError, connect, explained, find_address, other_nodes
from besom_ray.options import OPTIONS
from besom_ray.request import JobSettings, job_request, make_runtime_env, parse_resources, parse_size

if TYPE_CHECKING:
    import click
    from ray.job_submission import JobSubmissionClient


class RayLauncher:
    """As jobs of a Ray cluster: each works until the sweep has no more runs."""

    name: ClassVar[str] = "ray"
    options: ClassVar[Sequence[click.Option]] = OPTIONS

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus: float = 1,
        gpus: float | None = None,
        memory: str | int | None = None,
        resources: Sequence[str] = (),
        env: Sequence[str] = (),
        working_dir: str | None = None,
        runtime_env: str | None = None,
        own_store: bool = False,
    ) -> None:
        self._address = find_address(address, os.environ)
        self._settings = JobSettings(
            cpus=cpus,
            gpus=gpus,
            memory=parse_size(memory),
            resources=parse_resources(resources),
            runtime_env=make_runtime_env(runtime_env, working_dir, env),
            own_store=own_store,
        )

    def preview(self, job: AgentJob, count: int) -> str:
        """Give what the cluster would be told about one of the jobs, as JSON; asks it nothing."""
        request = job_request(job, self._settings)
        address = hide_password(self._address)
        return json.dumps({"address": address, "jobs": count, "submit_job": request}, indent=2)

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Submit the jobs, all or none.

        UsageError where other nodes cannot reach the store; RayRefusedError where Ray refuses a job.
        """
        requests = [job_request(job, self._settings) for _ in range(count)]
        client = connect(self._address)
        if job.store.startswith("sqlite:") and not self._settings.own_store:
            require_one_machine(job.store, other_nodes(self._address))
        submitted: list[Launched] = []
        try:
            for request in requests:
                submitted.append(self._submit(client, request))  # noqa: PERF401 - what was submitted is stopped
        except BesomError:
            with suppress(BesomError):  # the first one says what is wrong
                self.cancel(submitted)
            raise
        return submitted

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those that Ray runs or holds back until their resources are free."""
        return self._alive(connect(self._address), launched)

    def cancel(self, launched: Sequence[Launched]) -> None:
        """Have Ray end jobs; their agents give the runs back to the queue."""
        client = connect(self._address)
        for agent in self._alive(client, launched):
            with explained(self._address):
                client.stop_job(agent.job_id)

    def _alive(self, client: JobSubmissionClient, launched: Sequence[Launched]) -> Sequence[Launched]:
        with explained(self._address):
            jobs = client.list_jobs()
        there = {job.submission_id for job in jobs if not job.status.is_terminal()}
        return [agent for agent in launched if agent.job_id in there]

    def _submit(self, client: JobSubmissionClient, request: dict[str, Any]) -> Launched:
        with explained(self._address):
            one = str(client.submit_job(**request))
            told = client.get_job_info(one)
        # Ray takes the request before it looks at what is asked for.
        if told.error_type == "JOB_SUPERVISOR_ACTOR_START_FAILURE":
            raise RayRefusedError(f"Ray refuses the job: {str(told.message).partition(' Full traceback')[0]}")
        look = f"ray job logs --address {hide_password(self._address)} {one}"
        return Launched(one, f"Ray job {one}; `{look}` shows its output")


def require_one_machine(store: str, others: Sequence[str]) -> None:
    """Raise UsageError for a SQLite file where the cluster has nodes that are not this machine."""
    if others:
        raise UsageError(
            f"the store {store} is a file of this machine, and jobs may run on {others[0]}; use a store that"
            " all nodes reach: --store postgresql://…, or `besom serve` and --store http://…"
        )
