"""Starts agents as SLURM jobs, each of which goes on where it was when it is requeued."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from besom.errors import UsageError
from besom.folders import besom_dir
from besom.launch.base import AgentJob, Launched
from besom.store.address import hide_password
from besom_slurm.commands import slurm, try_slurm
from besom_slurm.options import OPTIONS
from besom_slurm.script import (
    JobSettings,
    agent_arguments,
    batch_script,
    job_environment,
    job_options,
    words,
)

if TYPE_CHECKING:
    import click


class SlurmLauncher:
    """As SLURM jobs: without agent options, each runs one run and ends (`--count 1`)."""

    name: ClassVar[str] = "slurm"
    options: ClassVar[Sequence[click.Option]] = OPTIONS

    def __init__(
        self,
        *,
        array: bool = False,
        at_once: int | None = None,
        partition: str | None = None,
        account: str | None = None,
        time: str | None = None,
        cpus: int | None = None,
        gpus: int | None = None,
        mem: str | None = None,
        notice: int = 120,
        requeue: bool = True,
        sbatch: Sequence[str] = (),
    ) -> None:
        if at_once is not None and not array:
            raise UsageError("--at-once limits the tasks of a job array; add --array")
        self._array = array
        self._at_once = at_once
        self._settings = JobSettings(
            partition=partition,
            account=account,
            time=time,
            cpus=cpus,
            gpus=gpus,
            mem=mem,
            notice=notice,
            requeue=requeue,
            more=tuple(sbatch),
        )

    def preview(self, job: AgentJob, count: int) -> str:
        """Give the script that `sbatch` would read, and where its store comes from."""
        times = "" if self._array or count == 1 else f"# sbatch reads this {count} times.\n"
        script = self._script(job, count)
        first, _, rest = script.partition("\n")
        store = f"# In the environment: BESOM_STORE={hide_password(job.store)}\n"
        if job.store.startswith("sqlite:"):
            store += "# That is a file of this machine: agents on other nodes would not see it.\n"
        return f"{first}\n{times}{store}{rest}"

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Submit the jobs; UsageError where SLURM refuses, or where other nodes cannot reach the store."""
        require_shared_store(job.store)
        folder = besom_dir() / "agents"
        folder.mkdir(parents=True, exist_ok=True)
        # The address may hold a password, so it travels in the environment and is in no script.
        environment = {**os.environ, "BESOM_STORE": job.store, "BESOM_DIR": str(besom_dir())}
        environment = job_environment(environment)
        script = self._script(job, count)
        # sbatch heeds SBATCH_… variables more than a script, and its command line more than both.
        options = words(job_options(job.sweep_id, self._settings, self._tasks(count), besom_dir()))
        submissions = 1 if self._array else count
        ids = [_submit(script, options, environment) for _ in range(submissions)]
        if self._array:
            ids = [f"{ids[0]}_{index}" for index in range(count)]
        return [Launched(one, f"SLURM job {one}, its output is in {folder}/slurm-{one}.log") for one in ids]

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those that SLURM has in its queue: pending, running, or waiting after a requeue."""
        queued = set(slurm("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i").split())
        return [agent for agent in launched if agent.job_id in queued]

    def cancel(self, launched: Sequence[Launched]) -> None:
        """Have SLURM end jobs; their agents give the runs back to the queue."""
        if launched:
            try_slurm("scancel", "--quiet", *(agent.job_id for agent in launched))

    def _script(self, job: AgentJob, count: int) -> str:
        arguments = agent_arguments(job.arguments)
        return batch_script(job.sweep_id, arguments, self._settings, self._tasks(count), besom_dir())

    def _tasks(self, count: int) -> str | None:
        """Give the indices of the array's tasks as sbatch takes them; None where there is no array."""
        if not self._array:
            return None
        return f"0-{count - 1}" + (f"%{self._at_once}" if self._at_once else "")


def _submit(script: str, options: Sequence[str], environment: dict[str, str]) -> str:
    """Hand a script to sbatch and give the job's id."""
    said = slurm("sbatch", "--parsable", *options, script=script, environment=environment)
    return said.strip().partition(";")[0]  # on a federation the cluster's name follows


def require_shared_store(store: str) -> None:
    """Raise UsageError for a SQLite file where the cluster has nodes that are not this machine."""
    if not store.startswith("sqlite:"):
        return
    nodes = {name.partition(".")[0] for name in slurm("sinfo", "--noheader", "--format=%n").split()}
    others = sorted(nodes - {socket.gethostname().partition(".")[0]})
    if others:
        raise UsageError(
            f"the store {store} is a file of this machine, and jobs may run on {others[0]} "
            f"(the cluster has {len(nodes)} nodes); use a store that all nodes reach: "
            "--store postgresql://…, or `besom serve` and --store http://…"
        )
