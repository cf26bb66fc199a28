"""A job of a batch, run by any agent: `python -m besom_hydra.enqueued FOLDER PROGRAM WORD... PARAMS`.

It becomes the program (a file, or `-m` and a module) in its folder, with the words that all jobs have and the
overrides in PARAMS, the run's parameters as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom_hydra.arguments import quote
from besom_hydra.callback import ReportToRun
from besom_hydra.groups import read_words
from besom_hydra.plan import job_overrides
from besom_hydra.program import this_program

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from besom.records import Params
    from besom.run import LiveRun
    from besom_hydra.app import App


class ReportJob(ReportToRun):
    """Reports a job whose run's parameters are its overrides."""

    def _check(self, config: DictConfig, run: LiveRun) -> None:
        pass


def command_of(app: App) -> list[str]:
    """Give the `command` of a sweep whose runs are jobs of the multirun that this process is."""
    flags = read_words(sys.argv[1:]).flags
    words = [word for name, value in flags.items() for word in (f"--config-{name}", value)]
    words += job_overrides(app.config)
    folder = Path(str(app.config.hydra.sweep.dir)).absolute()
    words.append(f"hydra.run.dir={quote(str(folder))}")
    start = ["${env}", "${interpreter}", "-m", "besom_hydra.enqueued"]
    program = this_program()
    started = [str(Path(sys.argv[0]).absolute())] if program is None else program.words
    return [*start, str(Path.cwd()), *started, *words, "${args_json}"]


def argv_of(words: list[str], params: Params) -> list[str]:
    """Give the program and its arguments: the words that all jobs have, and those of one with `params`."""
    *shared, place = words
    overrides: list[Any] = params["overrides"]
    run_dir = place.removesuffix("'") + "/${hydra.sweep.subdir}'"
    return [
        *shared,
        *overrides,
        run_dir,
        "hydra.mode=RUN",
        f"++hydra.job.num={params['job']}",
        f"++hydra.job.id={params['job']}",
        "++hydra.callbacks.besom._target_=besom_hydra.enqueued.ReportJob",
    ]


def main(folder: str, *words: str) -> None:
    """Become the program."""
    *shared, params = words
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, *argv_of(shared, json.loads(params))])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
