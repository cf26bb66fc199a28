"""Launchers: start agents on some platform, by its name."""

from __future__ import annotations

from typing import cast

from besom.launch.base import AgentJob, Launched, Launcher
from besom.plugins import load_plugin

__all__ = ["AgentJob", "Launched", "Launcher", "create_launcher"]


def create_launcher(name: str) -> Launcher:
    """Give the launcher for a platform; NotFoundError names those there are."""
    return cast("Launcher", load_plugin("besom.launchers", name)())
