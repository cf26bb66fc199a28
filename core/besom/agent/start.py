"""Starts the programs of a sweep's runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from besom.agent.command import build_command, program_folder, write_argument_files
from besom.agent.job import Job
from besom.agent.options import AgentOptions
from besom.agent.process import child_environment, start_child
from besom.folders import RunFolder, run_environment
from besom.records import Run, Sweep
from besom.sweep import sweep_config

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


class Starter:
    """Starts programs in an agent's slots; `slots` are the variables that each one gives to its programs."""

    def __init__(self, store_url: str, options: AgentOptions, slots: Sequence[dict[str, str]]) -> None:
        self._store_url = store_url
        self._options = options
        self._slots = slots
        self._config: tuple[int, SweepConfig] | None = None  # and the version of the sweep that has it

    def start(
        self, run: Run, sweep: Sweep, folder: RunFolder, *, slot: int, on_end: Callable[[], None]
    ) -> Job:
        """Start a run's program in its folder that was made ready; a thread calls `on_end` at its end.

        OSError, ValueError or UsageError when it cannot be started.
        """
        options = self._options
        config = self._config_of(sweep)
        write_argument_files(config, run.params, folder=folder)
        written = folder.output.stat().st_size if folder.output.exists() else 0
        child = start_child(
            build_command(config, run.params, folder=folder),
            environment=child_environment(
                os.environ,
                run_environment(folder, run, self._store_url, lease_seconds=options.lease_seconds),
                self._slots[slot],
            ),
            folder=program_folder(config, sweep.folder, Path.cwd()),
            output=folder.output,
            on_end=on_end,
        )
        timeout_at = None if options.timeout is None else time.monotonic() + options.timeout
        return Job(run, sweep, folder, slot, child, options.grace, written, timeout_at, shown=written)

    def _config_of(self, sweep: Sweep) -> SweepConfig:
        if self._config is None or self._config[0] != sweep.version:
            self._config = (sweep.version, sweep_config(sweep))
        return self._config[1]
