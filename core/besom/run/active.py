"""Which run this process works for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from besom.run.live import LiveRun

_active: LiveRun | None = None


def active_run() -> LiveRun | None:
    """Give the run that `init` attached to in this process, None before it and after its finish."""
    return _active


def activate(run: LiveRun) -> None:
    """Make a run the one that `active_run` gives."""
    global _active  # noqa: PLW0603 - one run per process is what the module doors stand for
    _active = run


def deactivate(run: LiveRun) -> None:
    """Make `active_run` give None if it gives this run."""
    global _active  # noqa: PLW0603
    if _active is run:
        _active = None
