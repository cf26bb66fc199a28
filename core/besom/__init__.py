"""besom: an open sweep engine that speaks Weights & Biases Sweeps' language.

    import besom

    with besom.init(config={"lr": 0.1}) as run:
        run.log({"loss": 0.5})

Everything here is loaded when it is used, so `import besom` costs next to nothing. `besom.sweep`,
`besom.agent`, `besom.run` and `besom.config` are these doors also where the modules of the same names have
been imported; `from besom.sweep import ...` reaches into the modules.
"""

# ruff: noqa: TC004 - what `__all__` names here is found by `_Doors.__getattr__` when it is used

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from besom import errors as errors
    from besom.agent import AgentResult
    from besom.api import Api as Api
    from besom.asking import Sweep as Sweep
    from besom.config import Config
    from besom.errors import BesomError as BesomError
    from besom.errors import ConfigError as ConfigError
    from besom.errors import NotFoundError as NotFoundError
    from besom.errors import RunFailedError as RunFailedError
    from besom.errors import RunStopped as RunStopped
    from besom.errors import StateError as StateError
    from besom.errors import StoreError as StoreError
    from besom.errors import SweepFileError as SweepFileError
    from besom.errors import UsageError as UsageError
    from besom.run import LiveRun
    from besom.run import init as init
    from besom.run.summary import Summary

    run: LiveRun | None
    config: Config
    summary: Summary

__version__ = "0.1.0"

__all__ = [
    "Api",
    "BesomError",
    "ConfigError",
    "NotFoundError",
    "RunFailedError",
    "RunStopped",
    "Settings",
    "StateError",
    "StoreError",
    "Sweep",
    "SweepFileError",
    "UsageError",
    "agent",
    "config",
    "define_metric",
    "errors",
    "finish",
    "init",
    "log",
    "log_code",
    "login",
    "mark_preempting",
    "report",
    "run",
    "sagemaker_auth",
    "summary",
    "sweep",
]

_LAZY = {"init": "besom.run", "Api": "besom.api", "Sweep": "besom.asking"} | {
    name: "besom.errors" for name in __all__ if name.endswith("Error") or name == "RunStopped"
}


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | str | os.PathLike[str],
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Sequence[str] | None = None,
) -> str:
    """Create a sweep from a config, a function that returns one, or the path of a sweep.yaml; gives its id.

    The runs named in `prior_runs` count as runs of the sweep that have ended already.
    """
    import logging

    from besom.store import open_store
    from besom.sweep import create_sweep
    from besom.sweepfile import from_mapping, load

    if isinstance(sweep, (str, os.PathLike)):
        read = load(os.fspath(sweep))
    else:
        read = from_mapping(sweep() if callable(sweep) else sweep)
    for warning in read.warnings:
        logging.getLogger("besom").warning(warning)
    store = open_store()
    try:
        return create_sweep(
            store, read, project=project, entity=entity, prior_runs=tuple(prior_runs or ())
        ).id
    finally:
        store.close()


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    *,
    forward_signals: bool = False,
    term_timeout: float | None = None,
    max_consecutive_failed_runs: int | None = None,
) -> AgentResult:
    """Run a sweep in this process until it is done or `count` runs have ended; gives how that went.

    Each run is a call of `function`, which gets its parameters by `besom.init()`; without one, the sweep's
    program is started for each run. A sweep's id is unique, so `entity` and `project` are not needed to find
    it. It ends early after `max_consecutive_failed_runs`. Of programs: `forward_signals` hands signals on to
    them, and `term_timeout` is the seconds from SIGTERM to SIGKILL.
    """
    import dataclasses

    from besom.agent import AgentOptions, run_agent, run_function_agent
    from besom.store import open_store
    from besom.sweep import sweep_id_of

    store = open_store()
    try:
        if function is not None:
            return run_function_agent(
                store,
                sweep_id_of(sweep_id),
                function,
                count=count,
                max_consecutive_failures=max_consecutive_failed_runs,
            )
        options = AgentOptions(
            count=count,
            forward_signals=forward_signals,
            max_consecutive_failures=max_consecutive_failed_runs,
        )
        if term_timeout is not None:
            options = dataclasses.replace(options, grace=term_timeout)
        return run_agent(store, sweep_id_of(sweep_id), options)
    finally:
        store.close()


