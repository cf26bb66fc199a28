"""The macro `${args_hydra}`: a run's parameters as arguments of a Hydra app, and what reports its result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from besom.agent.command import Commanding
from besom.agent.macros import program_of
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.records import Params
from besom_hydra.arguments import quote, split_override
from besom_hydra.groups import Groups, Words, open_groups, read_words, write_overrides
from besom_hydra.source import find_main

CALLBACK = "++hydra.callbacks.besom._target_=besom_hydra.callback.ReportToRun"
_KEPT = 8  # apps whose groups are kept


class HydraMacro:
    """What `${args_hydra}` becomes."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], Groups] = {}

    def needed_by(self, source: str) -> bool:
        """Say whether the program has a `@hydra.main`."""
        return find_main(source) is not None

    def expand(
        self,
        config: Commanding,
        params: Params,
        *,
        folder: RunFolder,
        program: Path | None,
        by_hand: bool,
    ) -> list[str]:
        """Give the run's overrides, and unless `by_hand` the job's folder inside the run's and the callback.

        UsageError where Hydra has no words for a parameter, a config group has no such option, or the command
        asks for a multirun: a run of a sweep is one job.
        """
        words = read_words(config.command)
        if words.multirun:
            raise UsageError(
                "a run of a sweep is one job of a Hydra app; take --multirun out of the command, or sweep"
                " with `python app.py -m hydra/sweeper=besom`"
            )
        flat: Mapping[str, Any] = config.space.flatten(params)
        lines = write_overrides(flat, self._groups_of(words, program, program_of(config)))
        if by_hand:
            return lines
        named = {split_override(line)[1] for line in (*words.overrides, *lines)}
        if "hydra.run.dir" not in named:
            lines.append(f"hydra.run.dir={quote(str(folder.path / 'hydra'))}")
        if "hydra.mode" not in named:
            lines.append("hydra.mode=RUN")
        return [*lines, CALLBACK]

    def _groups_of(self, words: Words, program: Path | None, name: str | None) -> Groups | None:
        """Give the config groups of the program; None when it is no file with a `@hydra.main`."""
        call = None
        if program is not None:
            call = find_main(program.read_text(encoding="utf-8", errors="replace"))
        if program is None or call is None:
            return None
        # The program is started in the folder that its name is relative to.
        place = Path(str(program).removesuffix(str(name)) or ".") if name is not None else program.parent
        key = (program, program.stat().st_mtime_ns, tuple(words.flags.items()), words.overrides)
        if key not in self._groups:
            _require_hydra()
            while len(self._groups) >= _KEPT:
                self._groups.pop(next(iter(self._groups)))
            python = next((word for word in words.start if "python" in Path(word).name), sys.executable)
            ask = (python, str(program), *_flag_words(words))
            self._groups[key] = open_groups(program, call, words, ask, place)
        return self._groups[key]


def _flag_words(words: Words) -> list[str]:
    return [part for name, value in words.flags.items() for part in (f"--config-{name}", value)]


def _require_hydra() -> None:
    from importlib.util import find_spec

    if find_spec("hydra") is None:
        raise UsageError(
            "${args_hydra} needs hydra-core where the agent runs: pip install 'besom[hydra]'; or write the"
            " overrides yourself with ${args_override_hydra}"
        )


ARGS_HYDRA = HydraMacro()
