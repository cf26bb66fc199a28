"""Starts the programs of a sweep's runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from besom.agent.allowed import check_allowed
from besom.agent.command import build_command, program_folder, write_argument_files
from besom.agent.macros import fitted
from besom.agent.process import Child, child_environment, start_child
from besom.folders import RunFolder
from besom.records import Run, Sweep
from besom.sweep import sweep_config

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


class Starter(Protocol):
    """What an agent's runs are: how each one becomes a process."""

    def check(self, sweep: Sweep) -> None:
        """Raise UsageError when no run of the sweep could be started; called before anything is claimed."""
        ...

    def start(
        self,
        run: Run,
        sweep: Sweep,
        folder: RunFolder,
        *,
        environment: Mapping[str, str],
        on_end: Callable[[], None],
    ) -> Child:
        """Start a run, its output appended to `folder.output`; a thread calls `on_end` when it has ended.

        `environment` is added to the agent's own. Any exception fails this run alone.
        """
        ...


def check_program(config: SweepConfig) -> None:
    """Raise UsageError when the program of a sweep file is missing, or would get no parameters."""
    folder = str(Path(config.source).absolute().parent)
    fitted(config, program_folder(config, folder, Path.cwd()))


class ProgramStarter:
    """Starts the program that the sweep names, by its `command`, if it is among `allowed` (None: any is)."""

    def __init__(self, allowed: Sequence[str] | None = None) -> None:
        self._allowed = allowed
        self._config: tuple[int, SweepConfig] | None = None  # and the version of the sweep that has it

    def check(self, sweep: Sweep) -> None:
        """Raise UsageError when the program is missing or not allowed, or would get no parameters."""
        config = sweep_config(sweep)
        self._fitted(config, program_folder(config, sweep.folder, Path.cwd()))

    def start(
        self,
        run: Run,
        sweep: Sweep,
        folder: RunFolder,
        *,
        environment: Mapping[str, str],
        on_end: Callable[[], None],
    ) -> Child:
        """Start a run's program in its folder that was made ready.

        OSError, ValueError or UsageError when it cannot be started.
        """
        config = self._config_of(sweep)
        place = program_folder(config, sweep.folder, Path.cwd())
        config = self._fitted(config, place)
        write_argument_files(config, run.params, folder=folder)
        return start_child(
            build_command(config, run.params, folder=folder, place=place),
            environment=child_environment(os.environ, environment),
            folder=place,
            output=folder.output,
            on_end=on_end,
        )

    def _fitted(self, config: SweepConfig, place: Path) -> SweepConfig:
        config = fitted(config, place)
        if self._allowed is not None:
            check_allowed(config, place, self._allowed)
        return config

    def _config_of(self, sweep: Sweep) -> SweepConfig:
        if self._config is None or self._config[0] != sweep.version:
            self._config = (sweep.version, sweep_config(sweep))
        return self._config[1]
