"""Turns a multirun's command line and the options of `hydra.sweeper` into a besom sweep."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from besom.errors import UsageError
from besom.sweepfile import SweepConfig, from_mapping, load
from besom_hydra.grammar import Axis, CommandLine, read_overrides
from besom_hydra.program import command_of, this_program
from besom_hydra.refusals import require_at_least
from besom_hydra.returned import RETURNED

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from besom_hydra.app import App

EXTENSION = "x-hydra"
"""The key of a sweep's config under which the sweeper remembers what the multirun was."""

NOTHING_SWEPT = "hydra.job.name"
"""The parameter of a sweep without axes, whose one run sets it to what it is: a space cannot be empty."""

_OF_THE_MULTIRUN = (
    "hydra/sweeper",
    "hydra.sweeper",
    "hydra/launcher",
    "hydra.launcher",
    "hydra.sweep.",
    "hydra.mode",
)


@dataclass(frozen=True)
class SweeperOptions:
    """The fields of `hydra.sweeper`; None: as the file in `spec` says, else the default."""

    method: str | None = None
    metric: Any = None
    count: int | None = None
    parallel: int | None = None
    early_terminate: Mapping[str, Any] | None = None
    seed: int | None = None
    resume: str = "auto"
    retries: int | None = None
    max_failures: int | None = None
    fail_fast: bool = False
    max_batch_size: int | None = None
    spec: str | None = None
    store: str | None = None
    params: Mapping[str, str] | None = None

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> SweeperOptions:
        """Take the fields as OmegaConf has them; HydraException for one that cannot be."""
        plain: dict[str, Any] = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in fields.items()
        }
        options = cls(**plain)
        lowest = {"count": 1, "parallel": 1, "max_batch_size": 1, "retries": 0, "max_failures": 0}
        require_at_least("hydra.sweeper", options, lowest)
        return options


@dataclass(frozen=True)
class Plan:
    """A sweep as the command asks for it, whether it exists already or not."""

    config: SweepConfig
    command_line: CommandLine
    identity: str  # equal for the same question: space, method, metric, fixed overrides, app, folder
    app_config: str  # equal while the app's composed config is
    program: str | None  # equal while the file that was started is; None where there is none
    given: bool  # whether the command names a space at all

    @property
    def plain(self) -> bool:
        """Whether this is a grid without a metric: what Hydra's own sweeper does."""
        return self.config.method == "grid" and self.config.metric is None


def make_plan(app: App, options: SweeperOptions, arguments: Sequence[str], *, retries: int = 0) -> Plan:
    """Read what the command asks for.

    HydraException for what is wrong with the overrides or the options; SweepFileError for a wrong file.
    """
    loader = app.hydra_context.config_loader
    spec = load(_spec_path(options.spec)) if options.spec is not None else None
    method = options.method or (spec.method if spec is not None else None)
    lines = [f"{key}={value}" for key, value in (options.params or {}).items()]
    command_line = read_overrides([*lines, *arguments], loader, listed=method in (None, "grid"))
    method = method or _grid(command_line)
    raw = _merged(spec, command_line, str(app.config.hydra.job.name))
    raw |= _said(options, raw, method, retries)
    raw |= _command(app.config, command_line)
    source = f"the file {options.spec} with the command line" if options.spec else "hydra.sweeper"
    config = _checked(raw, source)
    identity, app_config = _digests(app.config, config, command_line)
    program = _program_digest()
    raw[EXTENSION] = {
        "identity": identity,
        "app_config": app_config,
        "program": program,
        "fixed": dict(command_line.fixed),
        "keys": list(command_line.keys),
        "swept": {key: dict(axis.texts) for key, axis in command_line.axes.items()},
    }
    return Plan(
        config=_checked(raw, source),
        command_line=command_line,
        identity=identity,
        app_config=app_config,
        program=program,
        given=bool(command_line.axes) or spec is not None,
    )


def known_command_line(extension: Mapping[str, Any]) -> CommandLine:
    """Give the command line of a sweep that was created before, from what it remembers."""
    axes = {key: Axis({}, texts) for key, texts in extension["swept"].items()}
    return CommandLine(extension["fixed"], axes, tuple(extension["keys"]))


def hydra_overrides(config: DictConfig) -> list[str]:
    """Give the overrides of Hydra's own config, with their interpolations as they were written."""
    found: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return [str(line) for line in found]


def job_overrides(config: DictConfig) -> list[str]:
    """Give those of them that a job has too when it is started alone."""
    return [line for line in hydra_overrides(config) if not line.lstrip("+~").startswith(_OF_THE_MULTIRUN)]


def is_group(name: str, loader: ConfigLoader) -> bool:
    """Say whether a parameter is a config group of the app."""
    group = name.lstrip("+").partition("@")[0]
    return "." not in group and bool(loader.get_group_options(group))


