"""Snapshots of a program's source."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGEST_FILE = 1_000_000  # bytes; source is smaller, generated tables are not wanted


def copy_code(root: Path, target: Path) -> list[Path]:
    """Copy the Python files below `root` to the same places in `target`; gives what was copied.

    Leaves out hidden folders, `__pycache__`, `node_modules`, virtual environments, links, and `target`
    itself.
    """
    copied: list[Path] = []
    for here, folders, files in os.walk(root):
        folder = Path(here)
        folders[:] = [name for name in folders if _wanted(folder / name, target)]
        for name in sorted(files):
            source = folder / name
            if source.suffix == ".py" and not source.is_symlink() and source.stat().st_size <= LARGEST_FILE:
                place = source.relative_to(root)
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / place)
                copied.append(place)
    return copied


def _wanted(folder: Path, target: Path) -> bool:
    if folder.name.startswith(".") or folder.name in ("__pycache__", "node_modules", "site-packages"):
        return False
    return not (folder / "pyvenv.cfg").exists() and folder.absolute() != target.absolute()
