"""How a process finds its run.

In this order: the run it has already; mode="disabled"; the run that a function agent assigned; the run named
in the environment (attach, never claim); else a new run outside every sweep.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.config import Config, mapping_of, read_defaults
from besom.errors import NotFoundError, UsageError
from besom.folders import (
    RunFile,
    RunFolder,
    default_store,
    process_environment,
    read_run_file,
    run_folder,
    write_run_folder,
)
from besom.journal import Journal, read_account, read_delivered, replay
from besom.records import Attempt, Lease, Outcome, Run, RunState, Sweep
from besom.run import ending
from besom.run.active import activate, active_run
from besom.run.flusher import Flusher
from besom.run.live import LiveRun

if TYPE_CHECKING:
    from besom.store.base import Store

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0

_assignment: LiveRun | None = None


def init(
    *,
    project: str | None = None,
    entity: str | None = None,
    config: Any = None,
    name: str | None = None,
    id: str | None = None,  # noqa: A002 - W&B's word
    resume: bool | str | None = None,
    mode: str | None = None,
    reinit: bool | str | None = None,
    allow_val_change: bool = False,
    **ignored: Any,
) -> LiveRun:
    """Give this process's run: the one its agent started it for, else a new one outside every sweep.

    `config` is a dict, an `argparse.Namespace`, a dataclass, or the path of a YAML file; it wins over
    `config-defaults.yaml` in the working directory, and the sweep's parameters win over it. In a sweep,
    `project`, `entity`, `name`, `id` and `resume` are ignored. Outside, `id` names the run, and that of an
    ended run goes on with it as its next attempt (`resume="never"`: UsageError; `resume="must"`: UsageError
    if there is none).

    `mode="disabled"` gives a run that keeps nothing. On ranks above 0 the run has the same config and keeps
    nothing. A second call gives the same run, with `config` merged in, until it is finished. W&B's other
    arguments are accepted and ignored.
    """
    if ignored:
        logger.debug("init ignores %s", ", ".join(sorted(ignored)))
    given = read_defaults(config) if isinstance(config, (str, Path)) else mapping_of(config)
    current = _current_run(finish_it=reinit in (True, "finish_previous"))
    if current is not None:
        current.config.absorb(given)
        return current
    if "disabled" in (mode, os.environ.get("BESOM_MODE"), os.environ.get("WANDB_MODE")):
        run = _detached(
            RunFile("", 1, 0, name or "disabled", None, project, entity), None, given, {}, allow_val_change
        )
    elif os.environ.get("BESOM_RUN_ID"):
        ignored_here = {"project": project, "entity": entity, "name": name, "id": id, "resume": resume}
        for word in [word for word, value in ignored_here.items() if value is not None]:
            logger.info("init(%s=%r) is ignored: this run belongs to a sweep", word, ignored_here[word])
        run = _from_environment(given, allow_val_change)
    elif rank() > 0:
        run = _detached(
            RunFile(id or "", 1, 0, name or "", None, project, entity), None, given, {}, allow_val_change
        )
    else:
        run = _solo(
            given, allow_val_change, project=project, entity=entity, name=name, run_id=id, resume=resume
        )
    activate(run)
    ending.watch()
    return run


def sweep_folder() -> RunFolder | None:
    """Give the folder of the sweep's run that `init` would give here, None outside every sweep.

    Attaches to nothing: what must know the parameters before there is a run reads its `params_file`.
    """
    for run in (active_run(), _assignment):
        if run is not None and not run.ended:
            return RunFolder(run.dir) if run.sweep_id else None
    told = [os.environ.get(name) for name in ("BESOM_RUN_ID", "BESOM_SWEEP_ID", "BESOM_RUN_DIR")]
    return RunFolder(Path(str(told[-1]))) if all(told) else None


def this_run() -> LiveRun | None:
    """Give this process's run as `init` does, but None where `init` would begin one outside every sweep."""
    current = _current_run(finish_it=False)
    return init() if current is None and os.environ.get("BESOM_RUN_ID") else current


