"""Options of launchers that are words such as NAME=VALUE."""

from __future__ import annotations

from collections.abc import Iterable

from besom.errors import UsageError


def parse_pairs(option: str, words: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE words; UsageError for a word that is none, or a name that comes twice."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} takes NAME=VALUE")
        if name in pairs:
            raise UsageError(f"{option}: {name} is there twice")
        pairs[name] = value
    return pairs