def _spec_path(path: str) -> Path:
    """Give the file where it is looked for: from where the command was given, whatever the present folder."""
    from hydra.core.hydra_config import HydraConfig

    if Path(path).is_absolute() or not HydraConfig.initialized():
        return Path(path)
    return Path(str(HydraConfig.get().runtime.cwd)) / path


def _grid(command_line: CommandLine) -> str:
    endless = [key for key, axis in command_line.axes.items() if not axis.listed]
    if endless:
        raise CompactHydraException(
            f"{', '.join(endless)}: a grid cannot list an interval; say how to search it with"
            " hydra.sweeper.method=bayes (or random) and hydra.sweeper.count=N"
        )
    return "grid"


def _merged(spec: SweepConfig | None, command_line: CommandLine, job_name: str) -> dict[str, Any]:
    """Give the sweep file with the axes of the command line; what the command line says wins."""
    raw: dict[str, Any] = dict(spec.raw) if spec is not None else {}
    parameters = dict(raw.get("parameters") or {})
    for key, axis in command_line.axes.items():
        parameters[key] = dict(axis.domain)
    for key in command_line.fixed:
        parameters.pop(key, None)
    order = [key for key in command_line.keys if key in parameters]
    raw["parameters"] = parameters or {NOTHING_SWEPT: {"value": job_name}}
    if order:
        raw["order"] = [*(name for name in raw.get("order", ()) if name not in order), *order]
    raw.setdefault("name", job_name)
    raw.setdefault("project", job_name)
    return raw


def _said(options: SweeperOptions, raw: Mapping[str, Any], method: str, retries: int) -> dict[str, Any]:
    """Give the keys of a sweep file that the options stand for."""
    said: dict[str, Any] = {"method": method}
    metric = _metric(options.metric) or raw.get("metric")
    early = options.early_terminate or raw.get("early_terminate")
    if metric is None and (method not in ("grid", "random") or early):
        metric = {"name": RETURNED, "goal": "minimize"}
    optional = {
        "metric": metric,
        "early_terminate": options.early_terminate,
        "run_cap": options.count,
        "seed": options.seed,
        "max_attempts": None if options.retries is None else options.retries + 1,
    }
    said |= {key: value for key, value in optional.items() if value is not None}
    if options.retries is None and retries and "max_attempts" not in raw:
        said["max_attempts"] = retries + 1
    return said


def _metric(given: Any) -> dict[str, Any] | None:
    """Give the metric as a sweep file has it: minimized unless said, and what is returned unless named."""
    if given is None:
        return None
    if isinstance(given, str):
        return {"name": given, "goal": "minimize"}
    if not isinstance(given, Mapping):
        raise CompactHydraException(
            f"hydra.sweeper.metric is a name or {{name: ..., goal: ...}}, not {given!r}"
        )
    return {"name": RETURNED, "goal": "minimize", **given}


def _checked(raw: Mapping[str, Any], source: str) -> SweepConfig:
    try:
        return from_mapping(raw, source=source)
    except UsageError as error:
        raise CompactHydraException(str(error)) from error


# ---- who the sweep is


def _digests(config: DictConfig, sweep: SweepConfig, command_line: CommandLine) -> tuple[str, str]:
    """Give what tells this sweep from every other, and what tells the app's config."""
    plain: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    hydra: dict[str, Any] = plain.pop("hydra")
    # An axis counts as it was written: a shuffled one has another order each time.
    parameters = {
        name: command_line.axes[name].signature if name in command_line.axes else domain
        for name, domain in sweep.raw["parameters"].items()
    }
    question = {
        "parameters": parameters,
        "fixed": dict(command_line.fixed),
        "order": list(sweep.order),
        "job": [hydra["job"]["name"], hydra["job"]["config_name"]],
        "folder": os.path.join(str(hydra["runtime"]["cwd"]), str(hydra["sweep"]["dir"])),  # noqa: PTH118 - not resolved
        **{key: sweep.raw.get(key) for key in ("method", "metric", "constraints", "early_terminate", "seed")},
    }
    return _digest(question), _digest(plain)


def _program_digest() -> str | None:
    program = this_program()
    try:
        return (
            None
            if program is None
            else hashlib.blake2b(program.file.read_bytes(), digest_size=16).hexdigest()
        )
    except OSError:
        return None


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# ---- how others may run it


def _command(config: DictConfig, command_line: CommandLine) -> dict[str, Any]:
    """Give `program` and `command`, by which any agent runs a job of this sweep, where there is a program."""
    program = this_program()
    if program is None:
        return {}
    name, words = command_of(program)
    if (config_name := config.hydra.job.config_name) is not None:
        words += ["--config-name", str(config_name)]
    sources = [(str(source.provider), str(source.path)) for source in config.hydra.runtime.config_sources]
    for provider, path in sources:
        if provider == "command-line":
            words += ["--config-dir", path]
    words += job_overrides(config)
    words += [*command_line.fixed.values(), "${args_hydra}"]
    return {"program": name, "command": words}
