"""Launchers: start agents on some platform, by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, cast

from besom.errors import UsageError
from besom.launch.base import AgentJob, Launched, Launcher
from besom.plugins import load_plugin

__all__ = ["AgentJob", "Launched", "Launcher", "create_launcher", "launcher_class"]


def launcher_class(name: str) -> type[Launcher]:
    """Give the class of the launcher for a platform; NotFoundError names those there are."""
    return cast("type[Launcher]", load_plugin("besom.launchers", name))


def create_launcher(name: str, **settings: Any) -> Launcher:
    """Give the launcher for a platform, with settings as its `options` name them.

    NotFoundError names the platforms there are. UsageError for a setting that this one does not have.
    """
    made = launcher_class(name)
    known = [str(option.name) for option in made.options]
    for setting in settings:
        if setting not in known:
            close = difflib.get_close_matches(setting, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
            raise UsageError(f"the launcher {name!r} has no setting {setting!r}; {hint}")
    return cast("Callable[..., Launcher]", made)(**settings)
