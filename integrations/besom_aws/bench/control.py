"""The control plane: moto, with jobs and tasks that really run, and with the faults that users meet."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Faults:
    """What goes wrong next."""

    refuse: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Operation -> the codes that its next calls are refused with."""
    lose: int = 0
    """Messages to come that SendMessageBatch fails to take, through no fault of theirs."""
    room: int | None = None
    """Tasks for which ECS has room; None: for all."""


@dataclass(slots=True)
class Control:
    """What the control plane remembers beside moto."""

    faults: Faults
    calls: Counter[str]
    start_job: Callable[[Any, dict[str, Any]], None]  # moto's job, and the request that submitted it
    start_task: Callable[[Any], None]  # moto's task
    running: Callable[[], int]  # tasks
    lock: threading.RLock = field(default_factory=threading.RLock)
    request: threading.local = field(default_factory=threading.local)


@contextmanager
def controlled(control: Control) -> Generator[None]:
    """Inside, moto's SQS, Batch and ECS count calls, fail as they are told to, and start what they take."""
    from moto.batch.models import Job
    from moto.batch.responses import BatchResponse
    from moto.ecs.models import EC2ContainerServiceBackend
    from moto.ecs.responses import EC2ContainerServiceResponse
    from moto.sqs.responses import SQSResponse

    operations: Sequence[tuple[type[Any], str, str]] = (
        (SQSResponse, "send_message_batch", "SendMessageBatch"),
        (SQSResponse, "receive_message", "ReceiveMessage"),
        (SQSResponse, "change_message_visibility", "ChangeMessageVisibility"),
        (SQSResponse, "delete_message", "DeleteMessage"),
        (BatchResponse, "registerjobdefinition", "RegisterJobDefinition"),
        (BatchResponse, "submitjob", "SubmitJob"),
        (BatchResponse, "describejobs", "DescribeJobs"),
        (BatchResponse, "terminatejob", "TerminateJob"),
        (EC2ContainerServiceResponse, "run_task", "RunTask"),
        (EC2ContainerServiceResponse, "stop_task", "StopTask"),
        (EC2ContainerServiceResponse, "describe_tasks", "DescribeTasks"),
        (EC2ContainerServiceResponse, "describe_task_definition", "DescribeTaskDefinition"),
    )
    changes: dict[tuple[type[Any], str], Callable[[Any], Any]] = {
        (SQSResponse, "send_message_batch"): _losing(control, SQSResponse.send_message_batch),
        (BatchResponse, "submitjob"): _submitting(control, BatchResponse.submitjob),
        (BatchResponse, "describejobs"): _with_arrays(BatchResponse.describejobs),
        (BatchResponse, "terminatejob"): _with_children(BatchResponse.terminatejob),
        (EC2ContainerServiceResponse, "run_task"): _placing(EC2ContainerServiceResponse.run_task),
    }
    with ExitStack() as stack:
        for owner, name, operation in operations:
            answer = changes.get((owner, name)) or getattr(owner, name)
            _replace(stack, owner, name, _counted(control, operation, answer))
        _replace(stack, Job, "start", _submitted(control))
        run_task = _starting(control, EC2ContainerServiceBackend.run_task)
        _replace(stack, EC2ContainerServiceBackend, "run_task", run_task)
        _replace(stack, EC2ContainerServiceBackend, "stop_task", _stop_task)
        yield


def _replace(stack: ExitStack, owner: type[Any], name: str, change: Callable[..., Any]) -> None:
    was = owner.__dict__.get(name)
    setattr(owner, name, change)
    stack.callback(lambda: delattr(owner, name) if was is None else setattr(owner, name, was))


def _counted(control: Control, operation: str, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def answering(self: Any) -> Any:
        from moto.core.exceptions import JsonRESTError

        with control.lock:
            control.calls[operation] += 1
            codes = control.faults.refuse.get(operation, [])
            if codes:
                raise JsonRESTError(codes.pop(0), "told to fail")
        return answer(self)

    return answering


def _losing(control: Control, send: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Take all messages of a batch but the last `lose`."""

    def answering(self: Any) -> Any:
        entries = list(self._get_param("Entries", []))
        with control.lock:
            lost = min(control.faults.lose, len(entries) - 1)
            control.faults.lose -= lost
        kept = len(entries) - lost
        self._get_param("Entries", [])[kept:] = []
        answer = send(self)
        answer.result["Failed"] += [
            {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "told to fail"}
            for entry in entries[kept:]
        ]
        return answer

    return answering


def _submitting(control: Control, submit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def answering(self: Any) -> Any:
        names = ("containerOverrides", "retryStrategy", "timeout", "jobQueue")
        control.request.body = {name: self._get_param(name) or {} for name in names}
        return submit(self)

    return answering


def _submitted(control: Control) -> Callable[[Any], None]:
    """Start a job that moto has made of the request of this thread."""

    def start(job: Any) -> None:
        control.start_job(job, control.request.body)

    return start


def _with_arrays(describe: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have the state of an array follow from its jobs."""

    def answering(self: Any) -> Any:
        for job in list(_jobs_of(self).values()):
            if children := _children_of(job):
                states = {child.status for child in children}
                ended = states <= {"SUCCEEDED", "FAILED"}
                job.status = "PENDING" if not ended else "FAILED" if "FAILED" in states else "SUCCEEDED"
        return describe(self)

    return answering


def _with_children(terminate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have the end of an array be the end of its jobs."""

    def answering(self: Any) -> Any:
        for child in _children_of(_jobs_of(self).get(self._get_param("jobId"))):
            child.terminate(self._get_param("reason"))
        return terminate(self)

    return answering


def _jobs_of(response: Any) -> dict[str, Any]:
    jobs: dict[str, Any] = response.batch_backend._jobs  # noqa: SLF001 - moto has no other way in
    return jobs


def _children_of(job: Any) -> list[Any]:
    children: list[Any] = (job and job._child_jobs) or []  # noqa: SLF001
    return children


def _placing(run_task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Say for which tasks there was no room."""

    def answering(self: Any) -> Any:
        answer = run_task(self)
        missing = self._get_int_param("count", 1) - len(answer.result["tasks"])
        answer.result["failures"] += [{"reason": "RESOURCE:MEMORY", "detail": "told to fail"}] * missing
        return answer

    return answering


def _starting(control: Control, run_task: Callable[..., Any]) -> Callable[..., Any]:
    def starting(self: Any, cluster: str, definition: str, count: int, *rest: Any) -> Any:
        room = control.faults.room
        placed = count if room is None else max(0, min(count, room - control.running()))
        tasks: list[Any] = run_task(self, cluster, definition, placed, *rest) if placed else []
        for task in tasks:
            task.advance = lambda: None  # its state is that of its process
            control.start_task(task)
        return tasks

    return starting


def _stop_task(self: Any, cluster: str, arn: str, reason: str) -> Any:
    """Have a task told to end; it has stopped once its process has."""
    from moto.core.exceptions import JsonRESTError

    tasks = self.tasks.get(cluster.rpartition("/")[2], {})
    if arn not in tasks:
        raise JsonRESTError("InvalidParameterException", "The referenced task was not found.")
    tasks[arn].desired_status, tasks[arn].stopped_reason = "STOPPED", reason
    return tasks[arn]
