"""Where a run's latest checkpoint is, from one attempt to the next."""

from __future__ import annotations

import os
from pathlib import Path

from besom.folders import RunFolder


def note_checkpoint(folder: RunFolder, path: Path) -> None:
    """Note that `path` is a whole checkpoint; a process killed meanwhile leaves the note before it."""
    fresh = folder.path / f"checkpoint.{os.getpid()}"
    fresh.write_text(str(path), encoding="utf-8")
    fresh.replace(folder.path / "checkpoint")


def latest_checkpoint(folder: RunFolder) -> Path | None:
    """Give the checkpoint noted last, else the newest file in the folder for them, else None."""
    try:
        noted = Path((folder.path / "checkpoint").read_text(encoding="utf-8"))
    except FileNotFoundError:
        noted = None
    if noted is not None and noted.exists():
        return noted
    place = folder.checkpoints
    saved = [path for path in place.glob("*") if not path.name.startswith(".")] if place.is_dir() else []
    return max(saved, key=lambda path: path.stat().st_mtime_ns, default=None)
