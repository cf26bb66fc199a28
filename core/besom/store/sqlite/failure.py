"""What SQLite's errors mean for the one who sees them."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from besom.errors import StoreError, StoreFullError, UsageError

LEAST_SPACE = 1 << 20
"""Bytes below which an I/O error is taken for a full disk."""


def full(path: Path) -> StoreFullError:
    """Give the error for a disk without room."""
    return StoreFullError(
        f"{path}: no space left on the disk; nothing was written. "
        "Free some space and run the same command again"
    )


ADVICE = (
    ("not a database", "it is no besom store; name another file with BESOM_STORE or --store"),
    ("malformed", "it is damaged; try `sqlite3 FILE .recover`, or move it away and start a new store"),
    ("locked", "another program holds it; close what has it open and try again"),
    ("readonly", "it cannot be written; look at the permissions of the file and of its folder"),
    ("disk I/O error", "look at the health of the disk, and at quotas and limits on the size of files"),
    ("unable to open", "is it a folder, or one you cannot write to?"),
)


def explain(error: Exception, path: Path) -> Exception:
    """Give the error to raise for what SQLite or the system raised while using the store at `path`."""
    if isinstance(error, OSError):
        no_room = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return full(path) if no_room else StoreError(f"{path}: {error.strerror}")
    if isinstance(error, (OverflowError, UnicodeEncodeError)):
        return UsageError(f"{path}: a value cannot be stored: {error}")
    # Subclasses other than OperationalError are faults of ours and pass through as they are.
    if type(error) not in {sqlite3.DatabaseError, sqlite3.OperationalError}:
        return error
    said = str(error)
    if "disk is full" in said or ("disk I/O error" in said and _without_space(path)):
        return full(path)
    advice = next((advice for sign, advice in ADVICE if sign in said), "")
    return StoreError(f"{path}: {said}" + (f": {advice}" if advice else ""))


def _without_space(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LEAST_SPACE
