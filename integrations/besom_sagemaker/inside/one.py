"""One run inside a job: its folder, its process, and how it ended."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom.agent.ending import Told, exit_status, outcome_of, read_tail
from besom.agent.job import Job
from besom.agent.process import Child
from besom.agent.start import ProgramStarter, Starter
from besom.folders import RunFolder, read_run_file, run_environment, run_folder, write_run_folder
from besom.journal import Replayed, read_account, read_entries
from besom.records import Directive, Outcome, Run, RunState, Sweep, SweepState
from besom.sweep import sweep_config
from besom_sagemaker.inside.output import Output
from besom_sagemaker.inside.place import Place, script_mode
from besom_sagemaker.inside.setup import SetupError
from besom_sagemaker.inside.store import job_store_url, write_directive, write_earlier
from besom_sagemaker.inside.toolkit import ToolkitStarter
from besom_sagemaker.inside.uplink import PRINTED, Uplink, restore, s3_errors
from besom_sagemaker.job import MANY_CHECKPOINTS, JobDocument, RunSpec, RunStatus, StopRequest, metric_of
from besom_sagemaker.redact import Redactor
from besom_sagemaker.s3 import S3

log = logging.getLogger(__name__)

LEASE_SECONDS = 0.9
"""Nobody takes the run away inside the job; a program asks its store three times in such a time."""

_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Ready:
    """A job that is ready for its runs."""

    document: JobDocument
    place: Place
    code: Path
    s3: S3
    secrets: Mapping[str, str]
    redactor: Redactor
    reports: bool = True  # False on all hosts but the first


class Ended:
    """A run's program has ended."""


Event = int | StopRequest | Ended  # a number is a signal's


def execute(ready: Ready, spec: RunSpec, events: queue.SimpleQueue[Event]) -> Outcome:
    """Run one run to its end and tell S3; gives how it ended. A signal's number in `events` preempts it."""
    folder = run_folder(spec.run_id, ready.place.home)
    checkpoints = checkpoint_folder(ready, spec)
    _make_folder(folder, checkpoints)
    try:
        before = restore(ready.s3, spec, folder, checkpoints)
    except s3_errors() as error:
        raise SetupError(
            f"S3 cannot be reached ({error}); a job brings its runs home by S3, so it needs a way there,"
            " such as a VPC endpoint, and no network isolation"
        ) from error
    if before is not None and before.outcome and before.outcome.state is not RunState.PREEMPTED:
        return before.outcome  # it ended before the job was started again
    run, sweep = _records(ready.document, spec)
    _write_files(folder, run, sweep, spec, before)
    status = RunStatus(
        run_id=spec.run_id,
        attempt=spec.attempt,
        state="starting",
        time=time.time(),
        job_name=ready.document.job_name,
        restarts=before.restarts + 1 if before else 0,
        journal_bytes=_size(folder.journal(spec.attempt)),
        log_bytes=before.log_bytes if before else 0,
    )
    uplink = Uplink(
        ready.s3, spec, folder, ready.redactor, status=status, on_stop=events.put, sends=ready.reports
    )
    uplink.start()
    outcome = _Running(ready, folder, uplink, events).run(run, sweep)
    outcome = _clean(outcome, ready.redactor)
    if not uplink.finish(outcome):
        log.error("run %s %s, but S3 could not be told", spec.run_id, outcome.state.value)
    return outcome


class _Running:
    """The state of a run between its start and its end."""

    def __init__(
        self, ready: Ready, folder: RunFolder, uplink: Uplink, events: queue.SimpleQueue[Event]
    ) -> None:
        self.ready = ready
        self.folder = folder
        self.uplink = uplink
        self.events = events
        self.journal_begin = 0  # bytes that were there before the job was started again

    def run(self, run: Run, sweep: Sweep) -> Outcome:
        """Start the program and see it through."""
        written = _size(self.folder.output)
        self.journal_begin = _size(self.folder.journal(run.attempt))
        copy = self.folder.path / PRINTED if self.ready.reports else None
        output = Output(self.folder.output, self.ready.redactor, start=written, copy=copy)
        try:
            child = self._start(run, sweep)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one run must not end the others
            return Outcome(RunState.FAILED, error=f"the program could not be started: {error}")
        document = self.ready.document
        timeout_at = None if document.timeout is None else time.monotonic() + document.timeout
        job = Job(run, sweep, self.folder, 0, child, document.grace, written, timeout_at)
        while job.code is None:
            try:
                event = self.events.get(timeout=_TICK)
            except queue.Empty:
                pass
            else:
                self._handle(job, event)
            output.show()
            if job.enforce(time.monotonic()):
                job.tell(Told.TIMEOUT, f"timed out after {document.timeout:g} s", now=time.monotonic())
        output.close()
        return self._judge(job)

    def _start(self, run: Run, sweep: Sweep) -> Child:
        starter = _starter(self.ready)
        return starter.start(
            run,
            sweep,
            self.folder,
            environment=_environment(self.ready, run, sweep, self.folder),
            on_end=lambda: self.events.put(Ended()),
        )

    def _handle(self, job: Job, event: Event) -> None:
        if isinstance(event, Ended):
            job.code = job.child.reap()
        elif isinstance(event, StopRequest):
            self._stop(job, event)
        else:
            asked = self.uplink.look()  # a stop of the whole job may be meant for this run
            if asked is not None:
                self._stop(job, asked)
            job.tell(Told.PREEMPT, "the training job was told to end", now=time.monotonic())
            job.term(time.monotonic())

    def _stop(self, job: Job, request: StopRequest) -> None:
        write_directive(self.folder, Directive(request.action, request.reason))
        job.tell(Told(request.action), request.reason, now=time.monotonic())

    def _judge(self, job: Job) -> Outcome:
        assert job.code is not None
        told = _told(self.folder.journal(job.run.attempt), self.journal_begin)
        printed = read_tail(self.folder.output, start=job.output_start)
        try:
            outcome = outcome_of(job.code, job.told, job.reason, told, printed)
        except Exception as error:  # noqa: BLE001 - what a program logged must not end the others
            return Outcome(
                RunState.FAILED, exit_status(job.code), f"what it reported cannot be read: {error}"
            )
        if job.told is Told.PREEMPT and outcome.state is RunState.FINISHED:
            # Lightning, for one, leaves with 0 when SIGTERM ends it early. A run that really was done is done
            # at once when it goes on from its last checkpoint; one that was not would be lost.
            return dataclasses.replace(outcome, state=RunState.PREEMPTED)
        return outcome


