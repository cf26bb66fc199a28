"""Where besom keeps things on disk, and which store it opens when none is named."""

from __future__ import annotations

import os
from pathlib import Path


def besom_dir() -> Path:
    """Give the folder for runs and the default store, without creating it.

    `BESOM_DIR`; else `.besom` inside `WANDB_DIR`; else the nearest `.besom` upward from the working directory;
    else `.besom` in it.
    """
    if named := os.environ.get("BESOM_DIR"):
        return Path(named).absolute()
    if wandb_dir := os.environ.get("WANDB_DIR"):
        return Path(wandb_dir).absolute() / ".besom"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".besom").is_dir():
            return folder / ".besom"
    return here / ".besom"


def run_dir(run_id: str) -> Path:
    """Give a run's folder (journal, output.log, checkpoints), without creating it."""
    return besom_dir() / "runs" / run_id


def default_store() -> str:
    """Give the address of the store: `BESOM_STORE`, else `besom.db` in `besom_dir()`."""
    return os.environ.get("BESOM_STORE") or f"sqlite:///{besom_dir() / 'besom.db'}"
