"""Every error besom raises on purpose.

    BesomError                      rc 1
    ├── UsageError                  rc 2   the call or the command line is wrong
    │   └── SweepFileError          rc 2   a sweep.yaml is wrong; carries every problem found in it
    ├── NotFoundError               rc 3   no such sweep, run, agent or method
    ├── StoreError                  rc 4   the store cannot be used
    │   ├── StoreVersionError       rc 4   written by a newer besom
    │   ├── StoreFullError          rc 4   the disk is full
    │   └── StorePlaceError         rc 4   SQLite on a network filesystem
    ├── StateError                  rc 1   the verb is not possible in the present state
    ├── ConfigError                 rc 1   a run's config was changed against its rules
    └── RunFailedError              rc 1   a sweep or agent ended because its runs kept failing
    RunStopped                      not an error: the run was asked to stop; an Exception, so that
                                    `finally` and checkpoint code run

The message says what is wrong, where, and what to do. Commands print it without a traceback and exit with
`exit_code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BesomError(Exception):
    """Something besom noticed and can explain."""

    exit_code = 1


class UsageError(BesomError):
    """The call or the command line is wrong."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a sweep file, with its place (1-based line and column)."""

    message: str
    source: str = "sweep.yaml"
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.line is None:
            return f"{self.source}: {self.message}"
        return f"{self.source}:{self.line}:{self.column}: {self.message}"


class SweepFileError(UsageError):
    """A sweep file is wrong; `problems` holds every fault found in it, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class NotFoundError(BesomError):
    """No such sweep, run, agent or method."""

    exit_code = 3


class StoreError(BesomError):
    """The store cannot be used."""

    exit_code = 4


class StoreVersionError(StoreError):
    """The store was written by a newer besom."""


class StoreFullError(StoreError):
    """The disk that holds the store is full."""


class StorePlaceError(StoreError):
    """SQLite was asked to work on a network filesystem."""


class StateError(BesomError):
    """The verb is not possible in the present state of the sweep or run."""


class ConfigError(BesomError):
    """A run's config was changed against its rules."""


class RunFailedError(BesomError):
    """A sweep or an agent ended because its runs kept failing."""


class RunStopped(Exception):  # noqa: N818 - a request, not an error
    """The run was asked to stop; `reason` says by whom and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
