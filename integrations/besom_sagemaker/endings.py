"""How a run ended, told from what its runner said, how its training job ended, and what was asked of it.

The runner knows best: what it says of a run holds. Otherwise:

| the job is | the run is |
|---|---|
| Stopped, and we asked for it | stopped, or killed |
| Stopped for MaxRuntimeExceeded | failed: timed out |
| Stopped for MaxWaitTimeExceeded (spot did not come) | preempted: queued again |
| Stopped by somebody else | failed |
| Failed for want of capacity, or inside SageMaker | preempted: queued again |
| Failed | failed, with the job's reason |
| Completed, and the run's start or its metric in the log is all that is known of it | finished |
| Completed, without a word about the run | failed |

A run that a job of several has not come to is preempted, whatever became of the job, unless none was begun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from besom.records import Metric, Outcome, RunState
from besom_sagemaker.cloud import JobState
from besom_sagemaker.job import RunStatus, StopRequest

_CAPACITY = re.compile(r"CapacityError|InsufficientCapacity|[Uu]nable to provision")
_INTERNAL = re.compile(r"^InternalServerError")
_LONGEST = 500
ASKED = {"stop": RunState.STOPPED, "kill": RunState.KILLED}


def lacked_capacity(job: JobState) -> bool:
    """Say whether a job failed because AWS had no machine for it."""
    return job.status == "Failed" and _CAPACITY.search(job.reason) is not None


def logged_by(metrics: Mapping[str, float], metric: Metric | None) -> Mapping[str, float]:
    """Give the sweep's metric out of what SageMaker has read in a job's log; empty where it read none."""
    return {metric.name: metrics[metric.name]} if metric is not None and metric.name in metrics else {}


def ending_of(
    job: JobState,
    status: RunStatus | None,
    asked: StopRequest | None,
    *,
    others_begun: bool = False,
    logged: Mapping[str, float] | None = None,
) -> Outcome:
    """Give how a run ended whose job has ended.

    `others_begun` of the same job; `logged` is the metric in its log, for a run that S3 tells too little of.
    """
    said = status.outcome if status else None
    if said is not None and said.state is not RunState.PREEMPTED:
        return said
    if status is None and others_begun and asked is None:
        return Outcome(RunState.PREEMPTED)
    if job.status == "Completed" and said is None and (status is not None or logged):
        value = next(iter(logged.values())) if logged else None
        return Outcome(RunState.FINISHED, 0, None, logged or None, value)
    outcome = _by_job(job, asked, interrupted=said is not None)
    if said is None or outcome.state is RunState.PREEMPTED:
        return said or outcome
    return replace(outcome, exit_code=said.exit_code, summary=said.summary, value=said.value)


def _by_job(job: JobState, asked: StopRequest | None, *, interrupted: bool) -> Outcome:
    if job.secondary == "MaxRuntimeExceeded":
        return Outcome(RunState.FAILED, error="timed out: the job reached its MaxRuntimeInSeconds")
    if job.secondary == "MaxWaitTimeExceeded" or lacked_capacity(job) or _INTERNAL.match(job.reason):
        return Outcome(RunState.PREEMPTED)
    if asked is not None and (job.status == "Stopped" or interrupted):
        return Outcome(ASKED[asked.action])
    if job.status == "Stopped":
        return Outcome(RunState.FAILED, error=f"job {job.name} was stopped from outside besom")
    if interrupted:
        return Outcome(RunState.PREEMPTED)
    silent = f"job {job.name} is {job.status} but has not said how the run ended"
    return Outcome(RunState.FAILED, error=_shorten(job.reason) or silent)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
