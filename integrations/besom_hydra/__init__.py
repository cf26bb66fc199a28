"""besom for Hydra: a sweeper, a launcher, and the callback that brings a job's result home."""

from __future__ import annotations

from besom_hydra.inject import inject as inject

__all__ = ["inject"]
