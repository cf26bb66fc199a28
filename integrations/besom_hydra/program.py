"""The program that a multirun is of: how it was started, and how agents start it again.

    python -m besom_hydra.program pkg/train.py lr=0.1     is     python -m pkg.train lr=0.1

so that a sweep of a module names a file, by which agents find the folder to start it in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """What Python was started with."""

    file: Path  # absolute
    module: str | None  # after `python -m`

    @property
    def words(self) -> list[str]:
        """What comes after `python`, wherever it is started."""
        return [str(self.file)] if self.module is None else ["-m", self.module]


def this_program() -> Program | None:
    """Give the program of this process; None for a notebook, `python -c` and the like."""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None:
        return None
    # A folder that is started as a program is `__main__` by its spec, but no module that could be named.
    module = None if spec is None or spec.name == "__main__" else str(spec.name).removesuffix(".__main__")
    return Program(Path(str(file)).absolute(), module)


def command_of(program: Program) -> tuple[str, list[str]]:
    """Give `program` and the beginning of `command` for a sweep file.

    A file in the present folder is named relative to it, so it is found in a checkout elsewhere, too.
    """
    here = Path.cwd()
    inside = program.file.is_relative_to(here)
    name = str(program.file.relative_to(here)) if inside else str(program.file)
    if program.module is None:
        return name, ["${interpreter}", "${program}"]
    if inside and _module(name) == program.module:
        return name, ["${interpreter}", "-m", "besom_hydra.program", "${program}"]
    return name, ["${interpreter}", *program.words]


def _module(file: str) -> str:
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__main__")


def main(words: Sequence[str]) -> None:
    """Become the module that the first word is the file of."""
    file, *arguments = words
    os.execv(sys.executable, [sys.executable, "-m", _module(file), *arguments])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
