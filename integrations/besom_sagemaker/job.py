"""The contract between the client that submits a training job and the runner inside it.

**Channels.** Two input channels belong to besom; the template's own stay as they are.

    besom       shared by a sweep's jobs, content-addressed:  S3 prefix  code/<sha>/
        boot.py                  the container's entry point (`ENTRYPOINT`), process 1
        besom-<version>.whl      besom with its integrations; unpacked beside the job, never installed
        source.tar.gz            the user's source_dir, if `Launch.source` says so
        requirements.txt         and wheels/, if `JobDocument.requirements` says so
    besom_job   of one job:                                   S3 prefix  jobs/<job name>/
        job.json                 the `JobDocument`

**S3**, below one prefix for the sweep (`Layout`):

    code/<sha>/                          the channel `besom`
    jobs/<job name>/job.json             the channel `besom_job`
    runs/<run>/a<attempt>/               `RunSpec.prefix`
        console/<offset>.txt             what the program printed, in parts like the journal's
        journal/<offset>.jsonl           the journal in parts, each named by the 20-digit offset it begins at
        status.json                      `RunStatus`, written at its start, its end, and whenever parts were
        stop.json                        `StopRequest`, written by the client
    checkpoints/<run>/                   what CheckpointConfig.S3Uri names in a job of one run

The parts in the order of their names, put together, are the run's journal as `besom.journal` has it: deliver
them with `besom.journal.Delivery`, which goes on where the last delivery stopped (not with `replay`, which
trusts the `delivered` entry that the program wrote for the store it had inside the job). Parts never overlap
and hold whole lines only; `RunStatus.journal_bytes` is how long they are together, so a run is all there once
its status has ended and that many bytes have come. What was printed comes in the same way, without secrets,
up to 32 MiB; only parts below `RunStatus.log_bytes` are valid.

**Stops.** To stop one run, write `stop.json` into its prefix: the runner looks three times a second, and the
program sees it as `should_stop`, or as SIGTERM if it never asks. To stop a whole job, call StopTrainingJob:
SIGTERM reaches the runner, which looks for `stop.json` of the current run once more. With one, the run is
*stopped*; without one, it is *preempted*, as by a spot interruption: SIGTERM to the program, SIGKILL after
`grace`.

**The log** has, at most once a second for each run, what it logged last:
`besom: run=<run> step=<step>; loss=0.25; val/acc=0.5;`. So the regex of a MetricDefinition for `loss` is
`^besom: .* loss=([^;]+);`, and the client adds one for the sweep's metric.

**Endings.** Of a run: `RunStatus.outcome`; it, not the training job's status, says how a run ended. A run
that was preempted by a signal to the whole job may be started again by SageMaker: take that outcome for its
ending only when the training job itself has ended. A run that has no ended status by then was lost, or never
begun. Of the job: the exit codes below, with the reason in /opt/ml/output/failure.

**Restarts.** SageMaker itself may start a spot job again under the same name, with the same document. The
runner then takes the journal, status and checkpoints from S3 and goes on in the same attempt: ended runs are
not run again, the interrupted one is told that it is resumed. To go on in a new job, give the next attempt
with `earlier` filled in, and the same checkpoint prefix.

**Store mode.** With `JobDocument.store` the job holds no runs: it starts `besom agent SWEEP --count N`
against that store, and nothing below runs/ is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from besom.errors import UsageError
from besom.records import Metric, Outcome, RunState

VERSION = 1

CHANNEL = "besom"
JOB_CHANNEL = "besom_job"
DOCUMENT = "job.json"
BOOT = "boot.py"
SOURCE = "source.tar.gz"
STATUS = "status.json"
STOP = "stop.json"

ENTRYPOINT = ("python3", "-u", f"/opt/ml/input/data/{CHANNEL}/{BOOT}")
"""What AlgorithmSpecification.ContainerEntrypoint is; exec form: process 1 is ours and gets signals."""

EXIT_DONE = 0  # every run has ended well: finished or stopped
EXIT_FAILED = 1  # a run failed; RunStatus says which
EXIT_SETUP = 78  # nothing was run: the document, the requirements, a secret or the code is wrong
EXIT_INTERRUPTED = 143  # SIGTERM; runs that did not end are preempted

MANY_CHECKPOINTS = "/opt/ml/besom-checkpoints"
"""CheckpointConfig.LocalPath of a job of several runs: each has a folder of its run id in it.

A job of one run uses the default, /opt/ml/checkpoints, with the run's own S3 prefix.
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a sweep's things are in S3; `base` is `s3://bucket/some/prefix/<sweep id>`."""

    base: str

    def code(self, sha: str) -> str:
        """The prefix of channel `besom` for one version of the code."""
        return f"{self.base}/code/{sha}/"

    def job(self, job_name: str) -> str:
        """The prefix of channel `besom_job`."""
        return f"{self.base}/jobs/{job_name}/"

    def run(self, run_id: str, attempt: int) -> str:
        """What `RunSpec.prefix` is."""
        return f"{self.base}/runs/{run_id}/a{attempt}/"

    def checkpoints(self, run_id: str) -> str:
        """The prefix of a run's checkpoints, the same for all its attempts."""
        return f"{self.base}/checkpoints/{run_id}/"


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier attempt at a run, whose journal lies at `prefix`; a resumed run goes on from its summary."""

    attempt: int
    state: str  # a RunState's value: after "failed" a retry starts with an empty summary
    prefix: str


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run for the job; `params` are JSON with their true types."""

    run_id: str
    attempt: int
    number: int
    name: str
    params: Mapping[str, Any]
    prefix: str  # `Layout.run`; ends with "/"
    earlier: tuple[Earlier, ...] = ()
    checkpoints: str | None = None  # an S3 prefix to fetch if its checkpoint folder is empty at the start


