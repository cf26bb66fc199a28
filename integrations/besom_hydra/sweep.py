"""What `hydra/sweeper=besom` does: find or create the sweep, run it, say how it went."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf, open_dict, read_write

from besom.errors import RunFailedError
from besom.records import BAD_ENDINGS, ENDED, Run, RunState, SweepState
from besom.store import open_store
from besom.sweep import stop_sweep, sweep_config
from besom_hydra.batches import run_batches
from besom_hydra.corners import validate
from besom_hydra.past import job_folder, past_return
from besom_hydra.plan import (
    EXTENSION,
    NOTHING_SWEPT,
    Plan,
    SweeperOptions,
    hydra_overrides,
    known_command_line,
    make_plan,
)
from besom_hydra.refusals import told_in_a_line
from besom_hydra.results import write_results
from besom_hydra.resume import begin, find_sweep, reopen, require_end
from besom_hydra.work import Job, LaunchOptions, exit_after, last_line, run_jobs, run_number

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher

    from besom.store.base import Store
    from besom_hydra.app import App

log = logging.getLogger(__name__)

_WRITE_EVERY = 1.0  # seconds between two versions of results.yaml
_LISTED_METHODS = ("grid", "random")


def sweep(
    app: App, launcher: Launcher, fields: Mapping[str, Any], arguments: Sequence[str]
) -> list[list[JobReturn]]:
    """Run what the command line asks for, or what is left of it; gives every job's return, in batches.

    Jobs come in the order of their numbers, those of earlier calls among them, as one batch or as batches of
    `max_batch_size`. The first failure is raised at the end of a grid without a metric, as Hydra's own
    sweeper does; in a search it is logged, and raised only when no run has ended well, or failures are more
    than `max_failures`, or `fail_fast` was asked for. HydraException for what is wrong with the command,
    and for a first failure that is no exception of the job's own.
    """
    options = SweeperOptions.read(fields)
    ours = _launch_options(launcher, options)
    with told_in_a_line():
        plan = make_plan(app, options, arguments, retries=ours.retries if ours else 0)
        store = open_store(options.store)
        try:
            return _Multirun(app, store, plan, options).run(launcher, ours)
        finally:
            store.close()


def _launch_options(launcher: Launcher, options: SweeperOptions) -> LaunchOptions | None:
    """Give how besom's own launcher is to run jobs; None for any other launcher."""
    fields: Any = getattr(launcher, "options", None)
    if type(launcher).__module__ != "hydra_plugins.besom.launcher" or fields is None:
        return None
    launch = LaunchOptions.read(fields)
    return launch if options.parallel is None else replace(launch, workers=options.parallel)