@contextmanager
def assigned(run: Run, sweep: Sweep, store: Store, folder: RunFolder) -> Generator[LiveRun]:
    """Inside, `init` in this process gives this run; leaving ends it by how it is left, unless it has ended.

    Returning finishes it; RunStopped stops it; SystemExit(0) finishes it; any other exception fails it. Every
    exception goes on. The lease is kept meanwhile, also when `init` is never called.
    """
    global _assignment  # noqa: PLW0603 - what init has to find
    about = RunFile(
        run.id,
        run.attempt,
        run.number,
        run.name,
        sweep.id,
        sweep.project,
        sweep.entity,
        sweep.metric,
        parent=run.parent,
    )
    live = _attached(about, folder, {}, run.params, lambda: store, store_url=store.url, keep_store=True)
    live.stops_at_log = True
    _assignment = live
    try:
        yield live
    except BaseException as exception:
        live.end_with(exception)
        raise
    else:
        live.finish()
    finally:
        _assignment = None


def rank() -> int:
    """Give this process's rank among those that train together, 0 when it is alone.

    Read from RANK, SLURM_PROCID (when SLURM_NTASKS is above 1), OMPI_COMM_WORLD_RANK, PMI_RANK, LOCAL_RANK,
    the first that is set.
    """
    slurm = ("SLURM_PROCID",) if _whole(os.environ.get("SLURM_NTASKS")) > 1 else ()
    for name in ("RANK", *slurm, "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK"):
        if os.environ.get(name):
            return _whole(os.environ[name])
    return 0


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _current_run(*, finish_it: bool) -> LiveRun | None:
    current = active_run()
    if current is None and _assignment is not None and not _assignment.ended:
        if _assignment.inherited:
            _assignment.after_fork_in_child()  # it was forked before `init` told the hooks of it
        activate(_assignment)
        return _assignment
    if current is None:
        return None
    if current.inherited and not current.sweep_id:
        return None  # a forked child that starts a run of its own
    if finish_it and not current.sweep_id:
        current.finish()
        return None
    return current


def _detached(
    about: RunFile, folder: RunFolder | None, given: Mapping[str, Any], params: Mapping[str, Any], allow: bool
) -> LiveRun:
    """Make a run that keeps nothing."""
    config = Config({**read_defaults(), **given}, swept=params, allow_val_change=allow)
    return LiveRun(about, folder, config, params=params)


def _from_environment(given: Mapping[str, Any], allow: bool) -> LiveRun:
    try:
        folder = RunFolder(Path(os.environ["BESOM_RUN_DIR"]))
        # A later attempt overwrites run.json; which attempt this process is stands in its environment.
        about = dataclasses.replace(read_run_file(folder), attempt=int(os.environ["BESOM_ATTEMPT"]))
        params = json.loads(Path(os.environ["BESOM_PARAMS_FILE"]).read_text(encoding="utf-8"))
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"BESOM_RUN_ID is {os.environ['BESOM_RUN_ID']!r}, but the rest of what an agent tells its "
            f"program is missing or unreadable ({type(error).__name__}: {error}); "
            "unset BESOM_RUN_ID to start a run of its own"
        ) from error
    if rank() > 0:
        return _detached(about, folder, given, params, allow)
    return _attached(
        about, folder, given, params, _default_store, store_url=default_store(), allow=allow, judged=True
    )


def _default_store() -> Store:
    from besom.store import open_store

    return open_store()


def _solo(
    given: Mapping[str, Any],
    allow: bool,
    *,
    project: str | None,
    entity: str | None,
    name: str | None,
    run_id: str | None,
    resume: bool | str | None,
) -> LiveRun:
    store = _default_store()
    before = _find(store, run_id) if run_id is not None else None
    if before is not None and resume == "never":
        raise UsageError(f"init(id={run_id!r}, resume='never'): there is a run with this id already")
    if before is None and resume == "must":
        raise UsageError(f"init(id={run_id!r}, resume='must'): there is no run with this id in {store.url}")
    if before is not None:
        _rescue(store, before)
    run = store.create_run(run_id=run_id, project=project, name=name, lease_seconds=_lease_seconds())
    folder = run_folder(run.id)
    write_run_folder(folder, run, None)
    about = RunFile(run.id, run.attempt, run.number, run.name, None, project, entity)
    earlier: Mapping[str, Any] = before.config if before is not None else {}
    return _attached(about, folder, {**earlier, **given}, {}, lambda: store, store_url=store.url, allow=allow)


def _rescue(store: Store, run: Run) -> None:
    """Bring what a killed process logged to the store, and end its attempt, so that the next one can start.

    A process that lives holds the lock of its journal, so its run is left alone.
    """
    path = run_folder(run.id).journal(run.attempt)
    if not path.exists():
        return
    journal = Journal(path)
    try:
        if journal.lock():
            told = replay(store, run.lease, path)
            if run.state is RunState.RUNNING:
                store.finish(
                    run.lease, told.finished or Outcome(RunState.PREEMPTED, error="its process died")
                )
    finally:
        journal.close()


