"""`SageMakerSweep`: a sweep whose runs are SageMaker training jobs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from besom.errors import NotFoundError, UsageError
from besom.folders import besom_dir
from besom.records import ENDED, Metric, Progress, Run, RunState, Sweep, SweepState
from besom_sagemaker.auth import remembered
from besom_sagemaker.guard import check_settings, refuse_secrets, refuse_secrets_of_sdk
from besom_sagemaker.job import Layout
from besom_sagemaker.lock import driver_runs, only_driver, sagemaker_folder, stop_jobs
from besom_sagemaker.plan import JobOptions
from besom_sagemaker.settings import is_networked, merge_settings, read_sweep
from besom_sagemaker.stored import find_sweep, opened
from besom_sagemaker.template import JobTemplate, read_template

if TYPE_CHECKING:
    from besom.agent import AgentEvent, AgentResult
    from besom.store.base import Store
    from besom_sagemaker.agents import AgentJobs
    from besom_sagemaker.capacity import DriverOptions
    from besom_sagemaker.cloud import Cloud
    from besom_sagemaker.driver import Driver
    from besom_sagemaker.plan import Code

PerJob = int | Literal["until_done"]
UNFINISHED = frozenset({SweepState.PENDING, SweepState.RUNNING, SweepState.PAUSED})


@dataclass(frozen=True, slots=True)
class SageMakerStatus:
    """How far a sweep is; `seconds` are billed, `saved_seconds` those that spot training did not bill."""

    sweep: Sweep
    progress: Progress
    jobs: Mapping[str, str]  # names of jobs in progress -> secondary status
    seconds: int = 0
    saved_seconds: int = 0
    usd: float | None = None  # None without prices


class SageMakerSweep:
    """A sweep over an estimator (SDK v2), a ModelTrainer (SDK v3), or a CreateTrainingJob request.

    `sweep` is the path of a sweep.yaml, or the sweep as a mapping; the same again goes on with its sweep.
    By default (*driver mode*) the sweep stays in this machine's store, and `run()` drives it. With
    `store`, the reference to a networked store's address, jobs run agents of that store by themselves.

    `trials_per_job` runs share a job, one after another, which saves a start of minutes each; "until_done"
    needs a networked store. `secrets` are references such as "secretsmanager:name#key", never values.
    `prices` are dollars per hour by instance type; `budget_usd` ends the sweep when so much is spent.
    `image_provides` names packages that "auto" requirements leave to the image (with * for any letters),
    `allow_missing` imports that may be missing, `allow_leaks` paths where what looks like a secret is none.
    """

    def __init__(
        self,
        template: Any,
        sweep: str | Path | Mapping[str, Any],
        *,
        inputs: Any = None,
        store: str | None = None,
        secrets: Mapping[str, str] | None = None,
        requirements: str | Path | Sequence[str] | None = "auto",
        image_provides: Sequence[str] | None = None,
        allow_missing: Sequence[str] | None = None,
        max_jobs: int | None = None,
        trials_per_job: PerJob | None = None,
        count: int | None = None,
        spot: bool | None = None,
        max_wait: int | None = None,
        keep_alive: int | None = None,
        budget_usd: float | None = None,
        prices: Mapping[str, float] | None = None,
        source_dir: str | Path | None = None,
        program: str | None = None,
        s3_prefix: str | None = None,
        environment: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float | None = None,
        toolkit: bool | None = None,
        allow_leaks: Sequence[str] | None = None,
        poll_seconds: float | None = None,
        region: str | None = None,
        session: Any = None,
    ) -> None:
        given = {
            "store": store, "secrets": secrets, "max_jobs": max_jobs, "trials_per_job": trials_per_job,
            "count": count, "spot": spot, "max_wait": max_wait, "keep_alive": keep_alive,
            "budget_usd": budget_usd, "prices": prices, "s3_prefix": s3_prefix, "environment": environment,
            "tags": tags, "timeout": timeout, "toolkit": toolkit, "poll_seconds": poll_seconds,
            "region": region, "image_provides": image_provides, "allow_missing": allow_missing,
            "allow_leaks": allow_leaks,
        }  # fmt: skip
        self._config = read_sweep(sweep)
        # The SDKs upload code while they make a request, so theirs is looked at before.
        refuse_secrets_of_sdk(template, {**remembered(), **(secrets or {})}, allow=allow_leaks or ())
        self.template: JobTemplate = read_template(
            template, inputs=inputs, program=program, source_dir=source_dir
        )
        """What all jobs have in common."""
        self._settings = merge_settings(self.template.options, given)
        self._requirements = self._settings.pop("requirements", requirements)
        self._session = session or self.template.session
        refuse_secrets(
            self.template,
            self._settings.get("environment") or {},
            self._secrets,
            allow=self._settings.get("allow_leaks") or (),
        )
        check_settings(self._settings, self.template)
        self._job_references()
        self._sweep_id: str | None = None
        self._cloud: Cloud | None = None
        self._needed: dict[str, bytes] = {}  # requirements.txt and wheels, as the last preview made them

    # ---- the verbs

    def run(self, *, new: bool = False, on_event: Callable[[AgentEvent], None] | None = None) -> AgentResult:
        """Create the sweep, or go on with it, and drive it until it ends.

        For the main thread: a signal ends the driver and leaves the jobs alone, and `run` again adopts them.
        StateError when another driver of the sweep runs. UsageError, before anything is submitted, for what
        SageMaker would refuse; LeakError for what looks like a secret.
        """
        from besom.agent import ignore

        self.preview()
        with self._open_store() as store:
            sweep = self._create(store, new=new)
            with only_driver(sweep.id):
                code = self._upload(self.cloud, self.layout(sweep.id), store.url)
                if self._networked:
                    return self._agent_jobs(store, sweep, code, on_event or ignore).run()
                return self._driver(store, sweep, code, on_event or ignore).run()

    def preview(self) -> dict[str, Any]:
        """Give the request of a first job; RequestError if SageMaker would refuse it.

        UnresolvedImportsError for imports that nothing provides.

        Uploads and submits nothing, and leaves nothing behind.
        """
        from besom.scheduler import Scheduler
        from besom.store import open_store
        from besom.sweep import create_sweep
        from besom_sagemaker.plan import Code
        from besom_sagemaker.validate import check_request

        with tempfile.TemporaryDirectory(prefix="besom-") as home:
            store = open_store(f"sqlite:///{home}/besom.db")
            try:
                sweep = create_sweep(store, self._config)
                agent = store.add_agent(sweep.id, host="preview", pid=0)
                scheduler = Scheduler(store, sweep.id, agent_id=agent.id)
                size = self._driver_options(None).runs_per_job
                claimed = [scheduler.claim() for _ in range(size)]
                runs = [run for run in claimed if isinstance(run, Run)]
                layout = self.layout(sweep.id)
                code = Code("0" * 32, layout.code("0" * 32), None, self.template.source)
                fleet = self._fleet(self._cloud, layout, code, Path(home))
                request: dict[str, Any] = fleet.request(fleet.prepare(store, scheduler.sweep, runs))
            finally:
                store.close()
        check_request(request)
        self._needed = self._requirement_files()
        return request

    def status(self) -> SageMakerStatus:
        """Give how far the sweep is; NotFoundError before the first `run`."""
        from besom_sagemaker.names import job_prefix

        with self._open_store() as store:
            sweep = self._found(store)
            ledger = self._ledger(sweep.id)
            return SageMakerStatus(
                sweep,
                store.progress(sweep.id),
                self.cloud.in_progress(job_prefix(sweep.id)),
                ledger.seconds,
                ledger.saved,
                ledger.usd if self._settings.get("prices") else None,
            )

    def best(self) -> Run | None:
        """Give the best run so far, None if there is none; NotFoundError before the first `run`."""
        with self._open_store() as store:
            return store.best_run(self._found(store).id)

    def runs(self) -> list[Run]:
        """Give the sweep's runs by number; NotFoundError before the first `run`."""
        with self._open_store() as store:
            return store.list_runs(self._found(store).id)

    def stop(self, *, kill: bool = False) -> Sweep:
        """Hand out no more runs and end those that run, with their checkpoints saved unless `kill`.

        Works from any process: the driver passes it on; without one, the jobs themselves are stopped.
        """
        from besom.sweep import cancel_sweep, stop_sweep

        with self._open_store() as store:
            sweep = self._found(store)
            if kill:
                sweep = cancel_sweep(store, sweep.id)
            else:
                sweep = stop_sweep(store, sweep.id) if sweep.state in UNFINISHED else sweep
                for run in store.list_runs(sweep.id, states={RunState.RUNNING}):
                    store.request_stop(run.id, "the sweep was stopped")
            if not driver_runs(sweep.id):
                stop_jobs(self.cloud, store, sweep.id, kill=kill)
            return sweep

    # ---- what it works with

    @property
    def metric(self) -> Metric | None:
        """What the sweep is judged by."""
        return self._config.metric

    @property
    def cloud(self) -> Cloud:
        """The AWS calls of this sweep."""
        from besom_sagemaker.cloud import Cloud

        if self._cloud is None:
            self._cloud = Cloud(self._session, region=self._settings.get("region"))
        return self._cloud

    def layout(self, sweep_id: str) -> Layout:
        """Give where the sweep's files are in S3: below `s3_prefix`, else the template's output path."""
        prefix = self._settings.get("s3_prefix")
        if prefix is None:
            output: str = self.template.request.get("OutputDataConfig", {}).get("S3OutputPath", "")
            if not output.startswith("s3://"):
                raise UsageError(
                    "the template has no OutputDataConfig.S3OutputPath; give s3_prefix='s3://...'"
                )
            prefix = f"{output.rstrip('/')}/besom"
        return Layout(f"{str(prefix).rstrip('/')}/{sweep_id}")

    @property
    def job_options(self) -> JobOptions:
        """What jobs get beside their template."""
        names = ("max_wait", "keep_alive", "tags", "environment", "timeout")
        chosen = {name: self._settings[name] for name in names if self._settings.get(name) is not None}
        return JobOptions(
            spot=bool(self._settings.get("spot")),
            secrets=self._job_references(),
            toolkit=bool(self._settings.get("toolkit")),
            **chosen,
        )

    @property
    def _secrets(self) -> Mapping[str, str]:
        return {**remembered(), **(self._settings.get("secrets") or {})}

    def _job_references(self) -> dict[str, str]:
        """Give the references that the jobs' role can read; those of this machine have to be pushed first."""
        from besom_sagemaker.secrets import read_references

        references = read_references(self._secrets)
        if here := [one.name for one in references if not one.in_the_job]:
            words = " ".join(f"{one.name}={one}" for one in references if not one.in_the_job)
            raise UsageError(
                f"secrets[{here[0]!r}] is on this machine, where no job can read it; run"
                f" `besom secrets push {words}` and give the references that it prints"
            )
        return {one.name: str(one) for one in references}

    def _driver_options(self, count: int | None) -> DriverOptions:
        from besom_sagemaker.capacity import DriverOptions

        settings = self._settings
        chosen = {
            name: settings[name]
            for name in ("max_jobs", "poll_seconds", "budget_usd")
            if settings.get(name) is not None
        }
        per_job = settings.get("trials_per_job") or 1
        per_job = 1 if per_job == "until_done" else per_job
        return DriverOptions(runs_per_job=int(per_job), count=count, grace=self.job_options.grace, **chosen)

    def _fleet(self, cloud: Cloud | None, layout: Layout, code: Code, home: Path) -> Any:
        from besom_sagemaker.fleet import Fleet

        return Fleet(
            cloud,
            self.template,
            self.job_options,
            layout=layout,
            code=code,
            home=home,
            prices=self._settings.get("prices"),
        )

    def _driver(
        self, store: Store, sweep: Sweep, code: Code, on_event: Callable[[AgentEvent], None]
    ) -> Driver:
        from besom_sagemaker.driver import Driver

        return Driver(
            store,
            sweep.id,
            cloud=self.cloud,
            fleet=self._fleet(self.cloud, self.layout(sweep.id), code, besom_dir()),
            ledger=self._ledger(sweep.id),
            options=self._driver_options(self._left(store, sweep)),
            on_event=on_event,
        )

    def _agent_jobs(
        self, store: Store, sweep: Sweep, code: Code, on_event: Callable[[AgentEvent], None]
    ) -> AgentJobs:
        from besom_sagemaker.agents import AgentJobs
        from besom_sagemaker.cloud import instances_of
        from besom_sagemaker.cost import usd_per_second

        per_job = self._settings.get("trials_per_job", "until_done")
        return AgentJobs(
            store,
            sweep.id,
            str(self._settings["store"]),
            cloud=self.cloud,
            template=self.template,
            job_options=self.job_options,
            layout=self.layout(sweep.id),
            code=code,
            ledger=self._ledger(sweep.id),
            options=self._driver_options(None),
            runs_per_job=None if per_job == "until_done" else int(per_job),
            usd_per_second=usd_per_second(
                instances_of(self.template.request), self._settings.get("prices") or {}
            ),
            on_event=on_event,
        )

    def _ledger(self, sweep_id: str) -> Any:
        from besom_sagemaker.cost import Ledger

        return Ledger(sagemaker_folder(sweep_id) / "ledger.jsonl", self._settings.get("prices") or {})

    def _upload(self, cloud: Cloud, layout: Layout, address: str) -> Code:
        from besom_sagemaker.package import build_files, upload, with_store_client

        needed = with_store_client(self._needed, address) if self._networked else self._needed
        return upload(cloud, layout, self.template, build_files(self.template, needed))

    def _requirement_files(self) -> dict[str, bytes]:
        from besom_sagemaker.package import requirement_files

        return requirement_files(
            self.template,
            self.template.program or self._config.program,
            self._requirements,
            image_provides=self._settings.get("image_provides"),
            allow_missing=self._settings.get("allow_missing") or (),
        )

    # ---- the sweep in its store

    def _open_store(self) -> AbstractContextManager[Store]:
        return opened(self._settings.get("store"), region=self._settings.get("region"))

    @property
    def _networked(self) -> bool:
        return is_networked(str(self._settings.get("store") or ""))

    def _create(self, store: Store, *, new: bool) -> Sweep:
        from besom.sweep import create_sweep

        sweep = None if new else self._find(store)
        if sweep is None:
            sweep = create_sweep(store, self._config)
        self._sweep_id = sweep.id
        return sweep

    def _find(self, store: Store) -> Sweep | None:
        if self._sweep_id is not None:
            return store.get_sweep(self._sweep_id)
        return find_sweep(store, self._config)

    def _found(self, store: Store) -> Sweep:
        sweep = self._find(store)
        if sweep is None:
            raise NotFoundError("this sweep was not started yet; call run()")
        return sweep

    def _left(self, store: Store, sweep: Sweep) -> int | None:
        count = self._settings.get("count")
        return None if count is None else max(0, int(count) - store.progress(sweep.id).count(*ENDED))
