"""Asks a sweep's program, before any run, whether it takes its parameters: the last thing `besom check` does.

How to ask depends on what the program is built with. So it is asked by **checkers**, which are found by
entry point in the group `besom.checkers`: functions that get a `Rehearsal` and give None where the program is
not of their kind, else its faults, one line each. A checker may start the program (`Rehearsal.ask`), with
arguments that make it say what it would do; it must never let it train. What is allowed but odd is no fault:
it is said by `Rehearsal.warn`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from besom.agent.command import build_command, program_folder, write_argument_files
from besom.agent.process import child_environment
from besom.errors import UsageError
from besom.folders import RunFolder, run_folder
from besom.plugins import every_plugin
from besom.records import Params

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

PATIENCE = 120.0  # seconds that a program may take to say what it would do: some import for a long time


@dataclass(frozen=True, slots=True)
class Answer:
    """How a program ended that was asked what it would do, and what it printed."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A run that will not take place: its parameters, its folder for now, and where its program starts."""

    config: SweepConfig
    params: Params
    folder: RunFolder
    working_dir: Path
    warn: Callable[[str], None] = lambda _: None

    def argv(self) -> list[str]:
        """Give the command line; the files that it and the environment name hold `params`."""
        self.folder.params_file.write_text(json.dumps(self.params))
        write_argument_files(self.config, self.params, folder=self.folder)
        return build_command(self.config, self.params, folder=self.folder)

    def ask(self, argv: Sequence[str], *, patience: float = PATIENCE) -> Answer:
        """Run a command line in the environment of a run that keeps nothing, and wait for its end.

        UsageError when it cannot be started, or has not ended after `patience` seconds.
        """
        environment = child_environment(os.environ, self._environment())
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.working_dir,
                env=environment,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except (OSError, ValueError) as error:
            raise UsageError(f"{argv[0]}: cannot be started: {error}") from error
        with process:
            try:
                output, errors = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired as error:
                raise UsageError(
                    f"the program has not said within {patience:g} s what it would do: {' '.join(argv)}"
                ) from error
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return Answer(process.returncode, output, errors)

    def _environment(self) -> dict[str, str]:
        # The same that an agent gives, as far as it tells of parameters; BESOM_MODE comes before the rest.
        return {
            "BESOM_MODE": "disabled",
            "BESOM_DIR": str(self.folder.home),
            "BESOM_SWEEP_ID": "rehearsal",
            "BESOM_RUN_ID": self.folder.path.name,
            "BESOM_ATTEMPT": "1",
            "BESOM_RUN_DIR": str(self.folder.path),
            "BESOM_PARAMS_FILE": str(self.folder.params_file),
        }


Checker = Callable[[Rehearsal], Sequence[str] | None]
"""Gives the faults of a program of its kind, none if it takes the parameters; None for any other program."""


def rehearse(
    config: SweepConfig, params: Params, *, warn: Callable[[str], None] = lambda _: None
) -> list[str] | None:
    """Give what the sweep's program says is wrong with these parameters; None where no checker knows it.

    `warn` is called with what is allowed but odd.

    UsageError when the program is missing, or could not be asked.
    """
    working_dir = program_folder(config, str(Path(config.source).absolute().parent), Path.cwd())
    with tempfile.TemporaryDirectory(prefix="besom-check-") as home:
        folder = run_folder("rehearsal", Path(home))
        folder.checkpoints.mkdir(parents=True)
        rehearsal = Rehearsal(config, params, folder, working_dir, warn)
        for checker in every_plugin("besom.checkers"):
            faults = checker(rehearsal)
            if faults is not None:
                return list(faults)
    return None
