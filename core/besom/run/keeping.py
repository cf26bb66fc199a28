"""What a run keeps in its folder beside its metrics: where its checkpoints are, and its code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from besom.folders import RunFile, RunFolder
from besom.journal import Journal
from besom.run.about import About
from besom.run.checkpoint import note_checkpoint
from besom.run.code import Choice, copy_code


class Keeping(About):
    """The part of a `LiveRun` that keeps files; without a journal it keeps none."""

    def __init__(
        self, about: RunFile, folder: RunFolder | None, params: Mapping[str, Any], journal: Journal | None
    ) -> None:
        super().__init__(about, folder, params)
        self._journal = journal

    def save_checkpoint(self, path: str | os.PathLike[str]) -> Path:
        """Note that `path` is a whole checkpoint, the next attempt's `resume_path`; gives it absolute."""
        saved = Path(path).absolute()
        if self._journal is not None and self._folder is not None:
            note_checkpoint(self._folder, saved)
        return saved

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Choice | None = None,
        exclude_fn: Choice | None = None,
    ) -> Path | None:
        """Copy the source files below `root` into the run's folder; gives the folder of the copy.

        Python files, `requirements.txt` and `Dockerfile`, or those for which `include_fn(path)` or
        `include_fn(path, root)` is true, less those of `exclude_fn`. Leaves out hidden folders, virtual
        environments and besom's own folder. None where the run is kept nowhere. `name`, W&B's of the
        artifact, is ignored.
        """
        del name
        if self._journal is None or self._folder is None:
            return None
        copy_code(Path(root or "."), self._folder.code, include=include_fn, exclude=exclude_fn)
        return self._folder.code
