"""The control plane: moto's SageMaker, with jobs that really run, and with the faults that users meet."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from besom_sagemaker.validate import problems_of

RUNNING = ("InProgress", "Stopping")


@dataclass(slots=True)
class Faults:
    """What goes wrong next; each count goes down as it is used up."""

    throttle: dict[str, int] = field(default_factory=dict[str, int])  # operation -> refusals to come
    deny: dict[str, int] = field(default_factory=dict[str, int])  # the same, for want of permission
    unseen: int = 0  # descriptions to come that do not know the job yet
    lacks_capacity: int = 0  # jobs to come that find no instance
    max_jobs: int | None = None  # the account's quota


@dataclass(slots=True)
class Control:
    """What the control plane remembers beside moto."""

    faults: Faults
    calls: Counter[str]
    start: Callable[
        [Any, Mapping[str, Any], bool], None
    ]  # moto's job, its request, and whether it lacks capacity
    stop: Callable[[str], None]
    lock: threading.RLock = field(default_factory=threading.RLock)


@contextmanager
def controlled(control: Control) -> Generator[None]:
    """Inside, moto's SageMaker answers as the real one: jobs begin, run and end, wrong ones are refused."""
    from moto.iam.responses import IamResponse
    from moto.sagemaker.responses import SageMakerResponse

    create = SageMakerResponse.create_training_job

    def create_training_job(self: Any) -> Any:
        with control.lock:
            return _create(control, create, self)

    def stop_training_job(self: Any) -> str:
        _count(control, "StopTrainingJob")
        return _stop(control, self)

    def counted(operation: str, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def answering(self: Any) -> Any:
            _count(control, operation)
            return answer(self)

        return answering

    describe = SageMakerResponse.describe_training_job

    def describe_training_job(self: Any) -> Any:
        _count(control, "DescribeTrainingJob")
        with control.lock:
            if control.faults.unseen > 0:
                control.faults.unseen -= 1
                raise _refusal("ValidationException", "Requested resource not found.")
        return describe(self)

    changes: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (SageMakerResponse, "create_training_job", create_training_job),
        (SageMakerResponse, "stop_training_job", stop_training_job),
        (SageMakerResponse, "describe_training_job", describe_training_job),
        (IamResponse, "simulate_principal_policy", _simulate_principal_policy),
    ]
    listed = counted("ListTrainingJobs", SageMakerResponse.list_training_jobs)
    changes.append((SageMakerResponse, "list_training_jobs", listed))
    with ExitStack() as stack:
        for owner, name, change in changes:
            stack.callback(_restore, owner, name, owner.__dict__.get(name))
            setattr(owner, name, change)
        yield


def _restore(owner: Any, name: str, was: Any) -> None:
    if was is None:
        delattr(owner, name)
    else:
        setattr(owner, name, was)


def _stop(control: Control, response: Any) -> str:
    name = json.loads(response.body)["TrainingJobName"]
    job = response.sagemaker_backend.training_jobs.get(name)
    if job is None:
        raise _refusal("ValidationException", f"Requested resource not found: training job {name}")
    if job.training_job_status not in RUNNING:
        raise _refusal(
            "ValidationException",
            f"The request was rejected because the training job is in status {job.training_job_status}.",
        )
    if job.training_job_status == "InProgress":
        control.stop(name)
    return "{}"


def _create(control: Control, create: Callable[[Any], Any], response: Any) -> Any:
    _count(control, "CreateTrainingJob")
    request: dict[str, Any] = json.loads(response.body)
    if problems := problems_of(request):
        raise _refusal("ValidationException", "; ".join(problems))
    jobs, name = response.sagemaker_backend.training_jobs, request["TrainingJobName"]
    if name in jobs:
        raise _refusal("ResourceInUse", "Training job names must be unique within an AWS account and region")
    running = sum(job.training_job_status in RUNNING for job in jobs.values())
    if control.faults.max_jobs is not None and running >= control.faults.max_jobs:
        kind = request["ResourceConfig"].get("InstanceType", "ml.m5.large")
        raise _refusal(
            "ResourceLimitExceeded",
            f"The account-level service limit '{kind} for training job usage' is {control.faults.max_jobs}"
            f" Instances, with current utilization of {running} Instances and a request delta of 1"
            " Instances.",
        )
    lacks = control.faults.lacks_capacity > 0
    control.faults.lacks_capacity -= lacks
    answer = create(response)
    job = jobs[name]
    algorithm: dict[str, Any] = request["AlgorithmSpecification"]
    job.algorithm_specification = algorithm
    job.training_job_status, job.secondary_status = "InProgress", "Starting"
    job.final_metric_data_list, job.secondary_status_transitions = [], []
    job.environment, job.retry_strategy = request.get("Environment"), request.get("RetryStrategy")
    job.training_start_time = job.training_end_time = None
    control.start(job, request, lacks)
    return answer


def _count(control: Control, operation: str) -> None:
    with control.lock:
        control.calls[operation] += 1
        left = control.faults.throttle.get(operation, 0)
        if left:
            control.faults.throttle[operation] = left - 1
            raise _refusal("ThrottlingException", "Rate exceeded")
        denied = control.faults.deny.get(operation, 0)
        if denied:
            control.faults.deny[operation] = denied - 1
            raise _refusal("AccessDeniedException", f"not authorized to perform {operation}")


def _refusal(kind: str, message: str) -> Exception:
    from moto.core.exceptions import JsonRESTError

    refused: Exception = JsonRESTError(kind, message)
    return refused


def _simulate_principal_policy(self: Any) -> str:
    """Allow every action: moto lacks this call, which ModelTrainer makes as it is constructed."""
    body = self.body if isinstance(self.body, str) else self.body.decode()
    actions = [values[0] for key, values in parse_qs(body).items() if key.startswith("ActionNames")]
    members = "".join(
        f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        "<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>"
        f"<EvaluationResults>{members}</EvaluationResults></SimulatePrincipalPolicyResult>"
        "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>"
    )