class _Multirun:
    """One call of the sweeper."""

    def __init__(self, app: App, store: Store, plan: Plan, options: SweeperOptions) -> None:
        self._app = app
        self._store = store
        self._options = options
        self._returns: dict[int, JobReturn] = {}
        self._failed: list[Job] = []
        self._stopped_for = ""
        self._written = 0.0
        self._command_line = plan.command_line
        self._space = plan.config.space
        earlier = find_sweep(store, plan, options.resume)
        if earlier is None:
            require_end(plan)
            validate(app, self._space, self._line_at)
            self._sweep = begin(store, app, plan)
        else:
            self._space = sweep_config(earlier).space
            if not plan.given:
                self._command_line = known_command_line(earlier.config[EXTENSION])
            self._sweep = reopen(store, earlier, plan)
            if self._sweep.state is not SweepState.FINISHED:
                validate(app, self._space, self._line_at)
        self._resumed = earlier is not None
        self._plain = self._sweep.method == "grid" and self._sweep.metric is None
        self._folder = Path(self._sweep.config[EXTENSION]["dir"])
        _go_on_in(app, self._folder)

    def run(self, launcher: Launcher, ours: LaunchOptions | None) -> list[list[JobReturn]]:
        self._begin()
        try:
            if ours is None:
                run_batches(
                    self._app,
                    self._store,
                    self._sweep.id,
                    launcher,
                    size=self._batch_size(),
                    line_of=self._line,
                    on_job=self._on_job,
                )
            else:
                self._stream(ours)
        finally:
            self._write()
        if ours is not None and not ours.wait:
            return []
        self._conclude()
        return self._batches()

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "multirun.yaml").exists():
            OmegaConf.save(self._app.config, self._folder / "multirun.yaml")
        for run in self._store.list_runs(self._sweep.id, states=ENDED) if self._resumed else ():
            if run.state in (RunState.FINISHED, RunState.STOPPED):
                self._returns[run_number(run)] = past_return(self._app, run, self._line(run))
        self._write()

    def _stream(self, ours: LaunchOptions) -> None:
        result = run_jobs(
            self._app, self._store, self._sweep.id, ours, overrides_of=self._line, on_job=self._on_job
        )
        self._write()
        exit_after(result)
        if result.exit_code:
            raise RunFailedError(result.reason)

    def _batch_size(self) -> int | None:
        """Give how many runs a launcher gets at a time: few where the next ones depend on them."""
        options = self._options
        size = options.max_batch_size or options.parallel
        if size is None and (options.fail_fast or self._sweep.method not in _LISTED_METHODS):
            return 1
        return size

    # ---- what a run is to Hydra

    def _line(self, run: Run) -> list[str]:
        return self._line_at(run.params)

    def _line_at(self, params: Mapping[str, Any]) -> list[str]:
        flat = self._space.flatten(params)
        flat.pop(NOTHING_SWEPT, None)
        return self._command_line.line(flat)

    # ---- while it runs

    def _on_job(self, job: Job) -> None:
        self._returns[job.number] = job.result
        if job.run.state not in (RunState.FINISHED, RunState.STOPPED):
            self._failed.append(job)
            self._watch_failures()
        if time.monotonic() - self._written >= _WRITE_EVERY:
            self._write()

    def _watch_failures(self) -> None:
        most = 0 if self._options.fail_fast else self._options.max_failures
        if most is None or len(self._failed) <= most or self._stopped_for:
            return
        self._stopped_for = "fail_fast" if self._options.fail_fast else f"max_failures={most}"
        log.error("%d runs have failed: no more are started (%s)", len(self._failed), self._stopped_for)
        if self._store.get_sweep(self._sweep.id).state.value in ("pending", "running", "paused"):
            stop_sweep(self._store, self._sweep.id)

    def _write(self) -> None:
        self._written = time.monotonic()
        write_results(
            self._store,
            self._sweep.id,
            self._folder,
            line_of=self._line,
            folder_of=lambda run: job_folder(self._app, run, self._line(run)),
            config=self._app.config,
        )

    # ---- at the end

    def _conclude(self) -> None:
        best = self._folder / "results.yaml"
        self._failed.sort(key=lambda job: job.number)
        for job in self._failed:
            log.error("#%d %s: %s", job.number, job.run.state.value, last_line(job.run.error))
        progress = self._store.progress(self._sweep.id)
        good = progress.count(RunState.FINISHED, RunState.STOPPED)
        if self._failed and (self._plain or self._stopped_for or not good):
            _ = self._failed[0].result.return_value  # raises what the job raised
            raise RunFailedError(f"job {self._failed[0].number} failed")
        bad = progress.count(*BAD_ENDINGS)
        failed = f", {bad} have not" if bad else ""
        log.info("Sweep %s: %d runs have ended well%s; see %s", self._sweep.id, good, failed, best)

    def _batches(self) -> list[list[JobReturn]]:
        ordered = [self._returns[number] for number in sorted(self._returns)]
        size = self._options.max_batch_size or max(1, len(ordered))
        return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def _go_on_in(app: App, folder: Path) -> None:
    """Make the folder that the sweep began in the sweep's folder again, for jobs too."""
    hydra = app.config.hydra
    if Path(str(hydra.sweep.dir)).absolute() == folder:
        return
    from besom_hydra.arguments import overrides

    said = hydra_overrides(app.config)
    with read_write(app.config), open_dict(app.config):
        hydra.sweep.dir = str(folder)
        hydra.overrides.hydra = [*said, *overrides("hydra.sweep.dir", str(folder), prefix="")]
    log.info("The sweep goes on in its folder %s", folder)
