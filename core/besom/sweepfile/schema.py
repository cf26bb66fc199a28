"""Reads the top level of a sweep file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from besom.errors import UsageError
from besom.plugins import has_plugin, nearest_plugin
from besom.records import Goal, Limit, Metric
from besom.space.components import MAX_STATES
from besom.sweepfile.config import DEFAULT_COMMAND, SweepConfig
from besom.sweepfile.early import read_early_terminate
from besom.sweepfile.fields import Fields, described
from besom.sweepfile.methods import LEARNING, SETTINGS, read_settings, setting_places, settings_key
from besom.sweepfile.parameters import ParameterReader, read_constraints
from besom.sweepfile.tree import Node, Problems, did_you_mean, problem_at

WANDB_ONLY = ("controller", "scheduler", "job", "image_uri")
KEYS = frozenset(
    {
        *("method", "parameters", "metric", "metrics", "early_terminate", "run_cap", "program", "command"),
        *("name", "description", "project", "entity"),
        *("apiVersion", "kind", *WANDB_ONLY),
        *("constraints", "order", "seed", "max_attempts", *SETTINGS),  # ours
    }
)
EXTENSION = "x-"
"""How keys begin that besom keeps and does not read: room for what tools must remember with a sweep."""
MAX_SEED = 2**63 - 1


def read_config(root: Node, problems: Problems, text: str | None) -> SweepConfig:
    """Give the config that a tree describes; SweepFileError with every problem in it."""
    if not isinstance(root.value, dict):
        what = (
            "is empty"
            if root.value is None
            else f"must be a mapping of keys such as method, not {described(root)}"
        )
        problems.add(root.place, f"the sweep file {what}")
        problems.raise_any()
    fields = Fields(root, "", problems)
    extensions = (key for key in fields.entries if key.startswith(EXTENSION))
    fields.only({*KEYS, settings_key(fields) or "method", *extensions})
    reader = ParameterReader(problems)
    node = fields.node("parameters")
    if node is not None:
        reader.read(node)
    elif not _searches_elsewhere(fields):
        problems.add(fields.where("parameters"), "parameters is missing: what should the sweep vary?")
    metric, metrics = _metrics(fields)
    config = SweepConfig(
        method=_method(fields),
        parameters=tuple(reader.parameters[name] for name in sorted(reader.parameters)),
        constraints=read_constraints(fields.node("constraints"), reader.names, problems),
        order=_order(fields, reader.names),
        metric=metric,
        metrics=metrics,
        program=fields.text("program"),
        command=_command(fields),
        run_cap=fields.whole("run_cap", least=1),
        max_attempts=fields.whole("max_attempts", least=1),
        early_terminate=read_early_terminate(fields),
        settings=read_settings(fields),
        places=setting_places(fields),
        name=fields.text("name"),
        description=fields.text("description"),
        project=fields.text("project"),
        entity=fields.text("entity"),
        seed=_seed(fields),
        raw=root.plain(),
        text=text,
        source=problems.source,
        warnings=(*reader.warnings, *_ignored(fields), *_unheeded(fields, metric, metrics)),
    )
    _check_wandb_keys(fields)
    _check_together(fields, config)
    problems.raise_any()
    _check_space(fields, reader, config)
    problems.raise_any()
    return config


def _method(fields: Fields) -> str:
    method = fields.text("method")
    if method is None:
        if fields.node("method") is None:
            fields.problems.add(
                fields.where("method"), "method is missing; write method: grid, random or bayes"
            )
        return "grid"
    if not has_plugin("besom.methods", method):
        fields.add("method", f"cannot be {method!r}; {nearest_plugin('besom.methods', method)}")
    return method


# ---- metric


def _metrics(fields: Fields) -> tuple[Metric | None, tuple[Metric, ...]]:
    """Give the metric that comes first, with all limits, and the goals where there are several."""
    node, several = fields.node("metric"), fields.node("metrics")
    if several is None:
        found = [] if node is None else [_metric(node, "metric", fields.problems)]
        return _with_limits(found[0], found) if found and found[0] else None, ()
    if node is not None:
        fields.add("metrics", "and metric cannot both be there")
    if not isinstance(several.value, list) or len(several.value) < 2:
        fields.add("metrics", "must be a list of two or more; use metric for one")
        return None, ()
    found = [_metric(item, f"metrics[{index}]", fields.problems) for index, item in enumerate(several.value)]
    names = [item.name for item in found if item]
    for name in sorted({name for name in names if names.count(name) > 1}):
        fields.add("metrics", f"names {name} more than once")
    goals = [
        metric
        for item, metric in zip(several.value, found, strict=True)
        if metric and isinstance(item.value, dict) and ("goal" in item.value or not metric.limits)
    ]
    if None not in found and not goals:
        fields.add("metrics", "has no goal; write goal: minimize or goal: maximize for one of them")
    if len(goals) > 1 and any(metric.target is not None for metric in goals):
        fields.add("metrics", "cannot have a target where there are several goals: none of them is the best")
    if not goals:
        return None, ()
    return _with_limits(goals[0], found), tuple(goals) if len(goals) > 1 else ()


def _with_limits(metric: Metric, found: Sequence[Metric | None]) -> Metric:
    return replace(metric, limits=tuple(limit for item in found if item for limit in item.limits))


def _metric(node: Node, path: str, problems: Problems) -> Metric | None:
    if not isinstance(node.value, dict):
        name = node.value if isinstance(node.value, str) else "loss"
        problems.add(node.place, f"{path} must be a mapping; write {{name: {name[:60]}, goal: minimize}}")
        return None
    fields = Fields(node, path, problems)
    fields.only({"name", "goal", "target", "impute", "impute_while_running", "min", "max"})
    fields.require("name")
    how = ("latest", "best", "worst")
    running = fields.node("impute_while_running")
    said_no = running is not None and running.value is False  # `false` without quotes is a boolean
    low, high = fields.number("min"), fields.number("max")
    if low is not None and high is not None and low > high:
        fields.add("min", f"({low:g}) is above max ({high:g})")
    name = fields.text("name") or ""
    return Metric(
        name=name,
        goal=cast("Goal", fields.choice("goal", ("minimize", "maximize"), "minimize")),
        target=fields.number("target"),
        impute=cast("Any", fields.choice("impute", how, "worst")),
        impute_while_running="false"
        if said_no
        else cast("Any", fields.choice("impute_while_running", (*how, "false"), "false")),
        limits=() if low is None and high is None else (Limit(name, low, high),),
    )


# ---- other keys


def _command(fields: Fields) -> tuple[str, ...]:
    node = fields.node("command")
    if node is None:
        return DEFAULT_COMMAND
    if not isinstance(node.value, list) or not node.value:
        fields.add("command", f"must be a list such as [{', '.join(DEFAULT_COMMAND)}]")
        return DEFAULT_COMMAND
    words: list[str] = []
    for item in node.value:
        if item.value is None or isinstance(item.value, (list, dict)):
            fields.problems.add(item.place, f"a word of command must be text, not {described(item)}")
        elif "\0" in str(item.value):
            fields.problems.add(item.place, "a word of command cannot hold a NUL character")
        else:
            words.append(str(item.value))
    return tuple(words)


def _order(fields: Fields, names: set[str]) -> tuple[str, ...]:
    node = fields.node("order")
    if node is None:
        return ()
    if not isinstance(node.value, list):
        fields.add("order", "must be a list of parameters, such as [lr, model.depth]")
        return ()
    given = [str(item.plain()) for item in node.value]
    for name, item in zip(given, node.value, strict=True):
        if name not in names:
            fields.problems.add(item.place, f"order: {name} is no parameter{did_you_mean(name, names)}")
    if len(set(given)) < len(given):
        fields.add("order", "names a parameter twice")
    return tuple(given)


def _seed(fields: Fields) -> int | None:
    seed = fields.whole("seed", least=0)
    if seed is not None and seed > MAX_SEED:
        fields.add("seed", f"must be at most {MAX_SEED}")
        return None
    return seed


# ---- W&B's own machinery


def _searches_elsewhere(fields: Fields) -> bool:
    node = fields.node("scheduler")
    entry = node.value.get("search_space") if node is not None and isinstance(node.value, dict) else None
    return entry is not None and bool(entry.node.value)


def _check_wandb_keys(fields: Fields) -> None:
    """Check what besom accepts, because W&B does, and does not use."""
    for key in ("apiVersion", "job", "image_uri"):
        fields.text(key)
    fields.choice("kind", ("sweep",), "sweep")
    for key in ("controller", "scheduler"):
        node = fields.node(key)
        if node is not None and not isinstance(node.value, dict):
            fields.add(key, f"must be a mapping, not {described(node)}")
    controller = fields.node("controller")
    kind = "cloud"
    if controller is not None and isinstance(controller.value, dict):
        own = Fields(controller, "controller", fields.problems)
        own.require("type")
        kind = own.choice("type", ("local", "cloud"), "cloud")
    scheduler = fields.node("scheduler")
    if scheduler is not None and isinstance(scheduler.value, dict):
        _check_scheduler(fields, Fields(scheduler, "scheduler", fields.problems), local=kind == "local")


def _check_scheduler(fields: Fields, own: Fields, *, local: bool) -> None:
    own.only({"engine", "source", "optimizer", "search_space"})
    own.require("engine")
    engine = own.choice("engine", ("optuna", "ax", "wandb"), "wandb")
    for key in ("source", "optimizer", "search_space"):
        own.text(key)
    if ("optimizer" in own or "search_space" in own) and "source" not in own:
        own.require("source")
    method = fields.node("method")
    custom = method is not None and method.value == "custom"
    if "engine" in own and custom is (engine == "wandb"):
        needed = "grid, random or bayes" if engine == "wandb" else "custom"
        own.add("engine", f"{engine!r} needs method: {needed}" + (", not method: custom" if custom else ""))
    if "early_terminate" in fields:
        fields.add("scheduler", "and early_terminate cannot both be there")
    if local:
        fields.add("scheduler", "cannot be used with controller.type local")


def _ignored(fields: Fields) -> list[str]:
    return [
        str(
            problem_at(
                fields.problems.source, fields.entries[key].key_place, f"{key} is W&B's own and has no effect"
            )
        )
        for key in WANDB_ONLY
        if key in fields
    ]


def _unheeded(fields: Fields, metric: Metric | None, metrics: Sequence[Metric]) -> list[str]:
    """Warn of `impute_while_running`: bayes believes of runs under way what its model expects of them."""
    goals = metrics or (() if metric is None else (metric,))
    if all(goal.impute_while_running == "false" for goal in goals):
        return []
    message = "impute_while_running has no effect: of a run under way, bayes believes what its model expects"
    return [
        str(problem_at(fields.problems.source, fields.where("metrics" if metrics else "metric"), message))
    ]


# ---- what must fit together


def _check_together(fields: Fields, config: SweepConfig) -> None:
    no_metric = fields.node("metric") is None and fields.node("metrics") is None
    elsewhere = "scheduler" in fields and config.method == "bayes"
    if no_metric and config.method in LEARNING and not elsewhere:
        fields.add("method", f"{config.method} needs a metric; write metric: {{name: loss, goal: minimize}}")
    if config.method == "pbt" and config.early_terminate is not None:
        fields.add("early_terminate", "does not go with method: pbt, whose runs give way to better ones")
    if no_metric and config.early_terminate is not None:
        fields.add("early_terminate", "needs a metric; write metric: {name: loss, goal: minimize}")


def _check_space(fields: Fields, reader: ParameterReader, config: SweepConfig) -> None:
    """Check what shows once the whole space is there: grids without end, constraints without sense."""
    problems = fields.problems
    if config.method == "grid":
        for parameter in config.parameters:
            if parameter.distribution.size is None:
                problems.add(
                    reader.places[parameter.name],
                    f"parameters.{parameter.name} is {parameter.distribution.describe()}, which a grid cannot"
                    " list; give values, whole min and max, or a q_ distribution with bounds, or use"
                    " method: random",
                )
    for parameter in config.parameters:
        parents = {condition.parent for condition in parameter.conditions}
        for name in parents:
            size = next(item.distribution.size for item in config.parameters if item.name == name)
            if size is not None and size > MAX_STATES:
                problems.add(
                    reader.places[parameter.name],
                    f"parameters.{parameter.name} depends on {name}, which has {size} values;"
                    f" {MAX_STATES} is the most",
                )
    problems.raise_any()
    try:
        _ = config.space.size
        config.space.draw(0, 0)
    except UsageError as error:
        concerned = "constraints" if str(error).startswith("constraint ") else "parameters"
        problems.add(fields.where(concerned), str(error))