# ---- before it starts


def checkpoint_folder(ready: Ready, spec: RunSpec) -> Path:
    """Give the folder of this run that SageMaker keeps in S3; runs that share a job share what is kept."""
    base = ready.place.base
    if len(ready.document.runs) == 1:
        return base / "checkpoints"
    own = base / Path(MANY_CHECKPOINTS).name / spec.run_id
    own.mkdir(parents=True, exist_ok=True)
    usual = base / "checkpoints"
    if usual.is_symlink():
        usual.unlink()
    elif usual.is_dir() and not any(usual.iterdir()):
        usual.rmdir()
    if not usual.exists():
        usual.symlink_to(own)  # where scripts look that know nothing of besom
    return own


def _make_folder(folder: RunFolder, checkpoints: Path) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    checkpoints.mkdir(parents=True, exist_ok=True)
    if not folder.checkpoints.exists():
        folder.checkpoints.symlink_to(checkpoints)


def _write_files(folder: RunFolder, run: Run, sweep: Sweep, spec: RunSpec, before: RunStatus | None) -> None:
    write_run_folder(folder, run, sweep)
    if spec.earlier:
        write_earlier(folder, {earlier.attempt: earlier.state for earlier in spec.earlier})
    if before is not None:
        about = dataclasses.asdict(read_run_file(folder)) | {"resumed": True}
        folder.run_file.write_text(json.dumps(about))
        if before.checkpoint is not None:
            (folder.path / "checkpoint").write_text(before.checkpoint, encoding="utf-8")


def _records(document: JobDocument, spec: RunSpec) -> tuple[Run, Sweep]:
    """Give the run and its sweep as an agent would have them."""
    run = Run(
        id=spec.run_id,
        sweep_id=document.sweep_id,
        number=spec.number,
        name=spec.name,
        state=RunState.RUNNING,
        params=spec.params,
        key="",
        source="method",
        attempt=spec.attempt,
        failures=0,
        crashes=0,
        config=spec.params,
        summary={},
        value=None,
        agent_id=None,
        stop_reason=None,
        exit_code=None,
        error=None,
        created=0.0,
        started=0.0,
        ended=None,
        changed=0,
    )
    launch = document.launch
    config: dict[str, Any] = dict(document.config)
    if launch.program is not None:
        config["program"] = launch.program
    if launch.command:
        config["command"] = list(launch.command)
    sweep = Sweep(
        id=document.sweep_id,
        name=document.sweep_id,
        state=SweepState.RUNNING,
        method=str(config.get("method", "")),
        config=config,
        metric=metric_of(document),
        run_cap=None,
        max_attempts=None,
        expected_runs=None,
        project=document.project,
        entity=document.entity,
        text=None,
        folder=None,
        version=1,
        cursor=0,
        exhausted=False,
        created=0.0,
        updated=0.0,
    )
    return run, sweep


def _starter(ready: Ready) -> Starter:
    return ToolkitStarter(ready.place) if ready.document.launch.toolkit else ProgramStarter()


def _environment(ready: Ready, run: Run, sweep: Sweep, folder: RunFolder) -> dict[str, str]:
    """Give what is added to the container's environment for one run; the secrets are in nothing else."""
    place, config = ready.place, sweep_config(sweep)
    many = len(ready.document.runs) > 1
    model = place.base / "model" / (run.id if many else "")
    output = place.base / "output" / "data" / (run.id if many else "")
    for made in (model, output):
        made.mkdir(parents=True, exist_ok=True)
    scripts = script_mode(
        place,
        parameters=run.params,
        flat=config.space.flatten(run.params),
        code=ready.code,
        program=config.program,
        model=model,
        output=output,
    )
    theirs = {  # for scripts that log to W&B: one W&B run for one run, whatever the job is called
        "WANDB_SAGEMAKER_DISABLE": "true",
        "WANDB_RUN_ID": run.id,
        "WANDB_RESUME": "allow",
        "PYTHONUNBUFFERED": "1",
    }
    return {
        **{name: value for name, value in theirs.items() if name not in os.environ},
        **scripts,
        **ready.document.environment,
        **ready.secrets,
        **run_environment(folder, run, job_store_url(folder), lease_seconds=LEASE_SECONDS),
    }


def _told(journal: Path, begin: int) -> Replayed:
    """Give what a run has told; of its end only what came after `begin`, where it was interrupted before."""
    account = read_account(journal)
    if begin:
        account.finish, account.error, account.preempting, account.stopping = None, None, False, None
        with journal.open("rb") as file:
            file.seek(begin)
            for entry in read_entries(file):
                if entry.kind in ("finish", "error", "preempting", "stopping"):
                    account.add(entry)
    return account.replayed()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _clean(outcome: Outcome, redactor: Redactor) -> Outcome:
    return dataclasses.replace(
        outcome,
        error=None if outcome.error is None else redactor.text(outcome.error),
        summary=None if outcome.summary is None else redactor.value(outcome.summary),
    )
