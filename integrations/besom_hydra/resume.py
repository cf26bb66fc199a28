"""Finds the sweep that a command has begun before, or creates it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import CompactHydraException

from besom.errors import NotFoundError
from besom.records import BAD_ENDINGS, RunState, Sweep, SweepState
from besom.sweep import create_sweep, extend_sweep, resume_sweep, retry_runs, sweep_id_of
from besom.sweepfile import from_mapping
from besom_hydra.plan import EXTENSION, Plan
from besom_hydra.results import FILE as RESULTS
from besom_hydra.results import read_results

if TYPE_CHECKING:
    from besom.store.base import Store
    from besom_hydra.app import App

log = logging.getLogger(__name__)


def find_sweep(store: Store, plan: Plan, resume: str) -> Sweep | None:
    """Give the sweep that this command continues; None when it shall be a new one.

    HydraException when `resume` names another sweep than the command asks for.
    """
    if resume == "new":
        return None
    return _latest(store, plan) if resume == "auto" else _named(store, plan, resume)


def _latest(store: Store, plan: Plan) -> Sweep | None:
    """Give the newest sweep that asks the same question of the same config."""
    for sweep in store.list_sweeps(project=plan.config.project):
        known = sweep.config.get(EXTENSION)
        if not known or known["identity"] != plan.identity or sweep.state is SweepState.CANCELED:
            continue
        if (changed := _changed(store, sweep, plan)) is None:
            return sweep
        log.info(
            "The %s has changed since sweep %s, so this is a new one"
            " (hydra.sweeper.resume=%s goes on with the old one all the same)",
            changed,
            sweep.id,
            sweep.id,
        )
        return None
    return None


def _changed(store: Store, sweep: Sweep, plan: Plan) -> str | None:
    """Give what has changed so that the command cannot mean to go on with a sweep.

    A program may be mended while its sweep is under way, or has runs that failed and are tried again; one
    whose sweep is over is to run anew.
    """
    known = sweep.config[EXTENSION]
    if known["app_config"] != plan.app_config:
        return "app's config"
    if known["program"] == plan.program:
        return None
    failed = _retries(sweep) and store.progress(sweep.id).count(*BAD_ENDINGS)
    if sweep.state is SweepState.FINISHED and plan.config.run_cap in (None, sweep.run_cap) and not failed:
        return "program"
    log.warning("The program has changed since sweep %s began; it goes on with the new one", sweep.id)
    return None


def _named(store: Store, plan: Plan, name: str) -> Sweep:
    try:
        sweep = store.get_sweep(sweep_id_of(name))
    except NotFoundError as error:
        raise CompactHydraException(f"hydra.sweeper.resume is auto, new or a sweep's id; {error}") from error
    known = sweep.config.get(EXTENSION)
    if not known:
        raise CompactHydraException(
            f"sweep {sweep.id} was not begun by Hydra's multirun; run it with `besom agent {sweep.id}`"
        )
    if plan.given and known["identity"] != plan.identity:
        raise CompactHydraException(
            f"sweep {sweep.id} asks something else than this command (its space, method, metric, fixed"
            " overrides or sweep folder differ); give the command that began it, or one without overrides"
        )
    if known["app_config"] != plan.app_config:
        log.warning("The app's config has changed since sweep %s began: its runs will not be alike", sweep.id)
    return sweep


def require_end(plan: Plan) -> None:
    """Raise HydraException for a search that would never end."""
    if plan.config.expected_runs is None:
        raise CompactHydraException(
            f"the space has no end, and neither would a {plan.config.method} search of it;"
            " say how many runs there shall be: hydra.sweeper.count=N"
        )


def begin(store: Store, app: App, plan: Plan) -> Sweep:
    """Create the sweep; what an earlier one has left in its folder is moved to `earlier/<its id>` there.

    HydraException when the earlier one is still running.
    """
    folder = Path(str(app.config.hydra.sweep.dir)).absolute()
    if (held := read_results(folder)) is not None:
        _put_aside(store, str(held["sweep"]), folder, str(app.config.hydra.output_subdir))
    raw: dict[str, Any] = {**plan.config.raw}
    raw[EXTENSION] = {**raw[EXTENSION], "dir": str(folder)}
    sweep = create_sweep(store, from_mapping(raw, source=plan.config.source), folder=Path.cwd())
    log.info("Sweep %s: %s, %s runs, in %s", sweep.id, sweep.method, sweep.expected_runs, folder)
    return sweep


def _retries(sweep: Sweep) -> bool:
    """Say whether the command, given again, tries failed runs again; in a search they are results."""
    return sweep.method == "grid" and sweep.metric is None


def _put_aside(store: Store, earlier: str, folder: Path, output_subdir: str) -> None:
    try:
        running = store.progress(earlier).count(RunState.RUNNING)
    except NotFoundError:  # it was in another store
        running = 0
    if running:
        raise CompactHydraException(
            f"{folder} is the folder of sweep {earlier}, which is running, and this is another sweep;"
            " choose another hydra.sweep.dir"
        )
    place = folder / "earlier" / earlier
    jobs = [path.parent for path in folder.rglob(output_subdir) if (path / "overrides.yaml").exists()]
    for path in (*jobs, folder / "multirun.yaml", folder / RESULTS):
        part = path.relative_to(folder)
        if path.exists() and part.parts and part.parts[0] != "earlier":
            (place / part).parent.mkdir(parents=True, exist_ok=True)
            path.rename(place / part)
    log.info("What sweep %s has left in %s is in %s now", earlier, folder, place)


def reopen(store: Store, sweep: Sweep, plan: Plan) -> Sweep:
    """Make an earlier sweep hand out runs again; its count and attempts become those of the command."""
    said: dict[str, int] = {
        key: value
        for key, value in (("run_cap", plan.config.run_cap), ("max_attempts", plan.config.max_attempts))
        if value is not None and value != sweep.config.get(key)
    }
    if said:
        sweep = extend_sweep(
            store, sweep.id, from_mapping({**sweep.config, **said}, source=f"sweep {sweep.id}")
        )
    if _retries(sweep):
        again = retry_runs(store, sweep.id)
        if again:
            log.info("%d runs that had failed are tried again", len(again))
    if sweep.state is SweepState.STOPPED:
        sweep = resume_sweep(store, sweep.id)
    sweep = store.get_sweep(sweep.id)
    progress = store.progress(sweep.id)
    ended = progress.count(RunState.FINISHED, RunState.STOPPED)
    log.info(
        "Sweep %s goes on: %d of %s runs have ended well already"
        " (hydra.sweeper.resume=new starts another sweep)",
        sweep.id,
        ended,
        sweep.expected_runs,
    )
    return sweep
