"""Asks a LightningCLI program for its config (`--print_config`), to find wrong parameters before any run."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from besom.agent.rehearse import Answer, Rehearsal

CLASSES = frozenset({"LightningCLI", "SweepCLI"})
MOST = (
    8  # wrong parameters that are looked for: a parser names one at a time, and each imports Lightning anew
)

_UNKNOWN = re.compile(r"not accept|not expected|unrecognized arguments|ambiguous option|No action for")
_WORD = re.compile(r"""(?:["']|--)([\w.\-]+)""")
_MISSING = object()


def check_program(rehearsal: Rehearsal) -> Sequence[str] | None:
    """Give what a LightningCLI program does not take of the parameters; None for any other program.

    Training never begins: the program parses its arguments, prints its config and leaves. One that gives its
    CLI `args` of its own would not see `--print_config`, and is left alone.
    """
    argv = rehearsal.argv()
    source = _source(argv, rehearsal.working_dir)
    if source is None or not reads_command_line(source):
        return None
    flat = rehearsal.config.space.flatten(rehearsal.params)
    wrong: dict[str, str] = {}
    answer = _ask(rehearsal, flat)
    while (
        answer.code
        and len(wrong) < MOST
        and (found := guilty(answer.errors, [name for name in flat if name not in wrong]))
    ):
        wrong |= dict.fromkeys(found, answer.errors)
        answer = _ask(rehearsal, {name: value for name, value in flat.items() if name not in wrong})
    return _faults(wrong, flat, answer)


def _ask(rehearsal: Rehearsal, flat: Mapping[str, Any]) -> Answer:
    again = replace(rehearsal, params=rehearsal.config.space.unflatten(flat))
    return again.ask([*again.argv(), "--print_config"])


# ---- is it one


def _source(argv: Sequence[str], folder: Path) -> str | None:
    """Give the text of the first Python file or module that the command line names."""
    for before, word in zip(["", *argv], argv, strict=False):
        path = folder / (f"{word.replace('.', '/')}.py" if before == "-m" else word)
        if path.suffix == ".py" and path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return None


def reads_command_line(source: str) -> bool:
    """Say whether a program's text builds a LightningCLI from its command line."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    named = False
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            named = named or any(alias.name in CLASSES for alias in node.names)
        elif isinstance(node, ast.Attribute):
            named = named or node.attr in CLASSES
        elif isinstance(node, ast.Call) and any(word.arg == "args" for word in node.keywords):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called.endswith("CLI"):
                return False
    return named


# ---- what it says


def guilty(errors: str, names: Sequence[str]) -> list[str]:
    """Give the parameters that a parser's complaint is about: those it names best, none if it names none."""
    complaint = _complaint(errors)
    words = set(_WORD.findall(complaint))
    pairs = {f"{group}.{option}" for group in words for option in words}

    def within(name: str, places: set[str]) -> bool:
        return any(name == place or name.startswith(f"{place}.") for place in places)

    unknown = _UNKNOWN.search(complaint) is not None
    tiers: tuple[list[str], ...] = (
        [name for name in names if unknown and (name in words or within(name, pairs))],
        [name for name in names if unknown and name.rpartition(".")[2] in words],
        [name for name in names if name in words],
        [name for name in names if within(name, words)],
    )
    return next(filter(None, tiers), list[str]())


def _complaint(errors: str) -> str:
    """Give a parser's message without its usage; the last lines of a traceback."""
    _, found, message = errors.rpartition("\nerror: ")
    if found:
        return message.strip()
    return "\n".join(errors.strip().splitlines()[-3:]) or "the program failed and said nothing"


def _faults(wrong: Mapping[str, str], flat: Mapping[str, Any], answer: Answer) -> list[str]:
    printed = _printed(answer.output) if answer.code == 0 else None
    known = sorted(_names(printed or {}))
    faults = [_explain(name, flat[name], errors, known) for name, errors in wrong.items()]
    if answer.code:
        return [*faults, _complaint(answer.errors)]
    if printed is None:
        return [*faults, "the program printed no config; is its LightningCLI the first thing that it builds?"]
    for name in [name for name in flat if name not in wrong]:
        arrived = _find(printed, name.split("."))
        if _is_other(flat[name], arrived):
            faults.append(f"parameters.{name}: {flat[name]!r} reaches the program as {arrived!r}")
    return faults


def _explain(name: str, value: Any, errors: str, known: Sequence[str]) -> str:
    complaint = _complaint(errors)
    if not _UNKNOWN.search(complaint):
        return f"parameters.{name}: {value!r} is refused: {' '.join(complaint.split())}"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or _same_leaf(name, known)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"parameters.{name}: the program has no such argument{hint}"


def _same_leaf(name: str, known: Sequence[str]) -> list[str]:
    leaves = {other.rpartition(".")[2]: other for other in known}
    close = difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1)
    return [leaves[leaf] for leaf in close]


def _printed(output: str) -> Mapping[str, Any] | None:
    """Give the config in what the program printed; other lines may stand before it."""
    import yaml

    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"# \w*lightning", line)] or [0]
    try:
        config = yaml.safe_load("\n".join(lines[starts[-1] :]))
    except yaml.YAMLError:
        return None
    return cast("Mapping[str, Any]", config) if isinstance(config, dict) else None


def _names(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _names(cast("Mapping[str, Any]", value), f"{prefix}{key}.")


def _find(config: Any, path: Sequence[str]) -> Any:
    """Give what lies at a path; what a class is made of lies below its `init_args`."""
    for key in path:
        if not isinstance(config, Mapping):
            return _MISSING
        below = cast("Mapping[str, Any]", config)
        arguments = below.get("init_args")
        if key not in below and isinstance(arguments, Mapping):
            below = cast("Mapping[str, Any]", arguments)
        if key not in below:
            return _MISSING
        config = below[key]
    return config


def _is_other(value: Any, arrived: Any) -> bool:
    """Say whether a plain value arrived as another one; 3 as 3.0 is the same, as is a class's long name."""
    plain = (str, int, float, bool, type(None))
    if arrived is _MISSING or not isinstance(value, plain) or not isinstance(arrived, plain):
        return False
    if isinstance(value, bool) or isinstance(arrived, bool):
        return value is not arrived
    if isinstance(value, str) and isinstance(arrived, str):
        return arrived != value and not arrived.endswith(f".{value}")
    return value != arrived
