"""A run from inside its program: `init` gives the LiveRun that logs, configures, and knows when to stop."""

from __future__ import annotations

from besom.run.active import active_run
from besom.run.attach import assigned, init, sweep_folder, this_run
from besom.run.live import LiveRun

__all__ = ["LiveRun", "active_run", "assigned", "init", "sweep_folder", "this_run"]
