"""Macros that other packages bring, for programs that take their parameters neither by flags nor from besom.

A package adds one by an entry point in the group `besom.macros`. Its name is `args_` and a word that stands in
the source of every program that needs it, as `hydra` does in every Hydra app.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from besom.errors import NotFoundError, UsageError
from besom.folders import RunFolder
from besom.plugins import BUILTIN, load_plugin
from besom.records import Params

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

GROUP = "besom.macros"
_READS_ITSELF = re.compile(r"besom\.init|\binit\(|\binject\(|BESOM_PARAMS_FILE")


class Commanded(Protocol):
    """What a macro may look at of a sweep's config."""

    @property
    def command(self) -> Sequence[str]:
        """The arguments, macros among them."""
        ...

    @property
    def program(self) -> str | None:
        """What `${program}` becomes."""
        ...

    @property
    def space(self) -> Any:
        """What gives parameters their dotted names."""
        ...


class Macro(Protocol):
    """A macro of a package: the programs that need it, and what it becomes."""

    def needed_by(self, source: str) -> bool:
        """Say whether a program with this source code takes its parameters by this macro."""
        ...

    def expand(
        self, config: Commanded, params: Params, *, folder: RunFolder, program: Path | None
    ) -> list[str]:
        """Give the arguments for a run; UsageError where there are none. `program` is None if not a file."""
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
            f"{config.source}: the command {list(config.command)} gives {config.program} none of the sweep's"
            f" parameters, so every run would be the same; add ${{{needed}}} to it"
        )
    return config


def _needs(name: str, source: str) -> bool:
    if name.removeprefix("args_") not in source:
        return False
    macro = find_macro(name)
    return macro is not None and macro.needed_by(source)


def _source(config: SweepConfig, place: Path) -> str:
    if config.program is None:
        return ""
    try:
        return (place / config.program).read_text(encoding="utf-8")
    except (OSError, ValueError):  # a binary, say
        return ""
