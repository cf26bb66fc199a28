"""Finds the implementations behind besom's protocols by name: besom's own, and those other packages bring.

A package adds one by an entry point in the group `besom.stores` (by URL scheme), `besom.methods`,
`besom.stoppers`, `besom.launchers`, `besom.macros`, `besom.checkers`, `besom.commands` (a click command for
the command line) or `besom.doors` (what a function of `besom` calls where an integration does the work).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from typing import Any

from besom.errors import NotFoundError

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
    """Give the object registered under `name` in `group`; NotFoundError lists what there is."""
    if target := BUILTIN[group].get(name):
        return _load(target)
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=group)}
    if name in found:
        return found[name].load()
    known = sorted({*BUILTIN[group], *found})
    kind = group.removeprefix("besom.").removesuffix("s")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    raise NotFoundError(f"no {kind} is called {name!r}; {hint}")


def every_plugin(group: str) -> Iterator[Any]:
    """Give every object registered in `group`, besom's own first, then the others by name."""
    from importlib.metadata import entry_points

    yield from map(_load, BUILTIN[group].values())
    others = {point.name: point for point in entry_points(group=group) if point.name not in BUILTIN[group]}
    for name in sorted(others):
        yield others[name].load()


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