def login(*_: Any, **__: Any) -> bool:
    """Give True: programs that were written for W&B log in first, and there is no account here."""
    return True


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **_: Any) -> None:
    """Record metrics of this process's run; see `LiveRun.log`."""
    _attached("log").log(data, step=step, commit=commit)


def report(step: int | None = None, **metrics: Any) -> None:
    """Record metrics of the run that this process is, and raise RunStopped if the run was asked to stop.

    Nothing need be called before: a process that an agent started for a run attaches to it. Outside every
    run it does nothing.
    """
    from besom.run.attach import this_run

    run = this_run()
    if run is not None:
        run.log(metrics, step=step)
        run.check_stop()


def define_metric(
    name: str,
    step_metric: str | None = None,
    *,
    summary: str | None = None,
    goal: str | None = None,
    **_: Any,
) -> None:
    """Say how a metric of this process's run is summarized; see `LiveRun.define_metric`."""
    _attached("define_metric").define_metric(name, step_metric, summary=summary, goal=goal)


def finish(exit_code: int | None = 0, **_: Any) -> None:
    """End this process's run; does nothing where there is none."""
    if (run := _active()) is not None:
        run.finish(exit_code)


def log_code(root: str | os.PathLike[str] | None = ".", **choices: Any) -> os.PathLike[str] | None:
    """Copy the source files below `root` into the folder of this process's run; see `LiveRun.log_code`."""
    return _attached("log_code").log_code(root, **choices)


def mark_preempting() -> None:
    """Say that this process is about to be preempted; see `LiveRun.mark_preempting`."""
    _attached("mark_preempting").mark_preempting()


class Settings(SimpleNamespace):
    """What `init(settings=...)` takes from programs that were written for W&B; it has no effect."""


def sagemaker_auth(
    overrides: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] = ".",
    api_key: str | None = None,
) -> dict[str, str]:
    """Let the SageMaker jobs of this process have credentials; gives the references that they get.

    No secret is written into `path`, the estimator's source_dir, as W&B's function of this name does; see
    `besom_sagemaker.auth`.
    """
    from besom.plugins import load_plugin

    given: dict[str, str] = load_plugin("besom.doors", "sagemaker_auth")(overrides, path, api_key)
    return given


def _active() -> LiveRun | None:
    from besom.run.active import active_run

    return active_run()


def _attached(what: str) -> LiveRun:
    run = _active()
    if run is None:
        from besom.errors import UsageError

        raise UsageError(f"besom.{what} needs a run: call besom.init() first")
    return run


def _hint(name: str) -> str:
    """Give what to say about an attribute that is not there; nothing where only Python asks for it."""
    if name.startswith("_"):
        return ""
    import difflib

    close = difflib.get_close_matches(name, __all__, n=1, cutoff=0.75)
    known = f"did you mean {close[0]!r}?" if close else "of W&B's, it has what runs and sweeps need"
    return f"; {known}"


class _BeforeInit:
    """Stands for `besom.config` or `besom.summary` before there is a run, and then for the run's own."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "_what", what)

    def _real(self) -> Any:
        return getattr(_attached(self._what), self._what)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # a question of copy, pickle or inspect, not of the program
        return getattr(self._real(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real(), name, value)

    def __getitem__(self, key: str) -> Any:
        return self._real()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._real()[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._real()

    def __iter__(self) -> Any:
        return iter(self._real())

    def __len__(self) -> int:
        return len(self._real())

    def __repr__(self) -> str:
        run = _active()
        return f"<besom.{self._what} before besom.init()>" if run is None else repr(self._real())


class _Doors(ModuleType):
    """The module's own type: keeps a door where the import system would put a module of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "run":
            return _active()
        if name in ("config", "summary"):
            run = _active()
            return _BeforeInit(name) if run is None else getattr(run, name)
        if name == "errors":
            return importlib.import_module("besom.errors")
        if name in _LAZY:
            found = getattr(importlib.import_module(_LAZY[name]), name)
            setattr(self, name, found)
            return found
        raise AttributeError(f"module 'besom' has no attribute {name!r}{_hint(name)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})

    def __reduce__(self) -> tuple[Any, ...]:
        # Launchers pickle a program's functions with the modules that they use; those are pickled by name.
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Doors