@dataclass(frozen=True, slots=True)
class Launch:
    """How a run's program is started.

    `source` is where the user's code comes from: "channel:NAME" (a folder), "channel:NAME/FILE.tar.gz",
    "s3://.../FILE.tar.gz", or None (the image has it, and `folder` is where).
    """

    command: tuple[str, ...] = ()  # with macros, as in a sweep file; (): the sweep's own
    program: str | None = None  # None: the sweep's own
    source: str | None = f"channel:{CHANNEL}/{SOURCE}"
    folder: str | None = None  # the working directory, inside the source unless absolute
    toolkit: bool = False
    """Start the image's own `train` (sagemaker-training) for each run, with the request's HyperParameters
    and the run's parameters as hyperparameters: for templates that need what only it does, such as MPI."""


@dataclass(frozen=True, slots=True)
class JobDocument:
    """All that a job has to know; there is no secret in it, only references."""

    sweep_id: str
    job_name: str
    config: Mapping[str, Any]  # `Sweep.config`
    launch: Launch = Launch()
    runs: tuple[RunSpec, ...] = ()  # one after another
    project: str | None = None
    entity: str | None = None
    metric: Mapping[str, str] | None = None  # {"name": ..., "goal": ...}
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])  # variable -> reference
    environment: Mapping[str, str] = field(default_factory=dict[str, str])  # of runs; no 512-character limit
    requirements: str | None = None  # a file in channel `besom`
    store: str | None = None  # store mode: a reference to the store's address, or the address
    count: int | None = None  # store mode: how many runs to take; None: until there are none
    grace: float = 100.0  # seconds from SIGTERM to SIGKILL; SageMaker gives 120 in all
    timeout: float | None = None  # seconds that a run may take
    version: int = VERSION

    def to_json(self) -> str:
        """Give it as `read_document` reads it; UsageError for what JSON cannot hold."""
        try:
            return json.dumps(asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the document of job {self.job_name} cannot be JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far the runner is with a run; times are seconds since the epoch by the job's clock."""

    run_id: str
    attempt: int
    state: Literal["starting", "running", "ended"]
    time: float
    job_name: str = ""
    restarts: int = 0  # how often the job was started again during this attempt
    journal_bytes: int = 0  # of all parts written so far
    log_bytes: int = 0  # the same of what was printed
    checkpoint: str | None = None  # the last `run.save_checkpoint`, a path inside the job
    stop: str | None = None  # the action asked for by a stop.json that the runner has seen
    outcome: Outcome | None = None  # once ended

    def to_json(self) -> str:
        """Give it as `read_status` reads it."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """What is wanted of a run; "stop" is early termination or `besom stop`, "kill" a canceled sweep."""

    action: Literal["stop", "kill"] = "stop"
    reason: str = ""

    def to_json(self) -> str:
        """Give it as `read_stop` reads it."""
        return json.dumps(asdict(self))


def read_document(text: str | bytes) -> JobDocument:
    """Give the document in a job.json; UsageError if it is not one, or of another version of besom."""
    try:
        found: dict[str, Any] = json.loads(text)
        version = found.get("version")
        if version != VERSION:
            raise UsageError(
                f"the job document has version {version!r}, this runner reads {VERSION}: "
                "client and job need the same besom"
            )
        launch = found.pop("launch")
        launch["command"] = tuple(launch["command"])
        runs = tuple(_read_run(run) for run in found.pop("runs"))
        return JobDocument(**found, launch=Launch(**launch), runs=runs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the job document cannot be read: {type(error).__name__}: {error}") from error


def read_status(text: str | bytes) -> RunStatus:
    """Give the status in a status.json; ValueError or TypeError if it is not one."""
    found: dict[str, Any] = json.loads(text)
    outcome: dict[str, Any] | None = found.pop("outcome")
    state = RunState(outcome.pop("state")) if outcome else None
    return RunStatus(**found, outcome=Outcome(state, **outcome) if state and outcome is not None else None)


def read_stop(text: str | bytes) -> StopRequest:
    """Give the request in a stop.json; what cannot be read is a request to stop all the same."""
    try:
        found: dict[str, Any] = json.loads(text)
        action: Literal["stop", "kill"] = "kill" if found.get("action") == "kill" else "stop"
        return StopRequest(action, str(found.get("reason", "")))
    except (ValueError, AttributeError):
        return StopRequest()


def metric_of(document: JobDocument) -> Metric | None:
    """Give the sweep's metric, as far as a run needs to know it."""
    if document.metric is None:
        return None
    return Metric(
        document.metric["name"], "maximize" if document.metric["goal"] == "maximize" else "minimize"
    )


def metric_regex(name: str) -> str:
    """Give the regex of a MetricDefinition that finds a metric in a job's log."""
    return f"^besom: .* {re.escape('_'.join(name.split()))}=([^;]+);"


def _read_run(found: dict[str, Any]) -> RunSpec:
    earlier = tuple(Earlier(**attempt) for attempt in found.pop("earlier"))
    return RunSpec(**found, earlier=earlier)
