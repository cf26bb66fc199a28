"""sweep.yaml -> SweepConfig: the only place that knows the file's keys; tells faults by line and column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom.sweepfile.config import DEFAULT_COMMAND, SweepConfig
from besom.sweepfile.schema import read_config
from besom.sweepfile.tree import Problems, from_python
from besom.sweepfile.yaml12 import parse_value, read_text, read_tree

__all__ = ["DEFAULT_COMMAND", "SweepConfig", "from_mapping", "load", "parse", "parse_value"]


def load(path: str | Path) -> SweepConfig:
    """Give the config in a file; UsageError if it cannot be read, SweepFileError with all that is wrong."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(2**21)  # more than is allowed, and no more than that
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the sweep file {path}: {reason}") from error
    return _parse(data, str(path))


def parse(text: str, *, source: str = "sweep.yaml") -> SweepConfig:
    """Give the config in the text of a sweep file; SweepFileError with all that is wrong in it."""
    return _parse(text, source)


def from_mapping(config: Mapping[str, Any], *, source: str = "sweep config") -> SweepConfig:
    """Give the config in a mapping of the same shape as the file; also reads back `SweepConfig.raw`.

    Tuples are lists, and numpy arrays and scalars what they hold. SweepFileError, without places, if it is
    wrong.
    """
    problems = Problems(source)
    return read_config(from_python(config, problems), problems, None)


def _parse(data: bytes | str, source: str) -> SweepConfig:
    problems = Problems(source)
    text = read_text(data, problems)
    return read_config(read_tree(text, problems), problems, text)
