"""A sweep's training jobs: makes them ready, remembers which runs each one has, and submits them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom.folders import RunFolder, run_folder, write_run_folder
from besom.records import Lease, Run, Sweep
from besom.store.base import Store
from besom_sagemaker.cloud import Cloud, instances_of
from besom_sagemaker.cost import usd_per_second
from besom_sagemaker.job import DOCUMENT, Earlier, JobDocument, Layout, RunSpec
from besom_sagemaker.mirror import Mirror
from besom_sagemaker.names import job_name
from besom_sagemaker.plan import Code, JobOptions, checkpoint_prefix, plan_document, plan_request
from besom_sagemaker.template import JobTemplate
from besom_sagemaker.validate import check_request


@dataclass(slots=True)
class Job:
    """A training job and its runs."""

    name: str
    mirrors: list[Mirror]
    document: JobDocument
    submitted: bool = False
    since: float = 0.0  # seconds since the epoch
    stop_sent: bool = False

    @property
    def unsettled(self) -> list[Mirror]:
        """The runs whose end is not in the store yet."""
        return [mirror for mirror in self.mirrors if not mirror.settled]

    @property
    def awaited(self) -> list[Mirror]:
        """The runs that something may come from: those the job has come to, and the one after them."""
        if not self.submitted:
            return []
        begun = sum(mirror.begun for mirror in self.mirrors)
        return [mirror for mirror in self.mirrors[: begun + 1] if not (mirror.settled and mirror.complete)]

    def mirror(self, lease: Lease) -> Mirror:
        """Give the mirror of one of its runs."""
        return next(mirror for mirror in self.mirrors if mirror.run.lease == lease)

    def overdue(self, now: float, patience: float) -> bool:
        """Say whether all that is left was asked to end, and has not, so that the job itself has to be."""
        left = [mirror for mirror in self.mirrors if not mirror.complete]
        asked = [mirror.asked_at for mirror in left if mirror.asked is not None]
        if self.stop_sent or not left or len(asked) < len(left):
            return False
        return not any(mirror.begun for mirror in left) or now - max(asked) > patience

    def close(self) -> None:
        """Let go of its runs' journals."""
        for mirror in self.mirrors:
            mirror.close()


@dataclass(frozen=True, slots=True)
class Record:
    """What a run's folder says of one attempt: its job, all runs of that, and where its files are."""

    job: str
    runs: tuple[Lease, ...]
    base: str
    checkpoints: str  # the S3 prefix of this run's own checkpoints
    time: float
    printed: int = 0  # how long the run's output.log was before


