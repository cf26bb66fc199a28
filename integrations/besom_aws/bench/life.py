"""The life of a container of Batch or ECS on this machine, from its start to its end."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom_aws.bench.container import Container, start_container

TICK = 0.05


@dataclass(slots=True)
class World:
    """What containers share."""

    folder: Path  # where their output goes
    place: Path  # their working directory
    environment: Callable[[], Mapping[str, str]]  # that of every container
    secret: Callable[[str], str]  # what a `valueFrom` stands for
    grace: float  # from SIGTERM to SIGKILL


@dataclass(slots=True)
class Life:
    """One container after another, until it has ended for good."""

    world: World
    name: str  # of its output's file
    command: Sequence[str]
    environment: Mapping[str, str]
    reason: str = ""  # why its host was lost, "" while it was not
    container: Container | None = None
    attempt: int = 0

    def run(self, stop: Callable[[], bool], seconds: float | None = None) -> int:
        """Run the container until it has ended, or is told to and does; gives its exit code."""
        self.attempt += 1
        self.reason = ""
        output = self.world.folder / f"{self.name.replace(':', '-').replace('/', '-')}.log"
        environment = {**self.world.environment(), **self.environment}
        container = start_container(self.command, environment, self.world.place, output)
        self.container = container
        began, told = time.monotonic(), None
        while container.exit_code is None:
            now = time.monotonic()
            if told is None and (stop() or (seconds and now - began > seconds)):
                told = now
                container.terminate()
            if told is not None and now - told > self.world.grace:
                container.kill()
            time.sleep(TICK)
        container.kill()  # what it left behind
        code = container.exit_code
        assert code is not None
        return code

    def reclaim(self, *, warn: bool) -> None:
        """Lose the host, with a SIGTERM before or at once."""
        self.reason = "Host EC2 (instance i-0bench) terminated."
        if self.container is not None:
            (self.container.terminate if warn else self.container.kill)()


def retries(strategy: Mapping[str, Any], code: int, status_reason: str, attempt: int) -> bool:
    """Say whether Batch starts a job again that ended with `code`, by its retry strategy."""
    if attempt >= int(strategy.get("attempts", 1)):
        return False
    ended = {"onExitCode": str(code), "onStatusReason": status_reason, "onReason": ""}
    for rule in strategy.get("evaluateOnExit", ()):
        patterns = {name: rule[name] for name in ended if name in rule}
        if all(fnmatch.fnmatchcase(ended[name], pattern) for name, pattern in patterns.items()):
            return str(rule["action"]).upper() == "RETRY"
    return True


def live_job(life: Life, job: Any, request: Mapping[str, Any]) -> None:
    """Be a job of Batch: attempts until one ends well, or is not to be followed by another."""
    strategy: dict[str, Any] = request["retryStrategy"] or job.job_definition.retry_strategy or {}
    timeout: dict[str, float] = request["timeout"] or job.job_definition.timeout or {}
    seconds = timeout.get("attemptDurationSeconds")
    while True:
        job.status = "RUNNING"
        numbered = {**life.environment, "AWS_BATCH_JOB_ATTEMPT": str(life.attempt + 1)}
        life.environment = numbered
        began = time.monotonic()
        code = life.run(lambda: bool(job.stop), seconds)
        job.exit_code = code
        overdue = seconds is not None and time.monotonic() - began > seconds
        if code == 0 or job.stop or overdue or not retries(strategy, code, life.reason, life.attempt):
            break
        job.status = "RUNNABLE"
    job._mark_stopped(success=code == 0)  # noqa: SLF001 - moto has no other way


def live_task(life: Life, task: Any) -> None:
    """Be a task of ECS."""
    code = life.run(lambda: task.desired_status == "STOPPED")
    task.containers[0].exitCode = code
    task.desired_status = task.last_status = "STOPPED"
