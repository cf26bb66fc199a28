"""Finds the implementations behind besom's protocols by name: besom's own, and those other packages bring.

A package adds one by an entry point in the group `besom.stores` (by URL scheme), `besom.methods`,
`besom.stoppers`, `besom.launchers`, `besom.macros`, `besom.checkers`, `besom.commands` (a click command for
the command line) or `besom.doors` (what a function of `besom` calls where an integration does the work).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from besom.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILTIN = {
    # Known here too, because reading every installed package's entry points costs 40 ms.
    "besom.stores": {
        "sqlite": "besom.store.sqlite:open_sqlite",
        "postgresql": "besom.store.postgres:open_postgres",
        "postgres": "besom.store.postgres:open_postgres",
        "http": "besom.store.http:open_http",
        "https": "besom.store.http:open_http",
        "job": "besom_sagemaker.inside.store:open_job_store",
    },
    "besom.methods": {
        "grid": "besom.search.grid:create_grid",
        "random": "besom.search.random:create_random",
        "bayes": "besom.search.bayes:create_bayes",
        "custom": "besom.search.custom:create_custom",
        "pbt": "besom.search.pbt:create_pbt",
        "optuna": "besom_optuna.method:create_optuna",
        "ax": "besom_ax.method:create_ax",
    },
    "besom.stoppers": {
        "asha": "besom.stopping.asha:create_asha",
        "hyperband": "besom.stopping.hyperband:create_hyperband",
        "median": "besom.stopping.median:create_median",
        "patience": "besom.stopping.patience:create_patience",
        "threshold": "besom.stopping.threshold:create_threshold",
        "wilcoxon": "besom.stopping.wilcoxon:create_wilcoxon",
    },
    "besom.launchers": {
        "batch": "besom_aws.batch:BatchLauncher",
        "ecs": "besom_aws.ecs:EcsLauncher",
        "local": "besom.launch.local:LocalLauncher",
        "ray": "besom_ray.launcher:RayLauncher",
        "slurm": "besom_slurm.launcher:SlurmLauncher",
    },
    "besom.checkers": {
        "hydra": "besom_hydra.check:check_program",
        "lightning": "besom_lightning.check:check_program",
    },
    "besom.macros": {"args_hydra": "besom_hydra.macro:ARGS_HYDRA"},
    "besom.commands": {
        "publish": "besom_aws.commands:publish",
        "requirements": "besom_sagemaker.commands.requirements:requirements",
        "sagemaker": "besom_sagemaker.commands.sagemaker:sagemaker",
        "secrets": "besom_sagemaker.commands.secrets:secrets",
    },
    "besom.doors": {
        "queue_agent": "besom_aws.agent:run_queue_agent",
        "sagemaker_auth": "besom_sagemaker.auth:sagemaker_auth",
    },
}


def load_plugin(group: str, name: str) -> Any:
    """Give the object registered under `name` in `group`.

    NotFoundError names the nearest, or lists what there is; UsageError if a package's cannot be imported.
    """
    if target := BUILTIN[group].get(name):
        return _load(target)
    kind = group.removeprefix("besom.").removesuffix("s")
    point = _brought(group).get(name)
    if point is None:
        raise NotFoundError(f"no {kind} is called {name!r}; {nearest_plugin(group, name)}")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.dist.name if point.dist else "its package"
        raise UsageError(f"the {kind} {name!r} of {package} cannot be loaded: {error}") from error


def has_plugin(group: str, name: str) -> bool:
    """Say whether something is registered under `name` in `group`; loads nothing."""
    return name in BUILTIN[group] or name in _brought(group)


def nearest_plugin(group: str, name: str) -> str:
    """Give the end of a message about an unknown name: `did you mean ...?`, else what there is."""
    known = sorted({*BUILTIN[group], *_brought(group)})
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def every_plugin(group: str) -> Iterator[Any]:
    """Give every object registered in `group`, besom's own first, then the others by name."""
    yield from map(_load, BUILTIN[group].values())
    for name, point in sorted(_brought(group).items()):
        if name not in BUILTIN[group]:
            yield point.load()


def _brought(group: str) -> dict[str, EntryPoint]:
    """Give what installed packages register, by name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=group)}


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
