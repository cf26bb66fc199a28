"""What happens in the process of a job: Hydra's `run_job`, and how the run ended in besom's words."""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.errors import RunFailedError, RunStopped
from besom.records import Metric, RunState
from besom_hydra.returned import ReturnError, metrics_of

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from besom.run import LiveRun
    from besom_hydra.app import App


@dataclass(frozen=True, slots=True)
class Task:
    """A job to be performed; `config` is its own, composed, and `result` where its JobReturn is left."""

    app: App
    config: DictConfig
    metric: Metric | None
    result: Path


def perform(task: Task) -> int:
    """Run the job in this process, which its environment attaches to a run; gives the exit code.

    The run's journal tells how it ended, and the file `task.result` holds the JobReturn. Both are missing if
    the process dies.
    """
    returned, raised = _run(task)
    live = _live()
    if raised is None:
        raised = _keep_value(task, returned, live)
    if raised is not None and not isinstance(raised, RunStopped):
        traceback.print_exception(raised)
    code = _end(task, live, raised)
    _leave_result(task, returned, raised)
    return code


def read_result(path: Path) -> JobReturn | None:
    """Give what `perform` left and delete it; None where it left nothing, or nothing that can be read."""
    try:
        with path.open("rb") as file:
            found: JobReturn = pickle.load(file)  # noqa: S301 - from a folder of this process's own
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001 - a class's own way to be restored may raise anything
        return None
    finally:
        path.unlink(missing_ok=True)
    return found


def _run(task: Task) -> tuple[JobReturn, BaseException | None]:
    from hydra.core.utils import JobStatus, run_job

    try:
        returned = run_job(
            task_function=task.app.task_function,
            config=task.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=task.app.hydra_context,
        )
    except SystemExit as exit_:
        returned = blank_return(task.config)
        if exit_.code in (None, 0):
            returned.status, returned.return_value = JobStatus.COMPLETED, None
            return returned, None
        return returned, RunFailedError(f"the job left with sys.exit({exit_.code!r})")
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt, or the job could not be set up
        return blank_return(task.config), error
    value: Any = returned._return_value  # noqa: SLF001 - of a failed job, `return_value` raises it
    return returned, value if returned.status is JobStatus.FAILED else None


def blank_return(config: DictConfig) -> JobReturn:
    """Give the JobReturn of a job that has none of its own: with its config and overrides, FAILED."""
    import copy

    from hydra.core.utils import JobReturn, JobStatus
    from omegaconf import OmegaConf, open_dict, read_write

    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    overrides: Any = OmegaConf.to_container(config.hydra.overrides.task)
    return JobReturn(
        overrides=overrides,
        cfg=task_config,
        hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]),
        working_dir=str(Path.cwd()),
        task_name=config.hydra.job.name,
        status=JobStatus.FAILED,
    )


def _live() -> LiveRun | None:
    if "besom.run.live" not in sys.modules:
        return None  # the job has not even imported it
    from besom.run.active import active_run

    found = active_run()
    return None if found is None or found.inherited else found


def _keep_value(task: Task, returned: JobReturn, live: LiveRun | None) -> BaseException | None:
    """Make what the job returned part of its run's summary; gives what is wrong if it is no result."""
    reported = {} if live is None else live.summary.as_dict()
    try:
        metrics = metrics_of(returned.return_value, task.metric, reported)
    except ReturnError as error:
        return error.with_traceback(None)
    if live is not None:
        live.summary.update(metrics)
    else:
        _write(task, ("summary", {"set": metrics}))
    return None


def _end(task: Task, live: LiveRun | None, raised: BaseException | None) -> int:
    from besom.run.outcome import code_and_error

    code, error = (0, None) if raised is None else code_and_error(raised)
    if live is not None:
        live.end_with(raised)
        return code
    if isinstance(raised, KeyboardInterrupt):
        return code  # the agent knows whether it was it that interrupted
    state = RunState.FAILED if code else RunState.FINISHED
    if isinstance(raised, RunStopped):
        state = RunState.STOPPED
    _write(task, ("finish", {"state": state.value, "exit_code": code, "error": error}))
    return code


def _write(task: Task, *entries: tuple[str, dict[str, Any]]) -> None:
    """Write into the journal of a job that never attached to its run: its agent delivers it."""
    import json

    from besom.folders import RunFolder
    from besom.journal import Journal

    folder = RunFolder(Path(os.environ["BESOM_RUN_DIR"]))
    journal = Journal(folder.journal(int(os.environ["BESOM_ATTEMPT"])))
    metric = {"name": task.metric.name, "goal": task.metric.goal} if task.metric else None
    params = json.loads(folder.params_file.read_text())
    start = {"pid": os.getpid(), "metric": metric, "step": None, "summary": None}
    try:
        for kind, body in (("start", start), ("config", params), *entries):
            journal.append(kind, time.time(), body)
    finally:
        journal.close()


def _leave_result(task: Task, returned: JobReturn, raised: BaseException | None) -> None:
    from hydra.core.utils import JobStatus

    if raised is not None:
        returned.status, returned.return_value = JobStatus.FAILED, raised
    text = _pickled(returned)
    partial = task.result.with_suffix(".part")
    partial.write_bytes(text)
    partial.rename(task.result)


def _pickled(returned: JobReturn) -> bytes:
    """Pickle a result; what cannot travel, the value returned above all, is replaced by what it says."""
    try:
        return pickle.dumps(returned)
    except Exception as error:  # noqa: BLE001 - objects may refuse in any way
        value: Any = returned._return_value  # noqa: SLF001
        said = f"the job returned a {type(value).__name__} that cannot leave its process: {error}"
        if isinstance(value, BaseException):
            said = f"{type(value).__name__}: {value}"
    with suppress(Exception):
        return pickle.dumps(replace(returned, _return_value=RunFailedError(said)))
    return pickle.dumps(replace(returned, cfg=None, hydra_cfg=None, _return_value=RunFailedError(said)))
