"""What a run is, as its program may ask: its names, its folder, and where to go on from."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom.folders import RunFile, RunFolder
from besom.records import Metric
from besom.run.checkpoint import latest_checkpoint

logger = logging.getLogger(__name__)


class About:
    """The part of a `LiveRun` that says which run it is."""

    def __init__(self, about: RunFile, folder: RunFolder | None, params: Mapping[str, Any]) -> None:
        self._about = about
        self._folder = folder
        self.params = params
        """The parameters that the sweep chose, with their true types; empty outside sweeps."""
        self.environment: Mapping[str, str] = {}
        """What makes a process that this one starts attach to the run; empty for a run that keeps nothing."""

    def __repr__(self) -> str:
        return f"<besom run {self.id} {self.name!r}>"

    @property
    def id(self) -> str:
        """The run's id; "" for a run that is kept nowhere."""
        return self._about.run_id

    @property
    def name(self) -> str:
        """The run's name for people; setting it, as W&B's programs do, is ignored: the store gives it."""
        return self._about.name

    @name.setter
    def name(self, name: str) -> None:
        logger.warning("run %s: its name stays %s (%r is ignored)", self.id, self._about.name, name)

    @property
    def sweep_id(self) -> str | None:
        """The sweep it belongs to."""
        return self._about.sweep_id

    @property
    def project(self) -> str | None:
        """The project it belongs to."""
        return self._about.project

    @property
    def entity(self) -> str | None:
        """The entity it belongs to."""
        return self._about.entity

    @property
    def attempt(self) -> int:
        """Which try at this run this is, from 1."""
        return self._about.attempt

    @property
    def dir(self) -> Path:
        """The run's folder, the same for all its attempts."""
        if self._folder is None:
            self._folder = RunFolder(Path(tempfile.mkdtemp(prefix="besom-")))
        return self._folder.path

    @property
    def resumed(self) -> bool:
        """Whether it should go on from `resume_path`: it was interrupted before, or has a `parent`."""
        return self._about.attempt > 1 or self._about.resumed or self._about.parent is not None

    @property
    def parent(self) -> str | None:
        """The id of the run whose checkpoint this one goes on from, in population-based training."""
        return self._about.parent

    @property
    def resume_path(self) -> Path | None:
        """The checkpoint to go on from: the last `save_checkpoint`, else the newest in `dir/checkpoints`.

        As long as the run has none of its own, that of its `parent`. None where the run was not interrupted
        before and has no parent, and when there is none; UsageError where a parent has left none.
        """
        if not self.resumed or self._folder is None:
            return None
        own = latest_checkpoint(self._folder)
        if own is None and self._about.parent is not None:
            return _inherited(self._folder.beside(self._about.parent), self._about.parent)
        return own

    @property
    def metric(self) -> Metric | None:
        """What the sweep optimizes; None outside sweeps, and in one that names no metric."""
        return self._about.metric


def _inherited(folder: RunFolder, parent: str) -> Path:
    found = latest_checkpoint(folder)
    if found is None:
        raise UsageError(
            f"this run goes on from run {parent}, which has left no checkpoint in {folder.path}; save one"
            " before a run ends (run.save_checkpoint, or a file in run.dir/checkpoints), and where agents run"
            " on several machines, keep BESOM_DIR on a filesystem that all of them share"
        )
    return found
