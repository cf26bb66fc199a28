"""What `besom check` asks a Hydra app: does it compose with the parameters of the first run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from besom.errors import UsageError
from besom_hydra.arguments import split_override
from besom_hydra.macro import CALLBACK
from besom_hydra.source import find_main

if TYPE_CHECKING:
    from besom.agent.rehearse import Rehearsal

_NOISE = ("Set the environment variable HYDRA_FULL_ERROR", "Traceback (most recent call last)")


def check_program(rehearsal: Rehearsal) -> list[str] | None:
    """Give what Hydra says against the first run's parameters; None where the program is no Hydra app.

    The app composes its config and prints it; its task is not run.
    """
    config = rehearsal.config
    if config.program is None:
        return None
    program = rehearsal.working_dir / config.program
    if not program.is_file() or find_main(program.read_text(encoding="utf-8", errors="replace")) is None:
        return None
    try:
        argv = rehearsal.argv()
    except UsageError as error:
        return [_placed(str(error), list(config.space.flatten(rehearsal.params)))]
    quiet = ("/usr/bin/env", "PYTHONWARNINGS=ignore")
    answer = rehearsal.ask([*quiet, *(word for word in argv if word != CALLBACK), "--cfg", "job"])
    if answer.code == 0:
        return []
    said = " ".join(_lines(answer.errors)) or f"it ended with exit code {answer.code} and said nothing"
    return [_placed(f"the app does not compose: {said}", list(config.space.flatten(rehearsal.params)))]


def _lines(errors: str) -> Iterator[str]:
    for line in errors.splitlines():
        if line.strip() and not line.startswith(_NOISE):
            yield line.strip()


def _placed(message: str, names: Sequence[str]) -> str:
    """Begin with the parameter that the message is about, if it names one."""
    for name in sorted(names, key=len, reverse=True):
        key = split_override(name)[1]
        if f"{key}=" in message or f"'{key}'" in message or f"{key} " in message:
            return f"parameters.{name}: {message}"
    return message