class Fleet:
    """Makes a sweep's jobs from its template."""

    def __init__(
        self,
        cloud: Cloud | None,
        template: JobTemplate,
        options: JobOptions,
        *,
        layout: Layout,
        code: Code,
        home: Path,
        prices: Mapping[str, float] | None = None,
    ) -> None:
        self._known_cloud, self._template, self._options = cloud, template, options
        self._layout, self._code, self._home = layout, code, home
        self.usd_per_second = usd_per_second(instances_of(template.request), prices or {})
        """What a job costs while it runs, at most."""

    @property
    def _cloud(self) -> Cloud:
        assert self._known_cloud is not None  # without one, jobs are only looked at
        return self._known_cloud

    def prepare(self, store: Store, sweep: Sweep, runs: Sequence[Run]) -> Job:
        """Make a job of runs, and note it in their folders before anything is submitted."""
        first = runs[0]
        name = job_name(sweep.id, first.id, first.attempt)
        now = time.time()
        job = self._job(store, sweep, runs, name=name, layout=self._layout, since=now)
        leases = tuple(run.lease for run in runs)
        shared = checkpoint_prefix(self._layout, name, [mirror.spec for mirror in job.mirrors])
        for mirror in job.mirrors:
            own = shared if len(runs) == 1 else f"{shared}{mirror.run.id}/"
            write_run_folder(mirror.folder, mirror.run, sweep)
            mirror.log_begin = mirror.folder.output.stat().st_size if mirror.folder.output.exists() else 0
            record = Record(name, leases, self._layout.base, own, now, mirror.log_begin)
            _write(mirror.folder, mirror.run.attempt, record)
        return job

    def recorded(self, run: Run, left: Mapping[Lease, Run]) -> list[Run]:
        """Give the runs among `left` that are in the same job as `run`; it alone if it never got into one."""
        record = read_record(run_folder(run.id, self._home), run.attempt)
        together = [left[lease] for lease in record.runs if lease in left] if record else []
        return together if run in together else [run]

    def load(self, store: Store, sweep: Sweep, runs: Sequence[Run]) -> Job | None:
        """Give the job that was made of runs by an earlier driver; None if it was not."""
        record = read_record(run_folder(runs[0].id, self._home), runs[0].attempt)
        if record is None:
            return None
        job = self._job(store, sweep, runs, name=record.job, layout=Layout(record.base), since=record.time)
        for mirror in job.mirrors:
            mine = read_record(mirror.folder, mirror.run.attempt)
            mirror.log_begin = mine.printed if mine else 0
        job.submitted = self._cloud.describe(job.name) is not None
        return job

    def submit(self, job: Job) -> bool:
        """Submit a job; says whether it is new. Raises what `Cloud.create` raises, and RequestError."""
        request = self.request(job)
        check_request(request)
        self._cloud.put(self._layout.job(job.name) + DOCUMENT, job.document.to_json().encode())
        new = self._cloud.create(request)
        job.submitted, job.since = True, time.time()
        return new

    def request(self, job: Job) -> dict[str, Any]:
        """Give the CreateTrainingJob request of a job."""
        return plan_request(self._template, self._options, self._layout, self._code, job.document)

    def _job(
        self, store: Store, sweep: Sweep, runs: Sequence[Run], *, name: str, layout: Layout, since: float
    ) -> Job:
        specs = [self._spec(store, run, layout, alone=len(runs) == 1) for run in runs]
        document = plan_document(sweep, self._template, self._options, self._code, job_name=name, runs=specs)
        mirrors = [
            Mirror(run, spec, run_folder(run.id, self._home)) for run, spec in zip(runs, specs, strict=True)
        ]
        return Job(name, mirrors, document, since=since)

    def _spec(self, store: Store, run: Run, layout: Layout, *, alone: bool) -> RunSpec:
        folder = run_folder(run.id, self._home)
        earlier: list[Earlier] = []
        checkpoints: str | None = None
        for attempt in store.attempts(run.id) if run.attempt > 1 else ():
            if attempt.attempt >= run.attempt:
                continue
            record = read_record(folder, attempt.attempt)
            base = Layout(record.base) if record else layout
            state = "crashed" if attempt.superseded else attempt.state.value
            earlier.append(Earlier(attempt.attempt, state, base.run(run.id, attempt.attempt)))
            checkpoints = record.checkpoints if record else checkpoints
        if alone and checkpoints == layout.checkpoints(run.id):
            checkpoints = None  # SageMaker itself brings them
        return RunSpec(
            run.id,
            run.attempt,
            run.number,
            run.name,
            run.params,
            layout.run(run.id, run.attempt),
            tuple(earlier),
            checkpoints,
        )


def read_record(folder: RunFolder, attempt: int) -> Record | None:
    """Give what a run's folder says of an attempt's job; None if there never was one."""
    try:
        found: dict[str, Any] = json.loads(_record_file(folder, attempt).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    runs = tuple(Lease(run_id, number) for run_id, number in found["runs"])
    printed = found.get("printed", 0)
    return Record(found["job"], runs, found["base"], found["checkpoints"], found["time"], printed)


def _write(folder: RunFolder, attempt: int, record: Record) -> None:
    path = _record_file(folder, attempt)
    whole = path.with_suffix(".new")
    whole.write_text(
        json.dumps(
            {
                "job": record.job,
                "runs": [[lease.run_id, lease.attempt] for lease in record.runs],
                "base": record.base,
                "checkpoints": record.checkpoints,
                "time": record.time,
                "printed": record.printed,
            }
        ),
        encoding="utf-8",
    )
    os.replace(whole, path)  # noqa: PTH105 - whole or not at all


def _record_file(folder: RunFolder, attempt: int) -> Path:
    return folder.path / f"sagemaker.{attempt}.json"
