"""The Hydra callback that `${args_hydra}` adds to an app: it brings the job's result to its run.

An app may also have it in its config, to say what happens when the config has changed under a sweep:

    hydra:
      callbacks:
        besom:
          _target_: besom_hydra.callback.ReportToRun
          drift: fail          # warn, fail or ignore

Outside a run of a sweep, and in a multirun, it does nothing.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.experimental.callback import Callback

from besom.errors import BesomError, RunStopped, UsageError
from besom_hydra.applied import unapplied
from besom_hydra.drift import described, note_drift
from besom_hydra.returned import ReturnError, metrics_of

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from besom.run import LiveRun

log = logging.getLogger(__name__)

DRIFT = ("warn", "fail", "ignore")


class NotAppliedError(BesomError):
    """The app composed a config without the sweep's parameters."""


class DriftError(BesomError):
    """The app's config is no longer that of the sweep's first runs."""


class ReportToRun(Callback):
    """Reports a job to the run that its process was started for."""

    def __init__(self, drift: Literal["warn", "fail", "ignore"] = "warn") -> None:
        if drift not in DRIFT:
            raise UsageError(f"hydra.callbacks.besom.drift cannot be {drift!r}; known: {', '.join(DRIFT)}")
        self._drift = drift
        self._run: LiveRun | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Attach to the run, and refuse a config that is not the sweep's."""
        if not os.environ.get("BESOM_RUN_ID"):
            return
        from besom.run import init

        self._run = init()
        try:
            self._check(config, self._run)
        except BesomError as error:
            _refuse(self._run, error)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Report how the job ended and what it returned."""
        from hydra.core.utils import JobStatus

        if self._run is None:
            return
        if job_return.status is JobStatus.FAILED:
            raised = job_return._return_value  # noqa: SLF001 - the property raises it
            self._run.end_with(raised)
            if isinstance(raised, RunStopped):
                # Asked for, not an error: without this Hydra prints a traceback and leaves with 1.
                job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        else:
            self._report(self._run, job_return.return_value)

    def _check(self, config: DictConfig, run: LiveRun) -> None:
        params: dict[str, Any] = json.loads(Path(os.environ["BESOM_PARAMS_FILE"]).read_text(encoding="utf-8"))
        if wrong := unapplied(params, config):
            raise NotAppliedError(
                f"the app did not take the sweep's parameters: {described(wrong)}. The command"
                " or the app overrides them; this run would not be what the sweep takes it for"
            )
        facts: dict[str, Any] = {
            "overrides": list(config.hydra.overrides.task),
            "output_dir": str(Path(config.hydra.run.dir).absolute()),
        }
        if self._drift != "ignore" and (changes := self._changes(config, params, run)):
            facts["drift"] = changes
            said = f"the app's config has changed since this sweep's first runs: {described(changes)}"
            if self._drift == "fail":
                raise DriftError(f"{said}. Put it back, or start another sweep")
            sys.stderr.write(f"besom: warning: {said}\n")
        run.config.update({"hydra": facts}, allow_val_change=True)

    def _changes(self, config: DictConfig, params: dict[str, Any], run: LiveRun) -> list[str]:
        if not run.sweep_id:
            return []
        folder = Path(os.environ["BESOM_DIR"]) / "sweeps" / run.sweep_id
        try:
            return note_drift(folder, config, params)
        except OSError as error:
            log.warning("whether the app's config has changed cannot be told: %s", error)
            return []

    def _report(self, run: LiveRun, returned: object) -> None:
        from besom.folders import RunFolder, read_run_file

        if run.ended:
            if returned is not None:
                log.info(
                    "run %s was finished before its task returned, so what that returned is lost", run.id
                )
            return
        metric = read_run_file(RunFolder(run.dir)).metric
        try:
            found = metrics_of(returned, metric, run.summary.as_dict())
        except ReturnError as error:
            sys.stderr.write(f"besom: {error}\n")
            run.end_with(error.with_traceback(None))
            return
        if found:
            run.summary.update(found)


def _refuse(run: LiveRun, error: BesomError) -> None:
    """End the run and its process: Hydra turns what a callback raises into warnings, unless it is an exit."""
    sys.stderr.write(f"besom: {error}\n")
    run.end_with(error.with_traceback(None))
    raise SystemExit(1)
