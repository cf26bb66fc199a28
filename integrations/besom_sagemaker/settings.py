"""The settings of a sweep's jobs: from a job file, from the caller."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

_REFERENCE = re.compile(r"(secretsmanager|ssm|env|netrc):")


def merge_settings(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a job file's settings with those that the caller gave on top; UsageError for unknown ones."""
    known = [*given, "requirements"]
    for name in file:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            raise UsageError(f"the job file has no setting {name!r}; {hint}")
    return {**file, **{name: value for name, value in given.items() if value is not None}}


def is_networked(store: str) -> bool:
    """Say whether a store, by its address or a reference to it, is one that jobs can reach."""
    return bool(_REFERENCE.match(store)) or scheme_of(store) not in ("", "sqlite")


def scheme_of(store: str) -> str:
    """Give the scheme of a store's address, "" for a path."""
    return store.partition(":")[0] if ":" in store else ""


def read_sweep(sweep: str | Path | Mapping[str, Any]) -> SweepConfig:
    """Give a sweep from its file or mapping; SweepFileError names everything that is wrong with it."""
    from besom.sweepfile import from_mapping, load

    if isinstance(sweep, Mapping):
        return from_mapping(sweep, source="sweep")
    return load(Path(sweep))
