"""Macros that other packages bring, for programs that take their parameters neither by flags nor from besom.

A package adds one by an entry point in the group `besom.macros`. Its name is `args_` and a word that stands
in the source of every program that needs it, as `hydra` does in every Hydra app.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from besom.errors import NotFoundError, UsageError
from besom.folders import RunFolder
from besom.plugins import BUILTIN, load_plugin
from besom.records import Params

if TYPE_CHECKING:
    from besom.agent.command import Commanding
    from besom.sweepfile import SweepConfig

GROUP = "besom.macros"
_READS_ITSELF = re.compile(r"besom\.init|\binit\(|\binject\(|BESOM_PARAMS_FILE")


class Macro(Protocol):
    """A macro of a package: the programs that need it, and what it becomes."""

    def needed_by(self, source: str) -> bool:
        """Say whether a program with this source code takes its parameters by this macro."""
        ...

    def expand(
        self,
        config: Commanding,
        params: Params,
        *,
        folder: RunFolder,
        program: Path | None,
        by_hand: bool,
    ) -> list[str]:
        """Give the arguments for a run; UsageError where there are none. `program` is None if not a file.

        With `by_hand` they are for a person who does the same outside the sweep.
        """
        ...


@functools.cache
def find_macro(name: str) -> Macro | None:
    """Give the macro of that name that a package brings, None if there is none."""
    if not name.startswith("args_"):
        return None
    try:
        found: Macro = load_plugin(GROUP, name)
    except NotFoundError:
        return None
    return found


def fitted(config: SweepConfig, place: Path) -> SweepConfig:
    """Give the config with the command that its program, looked for in `place`, needs.

    That is the file's own, if it has one; UsageError if that one leaves the program with its defaults.
    """
    source = _source(config, place)
    needed = next((name for name in BUILTIN[GROUP] if _needs(name, source)), None)
    if needed is None:
        return config
    if "command" not in config.raw:
        words = ["${env}", "${interpreter}", "${program}", f"${{{needed}}}"]
        return dataclasses.replace(config, command=tuple(words))
    if not any(word.startswith("${args") for word in config.command) and not _READS_ITSELF.search(source):
        raise UsageError(
            f"{config.source}: the command {list(config.command)} gives {program_of(config)} none of the"
            f" sweep's parameters, so every run would be the same; add ${{{needed}}} to it"
        )
    return config


def _needs(name: str, source: str) -> bool:
    if name.removeprefix("args_") not in source:
        return False
    macro = find_macro(name)
    return macro is not None and macro.needed_by(source)


def program_of(config: Commanding) -> str | None:
    """Give the program: what the sweep names so, else the first Python file in its command."""
    return config.program or next((word for word in config.command if word.endswith(".py")), None)


def _source(config: SweepConfig, place: Path) -> str:
    program = program_of(config)
    if program is None:
        return ""
    try:
        return (place / program).read_text(encoding="utf-8")
    except (OSError, ValueError):  # a binary, say
        return ""
