"""Finds the sweep that a command has begun before, or creates it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException

from besom.errors import NotFoundError
from besom.records import RunState, Sweep, SweepState
from besom.sweep import create_sweep, extend_sweep, resume_sweep, retry_runs, sweep_id_of
from besom.sweepfile import from_mapping
from besom_hydra.plan import EXTENSION, Plan, SweeperOptions
from besom_hydra.results import read_results

if TYPE_CHECKING:
    from besom.store.base import Store
    from besom_hydra.app import App

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The sweep to work on."""

    sweep: Sweep
    resumed: bool


def find_or_create(store: Store, app: App, plan: Plan, options: SweeperOptions) -> Found:
    """Give the sweep that this command continues, ready to hand out runs, else a new one.

    HydraException when `resume` names another sweep than the command asks for, or when a new sweep would
    write into the folder of an old one.
    """
    if options.resume == "new":
        earlier = None
    elif options.resume == "auto":
        earlier = _latest(store, plan)
    else:
        earlier = _named(store, plan, options.resume)
    if earlier is None:
        return Found(_create(store, app, plan), resumed=False)
    return Found(_reopened(store, earlier, plan), resumed=True)


def _latest(store: Store, plan: Plan) -> Sweep | None:
    """Give the newest sweep that asks the same question of the same config."""
    for sweep in store.list_sweeps(project=plan.config.project):
        known = sweep.config.get(EXTENSION)
        if not known or known["identity"] != plan.identity or sweep.state is SweepState.CANCELED:
            continue
        if known["app_config"] == plan.app_config:
            return sweep
        log.info(
            "The app's config has changed since sweep %s, so this is a new one"
            " (hydra.sweeper.resume=%s goes on with the old one all the same)",
            sweep.id,
            sweep.id,
        )
        return None
    return None


def _named(store: Store, plan: Plan, name: str) -> Sweep:
    try:
        sweep = store.get_sweep(sweep_id_of(name))
    except NotFoundError as error:
        raise HydraException(f"hydra.sweeper.resume is auto, new or a sweep's id; {error}") from error
    known = sweep.config.get(EXTENSION)
    if not known:
        raise HydraException(
            f"sweep {sweep.id} was not begun by Hydra's multirun; run it with `besom agent {sweep.id}`"
        )
    if plan.given and known["identity"] != plan.identity:
        raise HydraException(
            f"sweep {sweep.id} asks something else than this command (its space, method, metric, fixed"
            " overrides or sweep folder differ); give the command that began it, or one without overrides"
        )
    if known["app_config"] != plan.app_config:
        log.warning("The app's config has changed since sweep %s began: its runs will not be alike", sweep.id)
    return sweep


def _create(store: Store, app: App, plan: Plan) -> Sweep:
    if plan.config.expected_runs is None:
        raise HydraException(
            f"the space has no end, and neither would a {plan.config.method} search of it;"
            " say how many runs there shall be: hydra.sweeper.count=N"
        )
    folder = Path(str(app.config.hydra.sweep.dir)).absolute()
    held = read_results(folder)
    if held is not None:
        raise HydraException(
            f"{folder} holds the runs of sweep {held['sweep']}, and this is another sweep; choose another"
            " hydra.sweep.dir, or take the folder away"
        )
    raw: dict[str, Any] = {**plan.config.raw}
    raw[EXTENSION] = {**raw[EXTENSION], "dir": str(folder)}
    sweep = create_sweep(store, from_mapping(raw, source=plan.config.source))
    log.info("Sweep %s: %s, %s runs, in %s", sweep.id, sweep.method, sweep.expected_runs, folder)
    return sweep


def _reopened(store: Store, sweep: Sweep, plan: Plan) -> Sweep:
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
    if sweep.method == "grid" and sweep.metric is None:
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
