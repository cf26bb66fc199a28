"""What `besom check` asks a Hydra app: does it compose with the first run's parameters, and know them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import yaml

from besom.errors import UsageError
from besom_hydra.applied import ABSENT, look_up
from besom_hydra.arguments import split_override
from besom_hydra.macro import CALLBACK
from besom_hydra.source import find_main

if TYPE_CHECKING:
    from besom.agent.rehearse import Answer, Rehearsal

_NOISE = "Set the environment variable HYDRA_FULL_ERROR"
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("The above exception was", "During handling of the above")
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception)\w*: ")


def check_program(rehearsal: Rehearsal) -> list[str] | None:
    """Give what Hydra says against the first run's parameters; None where the program is no Hydra app.

    The app composes its config and prints it; its task is not run. Keys that only the sweep adds are warned
    of.
    """
    config = rehearsal.config
    if config.program is None:
        return None
    program = rehearsal.working_dir / config.program
    if not program.is_file() or find_main(program.read_text(encoding="utf-8", errors="replace")) is None:
        return None
    names = list(config.space.flatten(rehearsal.params))
    try:
        argv = rehearsal.argv()
    except UsageError as error:
        return [_placed(str(error), names)]
    answer = _compose(rehearsal, argv)
    if answer.code == 0:
        _warn_of_additions(rehearsal, argv, names)
        return []
    said = " ".join(_lines(answer.errors)) or f"it ended with exit code {answer.code} and said nothing"
    return [_placed(f"the app does not compose: {said}", names)]


def _compose(rehearsal: Rehearsal, argv: Sequence[str]) -> Answer:
    quiet = ("/usr/bin/env", "-u", "HYDRA_FULL_ERROR", "PYTHONWARNINGS=ignore")
    return rehearsal.ask([*quiet, *(word for word in argv if word != CALLBACK), "--cfg", "job"])


def _warn_of_additions(rehearsal: Rehearsal, argv: Sequence[str], names: Sequence[str]) -> None:
    """Warn of parameters that the app's own config lacks; a name with a + says that it is to be added."""
    added = [name for name in names if any(word.startswith(f"++{name}=") for word in argv)]
    if not added:
        return
    keys = tuple(f"++{name}{end}" for name in added for end in ("=", "."))
    answer = _compose(rehearsal, [word for word in argv if not word.startswith(keys)])
    plain = _mapping(answer.output) if answer.code == 0 else None
    if plain is None:  # it needs the parameters, or prints more than its config
        return
    for name in added:
        if not _known(plain, name):
            rehearsal.warn(
                f"parameters.{name}: the app's config has no such key, so the runs would add it"
                f"{_meant(name, plain)} (call it '+{name}' if it is to be added)"
            )


def _mapping(text: str) -> dict[str, Any] | None:
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _known(plain: Mapping[str, Any], name: str) -> bool:
    """Say whether a config has a key, or something there whose keys only its interpolation knows."""
    parts = name.split(".")
    above = (look_up(plain, ".".join(parts[:end])) for end in range(1, len(parts)))
    return look_up(plain, name) is not ABSENT or any(isinstance(value, str) for value in above)


def _meant(name: str, plain: Mapping[str, Any]) -> str:
    known = list(_keys(plain))
    last = name.rpartition(".")[2]
    close = difflib.get_close_matches(name, known, n=1)
    close = close or [key for key in known if key.rpartition(".")[2] == last]
    return f"; did you mean {close[0]!r}?" if close else ""


def _keys(plain: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in plain.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _keys(cast("Mapping[str, Any]", value), f"{above}{key}.")


def _lines(errors: str) -> Iterator[str]:
    """Give what an app said, of tracebacks only their messages, the last of a chain first.

    Hydra prints tracebacks where something traces the program, such as a debugger or coverage.
    """
    before, *tracebacks = errors.split(_TRACEBACK)
    for line in before.splitlines():
        if line.strip() and not line.startswith(_NOISE):
            yield line.strip()
    for block in reversed(tracebacks):
        for line in block.splitlines():
            if line.strip() and not line.startswith((" ", _NOISE, *_CHAINED)):
                yield _EXCEPTION.sub("", line.strip())


def _placed(message: str, names: Sequence[str]) -> str:
    """Begin with the parameter that the message is about, if it names one."""
    for name in sorted(names, key=len, reverse=True):
        key = split_override(name)[1]
        if f"{key}=" in message or f"'{key}'" in message or f"{key} " in message:
            return f"parameters.{name}: {message}"
    return message
