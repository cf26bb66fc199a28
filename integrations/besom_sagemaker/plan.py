"""From a template and runs to what is submitted: the job's request and its document."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from besom.errors import UsageError
from besom.records import Sweep
from besom.sweep import sweep_config
from besom_sagemaker.job import (
    CHANNEL,
    ENTRYPOINT,
    JOB_CHANNEL,
    MANY_CHECKPOINTS,
    JobDocument,
    Launch,
    Layout,
    RunSpec,
    metric_regex,
)
from besom_sagemaker.template import JobTemplate, s3_channel

_DAY = 86400
_MOST_METRICS = 40  # and characters of a regex: what CreateTrainingJob takes
_LONGEST_REGEX = 500


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What jobs get beside their template; all times in seconds."""

    spot: bool = False
    max_wait: int | None = None  # with spot: until the job has to be done; None: twice its longest run time
    keep_alive: int | None = None  # how long instances wait for the next job (a warm pool), billed meanwhile
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])  # of the runs
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])  # variable -> reference
    timeout: float | None = None  # for one run
    grace: float = 100.0  # between SIGTERM and SIGKILL
    toolkit: bool = False  # start programs by the image's own `train`


@dataclass(frozen=True, slots=True)
class Code:
    """The code of a sweep's jobs as it lies in S3."""

    sha: str
    channel: str  # the prefix of channel `besom`
    requirements: str | None  # a file in it
    source: str | None  # what `Launch.source` says


def plan_document(
    sweep: Sweep,
    template: JobTemplate,
    options: JobOptions,
    code: Code,
    *,
    job_name: str,
    runs: Sequence[RunSpec] = (),
    store: str | None = None,
    count: int | None = None,
) -> JobDocument:
    """Give what a job is told: these runs, or with `store` the agent it starts."""
    metric = {"name": sweep.metric.name, "goal": sweep.metric.goal} if sweep.metric else None
    return JobDocument(
        sweep_id=sweep.id,
        job_name=job_name,
        config=sweep.config,
        launch=plan_launch(sweep, template, options, code),
        runs=tuple(runs),
        project=sweep.project,
        entity=sweep.entity,
        metric=metric,
        secrets=dict(options.secrets),
        environment=dict(options.environment),
        requirements=code.requirements,
        store=store,
        count=count,
        grace=options.grace,
        timeout=options.timeout,
    )


def plan_launch(sweep: Sweep, template: JobTemplate, options: JobOptions, code: Code) -> Launch:
    """Say how a run's program is started: the sweep's command, with the template's program and parameters.

    The template's hyperparameters are flags before those of the run, which therefore win.
    """
    config = sweep_config(sweep)
    program = template.program or config.program
    command = tuple(str(word) for word in config.command)
    if template.command:
        command = template.command
    elif "${program}" in command and program is None:
        raise UsageError(
            "nothing says which program to run: give program=..., or `program` in the sweep file"
        )
    swept = set(config.space.parameters)
    fixed = [f"--{name}={value}" for name, value in template.fixed.items() if name not in swept]
    if fixed and not options.toolkit and "${program}" in command:
        place = command.index("${program}") + 1
        command = (*command[:place], *fixed, *command[place:])
    return Launch(
        command=() if options.toolkit else command,
        program=program,
        source=code.source,
        toolkit=options.toolkit,
    )


