"""The Launcher protocol: where agents run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import click


@dataclass(frozen=True, slots=True)
class AgentJob:
    """An agent to be started: its sweep, its store, and the words that follow `besom agent SWEEP_ID`."""

    sweep_id: str
    store: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launched:
    """An agent that was handed to a platform, by that platform's own name for it."""

    job_id: str
    description: str


class Launcher(Protocol):
    """Starts agents on some platform; the store stays the authority on what they do.

    Its class is called with the settings that were given, by the names of its `options`; UsageError for one
    that cannot be.
    """

    name: ClassVar[str]
    options: ClassVar[Sequence[click.Option]]
    """What the platform can be told: options of `besom launch NAME`, whose names are those of settings."""

    def preview(self, job: AgentJob, count: int) -> str:
        """Give what `launch` would run, for a person to read; starts nothing."""
        ...

    def launch(self, job: AgentJob, count: int) -> Sequence[Launched]:
        """Start `count` agents and return without waiting for them."""
        ...

    def alive(self, launched: Sequence[Launched]) -> Sequence[Launched]:
        """Give those that run or wait for their turn; from the others nothing more is to be expected."""
        ...

    def cancel(self, launched: Sequence[Launched]) -> None:
        """End agents that were launched; those already gone are no error."""
        ...
