"""Writes values as Hydra overrides, exactly: what Hydra composes from them equals what was given.

    overrides("lr", 0.1)                     ["++lr=0.1"]
    overrides("name", "a, b")                ["++name='a, b'"]
    overrides("betas", [0.9, None])          ["++betas=[0.9,null]"]
    overrides("opt", {"lr": 1, "1": 2})      ["++opt={lr:1}", "++opt.1=2"]
    overrides("model", "small", prefix="")   ["model=small"]

Text is quoted unless it is a plain word, so "null", "1e3" and "a,b" stay text. `${...}` in it is an
interpolation, as in a config file. A mapping is merged into the mapping that the config has; a list replaces
the config's.

Hydra's grammar has no quotes for the keys of a mapping. Those it cannot write inside braces ("1" would
become a number) are written as dotted overrides of their own. What fits neither form is a UsageError, and so
is "???", which to Hydra is not text but a value that is missing.

Nothing here imports hydra: sweepers and launchers write thousands of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import cast

from besom.errors import UsageError

MISSING = "???"

_PART = r"(?:[A-Za-z_$][\w$-]*|0|[1-9][0-9]*)"
_PLAIN_KEY = re.compile(rf"[A-Za-z_$][\w$-]*(?:\.{_PART})*", re.ASCII)
_GROUP_KEY = re.compile(r"[A-Za-z_][\w-]*(?:/[A-Za-z_][\w-]*)*(?:@(?:[\w$-]+(?:\.[\w$-]+)*)?)?", re.ASCII)
_DOTTED_PART = re.compile(_PART, re.ASCII)
_BRACE_KEY = re.compile(r"[A-Za-z_][\w /+.$%*@?|-]*(?<! )", re.ASCII)
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w/.-]*", re.ASCII)
_WORDS_WITH_A_MEANING = frozenset({"null", "true", "false", "nan", "inf"})
_BEFORE_QUOTE = re.compile(r"(\\*)('|\Z)")


def overrides(key: str, value: object, *, prefix: str = "++") -> list[str]:
    """Give the Hydra overrides that set a config's `key` to a JSON value; mostly one.

    "++" sets what is there and adds what is not. Config groups take "" instead, or "+" where the defaults
    list does not have them. A `key` that brings a prefix of its own ("+a.b") keeps it. UsageError where
    Hydra has no words for the key or for something in the value.
    """
    name = key.lstrip("+")
    prefix = key[: len(key) - len(name)] or prefix
    _check_key(name)
    text, late = _write(value, name)
    lines = [f"{prefix}{name}={text}"]
    # Their mapping is there by now, but they themselves may be or not.
    return lines + [f"++{path}={part}" for path, part in late]


def write_value(value: object) -> str:
    """Give a JSON value in Hydra's grammar; UsageError where it has no words for it."""
    text, late = _write(value, "value")
    if late:
        raise UsageError(f"Hydra's grammar cannot write the key {late[0][0]!r} inside a value")
    return text


def quote(text: str) -> str:
    r"""Give text in single quotes: a backslash is special only before a quote, where it must be doubled."""
    body = _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + found[2].replace("'", r"\'"), text)
    return f"'{body}'"


def is_group_key(key: str) -> bool:
    """Say whether a key can only be a config group: `a/b`, `a@package`."""
    return "/" in key or "@" in key


def split_override(line: str) -> tuple[str, str, str]:
    """Give prefix, key and value of an override as it was written, such as ("++", "lr", "0.1")."""
    name, _, value = line.partition("=")
    key = name.lstrip("+~")
    return name[: len(name) - len(key)], key, value


def _check_key(key: str) -> None:
    if key.startswith("~"):
        raise UsageError(f"{key!r} removes something from a Hydra config; a sweep can only set values")
    if not (_PLAIN_KEY.fullmatch(key) or _GROUP_KEY.fullmatch(key)):
        raise UsageError(
            f"{key!r} cannot be the name of a parameter of a Hydra app: Hydra takes letters, digits, _ and -,"
            " joined by dots for a config's keys and by slashes for a config group"
        )


_Late = list[tuple[str, str]]


def _write(value: object, path: str) -> tuple[str, _Late]:
    """Give a value's text, and (path, text) of what in it must be written afterwards."""
    if isinstance(value, Mapping):
        return _write_mapping(cast("Mapping[object, object]", value), path)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        items = cast("Sequence[object]", value)
        written = [_write(item, f"{path}.{index}") for index, item in enumerate(items)]
        return f"[{','.join(text for text, _ in written)}]", list(chain(*(late for _, late in written)))
    return _write_leaf(value, path), []


def _write_leaf(value: object, path: str) -> str:
    if value == MISSING:
        raise UsageError(f"{path}: '{MISSING}' is how Hydra says that a value is missing; take another text")
    if isinstance(value, str):
        plain = _PLAIN_TEXT.fullmatch(value) and value.lower() not in _WORDS_WITH_A_MEANING
        return value if plain else quote(value)
    if value is None:
        return "null"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value))  # nan, inf and -inf are words of the grammar too
    raise UsageError(f"{path}: Hydra has no words for a {type(value).__name__}")


def _write_mapping(value: Mapping[object, object], path: str) -> tuple[str, _Late]:
    inside: list[str] = []
    late: _Late = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise UsageError(f"{path}: the keys of a mapping must be text, not {key!r}")
        text, more = _write(item, f"{path}.{key}")
        dotted = _DOTTED_PART.fullmatch(key) is not None
        if _BRACE_KEY.fullmatch(key) and key.lower() not in _WORDS_WITH_A_MEANING:
            inside.append(f"{key}:{text}")
        elif dotted:
            late.append((f"{path}.{key}", text))
        else:
            raise UsageError(f"{path}: Hydra's grammar cannot write the key {key!r}; rename it")
        if more and not dotted:
            inner = more[0][0].rpartition(".")[2]
            raise UsageError(f"{path}.{key}: Hydra's grammar cannot write its key {inner!r}; rename it")
        late += more
    return f"{{{','.join(inside)}}}", late