def plan_request(
    template: JobTemplate,
    options: JobOptions,
    layout: Layout,
    code: Code,
    document: JobDocument,
) -> dict[str, Any]:
    """Give the CreateTrainingJob request of a job; the template's own fields stay where besom needs none."""
    request: dict[str, Any] = copy.deepcopy(dict(template.request))
    name = document.job_name
    request["TrainingJobName"] = name
    algorithm = request.setdefault("AlgorithmSpecification", {})
    if algorithm.get("AlgorithmName"):
        raise UsageError(
            "the template names an algorithm of the AWS Marketplace, which runs no program of yours;"
            " give a TrainingImage"
        )
    if request.get("EnableNetworkIsolation"):
        raise UsageError(
            "the template has EnableNetworkIsolation, but a job brings its runs home by S3, and needs a way"
            " there; leave it out, and give VpcConfig a subnet with an S3 endpoint and no internet instead"
        )
    algorithm.setdefault("TrainingInputMode", "File")
    _measure(algorithm, document)
    algorithm["ContainerEntrypoint"] = list(ENTRYPOINT)
    algorithm.pop("ContainerArguments", None)
    request["InputDataConfig"] = _channels(request.get("InputDataConfig", ()), code.channel, layout.job(name))
    request["Tags"] = _tags(request.get("Tags", ()), options, document, code)
    if document.runs:
        request["CheckpointConfig"] = _checkpoints(request.get("CheckpointConfig") or {}, layout, document)
    elif options.spot:
        request.setdefault("CheckpointConfig", {"S3Uri": layout.checkpoints(name)})
    _instances(request, options)
    return request


def checkpoint_prefix(layout: Layout, job_name: str, runs: Sequence[RunSpec]) -> str:
    """Give the S3 prefix that a job's checkpoint folder is kept at: the run's own, or one for several."""
    return layout.checkpoints(runs[0].run_id if len(runs) == 1 else job_name)


def _measure(algorithm: dict[str, Any], document: JobDocument) -> None:
    """Let SageMaker read the sweep's metric in the log: for its graphs, and for when S3 tells too little."""
    if document.metric is None:
        return
    name = document.metric["name"]
    own: list[dict[str, str]] = algorithm.get("MetricDefinitions") or []
    definition = {"Name": name, "Regex": metric_regex(name)}
    if len(own) < _MOST_METRICS and len(definition["Regex"]) <= _LONGEST_REGEX:
        known = any(one.get("Name") == name for one in own)
        algorithm["MetricDefinitions"] = own if known else [*own, definition]


def _channels(own: Any, code: str, job: str) -> list[dict[str, Any]]:
    taken = [one for one in own if one.get("ChannelName") in (CHANNEL, JOB_CHANNEL)]
    if taken:
        raise UsageError(
            f"the template has a channel called {taken[0]['ChannelName']!r}; that name is besom's"
        )
    ours = [s3_channel(CHANNEL, code), s3_channel(JOB_CHANNEL, job)]
    for channel in ours:
        channel["InputMode"] = "File"
    return [*own, *ours]


def _tags(own: Any, options: JobOptions, document: JobDocument, code: Code) -> list[dict[str, str]]:
    ours = {"besom:sweep": document.sweep_id, "besom:code": code.sha[:16]}
    if document.runs:
        ours["besom:run"] = document.runs[0].run_id
        ours["besom:attempt"] = str(document.runs[0].attempt)
        ours["besom:runs"] = str(len(document.runs))
    values = {tag["Key"]: tag["Value"] for tag in own} | dict(options.tags) | ours
    return [{"Key": key, "Value": value} for key, value in values.items()]


def _checkpoints(own: Mapping[str, Any], layout: Layout, document: JobDocument) -> dict[str, Any]:
    config = {**own, "S3Uri": checkpoint_prefix(layout, document.job_name, document.runs)}
    if len(document.runs) > 1:
        config["LocalPath"] = MANY_CHECKPOINTS
    return config


def _instances(request: dict[str, Any], options: JobOptions) -> None:
    stopping = request.setdefault("StoppingCondition", {})
    stopping.setdefault("MaxRuntimeInSeconds", _DAY)
    if options.spot:
        request["EnableManagedSpotTraining"] = True
    if request.get("EnableManagedSpotTraining"):
        longest = 2 * stopping["MaxRuntimeInSeconds"] if options.max_wait is None else options.max_wait
        if options.max_wait is not None:
            stopping["MaxWaitTimeInSeconds"] = longest
        stopping.setdefault("MaxWaitTimeInSeconds", longest)
    if options.keep_alive is not None:
        request.setdefault("ResourceConfig", {})["KeepAlivePeriodInSeconds"] = options.keep_alive
