"""Runs the batches of any Hydra sweeper: what is behind `hydra/launcher=besom`.

All batches of one multirun are one besom sweep. Each job is enqueued into it with its overrides as
parameters, and the sweep's `run_cap` is the number of jobs so far; so it is finished between two batches.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.records import Run, Suggestion, Sweep, SweepDraft
from besom.store import open_store
from besom_hydra.app import App
from besom_hydra.enqueued import command_of
from besom_hydra.refusals import told_in_a_line
from besom_hydra.work import Job, LaunchOptions, exit_after, run_jobs, worker_count

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from besom.store.base import Store

log = logging.getLogger(__name__)


class Batches:
    """The batches of one multirun; the first one creates their sweep."""

    def __init__(self, app: App, options: LaunchOptions) -> None:
        self.app = app
        self.options = options
        self._sweep: Sweep | None = None

    def launch(self, batch: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run jobs numbered from `first`; gives their results in the order of `batch`.

        A job that failed has a result that says so, and the others run all the same. Nothing is given back
        where nobody waits for them (`wait=false`).
        """
        from hydra.core.utils import configure_log, setup_globals

        setup_globals()
        config = self.app.config
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs, %d at a time", len(batch), worker_count(self.options))
        with told_in_a_line():
            store = open_store()
            try:
                return self._launch(store, batch, first)
            finally:
                store.close()

    def _launch(self, store: Store, batch: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        self._sweep = sweep = self._with_room(store, len(batch))
        places: dict[str, int] = {}
        for place, overrides in enumerate(batch):
            number = first + place
            suggestion = Suggestion(f"{number:08d}", {"job": number, "overrides": list(overrides)})
            places[store.enqueue(sweep.id, suggestion).id] = place
        results: dict[int, JobReturn] = {}

        def keep(job: Job) -> None:
            results[places[job.run.id]] = job.result

        exit_after(
            run_jobs(
                self.app,
                store,
                sweep.id,
                self.options,
                overrides_of=_overrides,
                number_of=_number,
                on_job=keep,
            )
        )
        if not self.options.wait:
            return []
        return [results[place] for place in range(len(batch))]

    def _with_room(self, store: Store, jobs: int) -> Sweep:
        """Give the multirun's sweep with room for so many more jobs."""
        if self._sweep is None:
            return store.create_sweep(_draft(self.app, self.options, jobs))
        sweep = store.get_sweep(self._sweep.id)
        room = (sweep.run_cap or 0) + jobs
        return store.amend_sweep(
            sweep.id,
            version=sweep.version,
            config={**sweep.config, "run_cap": room},
            run_cap=room,
            max_attempts=sweep.max_attempts,
            expected_runs=room,
            text=None,
        )


def _draft(app: App, options: LaunchOptions, jobs: int) -> SweepDraft:
    name = str(app.config.hydra.job.name)
    config: dict[str, Any] = {
        "name": name,
        "method": "random",
        "parameters": {"job": {"min": 0, "max": 2**53}},
        "command": command_of(app),
        "run_cap": jobs,
        "max_attempts": options.retries + 1,
    }
    return SweepDraft(
        config=config,
        name=name,
        method="random",
        run_cap=jobs,
        max_attempts=options.retries + 1,
        expected_runs=jobs,
    )


def _overrides(run: Run) -> Sequence[str]:
    found: Sequence[str] = run.params["overrides"]
    return found


def _number(run: Run) -> int:
    found: int = run.params["job"]
    return found
