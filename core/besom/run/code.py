"""Snapshots of a program's source."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path

LARGEST_FILE = 1_000_000  # bytes; source is smaller, generated tables are not wanted

Choice = Callable[[str], bool] | Callable[[str, str], bool]
"""Says whether a file is meant, by its path or by its path and the root, both text: W&B takes either."""


def copy_code(
    root: Path, target: Path, *, include: Choice | None = None, exclude: Choice | None = None
) -> list[Path]:
    """Copy the source files below `root` to the same places in `target`; gives what was copied.

    Source files are those that `include` says, less those that `exclude` says; by default Python files of up
    to 1 MB, `requirements.txt` and `Dockerfile`. Leaves out hidden folders, `__pycache__`, `node_modules`,
    virtual environments, links, and `target` itself.
    """
    copied: list[Path] = []
    for here, folders, files in os.walk(root):
        folder = Path(here)
        folders[:] = [name for name in folders if _wanted(folder / name, target)]
        for name in sorted(files):
            source = folder / name
            if _meant(source, root, include, exclude) and not source.is_symlink():
                place = source.relative_to(root)
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / place)
                copied.append(place)
    return copied


def _meant(source: Path, root: Path, include: Choice | None, exclude: Choice | None) -> bool:
    chosen = _is_source(source) if include is None else _ask(include, source, root)
    return chosen and not (exclude is not None and _ask(exclude, source, root))


def _is_source(file: Path) -> bool:
    if file.suffix == ".py":
        return file.stat().st_size <= LARGEST_FILE
    return file.name == "requirements.txt" or file.name.startswith("Dockerfile")


def _ask(choice: Choice, source: Path, root: Path) -> bool:
    ask: Callable[..., bool] = choice
    words = (str(source), str(root))
    return bool(ask(*words[: len(inspect.signature(ask).parameters)]))


def _wanted(folder: Path, target: Path) -> bool:
    if folder.name.startswith(".") or folder.name in ("__pycache__", "node_modules", "site-packages"):
        return False
    return not (folder / "pyvenv.cfg").exists() and folder.absolute() != target.absolute()