def _find(store: Store, run_id: str) -> Run | None:
    try:
        return store.get_run(run_id)
    except NotFoundError:
        return None


def _attached(
    about: RunFile,
    folder: RunFolder,
    given: Mapping[str, Any],
    params: Mapping[str, Any],
    open_store: Callable[[], Store],
    *,
    store_url: str,
    allow: bool = False,
    keep_store: bool = False,
    judged: bool = False,
) -> LiveRun:
    """Make a run that writes its journal, and starts to deliver it unless another process does."""
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    path = folder.journal(about.attempt)
    account = read_account(path)  # what an earlier process of this attempt wrote; mostly nothing
    summarizer, step = account.summarizer, 0 if account.step is None else account.step + 1
    summarizer.metric = about.metric
    start: dict[str, Any] = {
        "pid": os.getpid(),
        "metric": _metric_entry(about),
        "step": None,
        "summary": None,
    }
    if about.attempt > 1 and account.step is None:
        step, summarizer.summary, summarizer.counts = _past(
            open_store, about, folder, close=not keep_store and about.sweep_id is not None
        )
        start |= {"step": step - 1, "summary": summarizer.summary, "counts": summarizer.counts}
    journal = Journal(path)
    new_flusher = functools.partial(
        Flusher,
        open_store,
        Lease(about.run_id, about.attempt),
        about.sweep_id,
        path,
        lease_seconds=_lease_seconds(),
        keep_store=keep_store,
    )
    flusher = new_flusher() if journal.lock() else None
    if flusher is None:
        logger.info(
            "run %s is written by another process already; this one adds to its journal", about.run_id
        )
    run: LiveRun
    config = Config(
        {**read_defaults(), **given},
        swept=params,
        allow_val_change=allow,
        on_change=lambda changed: run.record_config(changed),  # noqa: PLW0108 - the run comes after its config
    )
    run = LiveRun(
        about,
        folder,
        config,
        params=params,
        journal=journal,
        flusher=flusher,
        new_flusher=new_flusher,
        environment=process_environment(
            folder, about.run_id, about.attempt, about.sweep_id, store_url, lease_seconds=_lease_seconds()
        ),
        summarizer=summarizer,
        step=step,
        judged=judged,
    )
    run.record_start(start)
    ending.watch_forks()
    if flusher is not None:
        flusher.start()
    return run


def _metric_entry(about: RunFile) -> dict[str, str] | None:
    return {"name": about.metric.name, "goal": about.metric.goal} if about.metric else None


def _past(
    open_store: Callable[[], Store], about: RunFile, folder: RunFolder, *, close: bool
) -> tuple[int, dict[str, Any], dict[str, int]]:
    """Give the step after the last one of earlier attempts, and the summary and counts to go on from."""
    store = open_store()
    try:
        earlier = [found for found in store.attempts(about.run_id) if found.attempt < about.attempt]
        rows = (store.last_row(Lease(about.run_id, attempt)) for attempt in range(about.attempt - 1, 0, -1))
        last = next((row for row in rows if row is not None), None)
        return (last.step + 1 if last else 0), *_inherited(store, about, folder, earlier)
    finally:
        if close:
            store.close()


def _inherited(
    store: Store, about: RunFile, folder: RunFolder, earlier: list[Attempt]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Give the summary, and the counts of its means, of the attempt that this one goes on with.

    One that was interrupted is gone on with; a retry of a failed one starts with nothing. Outside a sweep
    naming the run means to go on with it, however it ended.
    """
    for found in reversed(earlier):
        interrupted = found.superseded or found.state in (RunState.PREEMPTED, RunState.CRASHED)
        if about.sweep_id is not None and not interrupted:
            break
        path = folder.journal(found.attempt)
        if path.exists():
            told = read_delivered(path) or read_account(path).replayed()
            return dict(told.summary), dict(told.counts)
        # It ran on another machine, or it never got to report and stands in the store with what was before.
        if store.last_row(Lease(found.run_id, found.attempt)) is not None:
            return dict(found.summary), {}
    return {}, {}


def _lease_seconds() -> float:
    """Give how long a report keeps the run's lease: what its agent uses, else a minute."""
    return float(os.environ.get("BESOM_LEASE_SECONDS") or LEASE_SECONDS)
