"""Which job of a scheduler an agent is part of, as people look for it there."""

from __future__ import annotations

import re
from collections.abc import Mapping

_JOBS = (
    # The scheduler, and the variables that name a job of its: the first set that is there counts.
    ("slurm", ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"), "_"),
    ("slurm", ("SLURM_JOB_ID",), ""),
    ("batch", ("AWS_BATCH_JOB_ID",), ""),
    ("pbs", ("PBS_JOBID",), ""),
    ("lsf", ("LSB_JOBID",), ""),
)
# On Fargate a container's id begins with its task's; elsewhere only a call to this address would tell.
_FARGATE = re.compile(r".*/v4/(?P<task>[0-9a-f]{32})-\d+")


def this_job(environment: Mapping[str, str]) -> str | None:
    """Give the job as SCHEDULER:ID, say `slurm:1234_7`; None outside of schedulers.

    `BESOM_JOB` says it for those that give their jobs no variable.
    """
    if told := environment.get("BESOM_JOB"):
        return told
    for scheduler, names, separator in _JOBS:
        if all(environment.get(name) for name in names):
            return f"{scheduler}:{separator.join(environment[name] for name in names)}"
    found = _FARGATE.fullmatch(environment.get("ECS_CONTAINER_METADATA_URI_V4", ""))
    return f"ecs:{found['task']}" if found else None
