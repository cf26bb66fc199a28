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
        f"{path}: no space left on the disk; nothing was written. Free some space and run the same command again"
    )


def explain(error: Exception, path: Path) -> Exception:
    """Give the error to raise for what SQLite or the system raised while using the store at `path`."""
    if isinstance(error, OSError):
        return (
            full(path)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else StoreError(f"{path}: {error.strerror}")
        )
    if isinstance(error, (OverflowError, UnicodeEncodeError)):
        return UsageError(f"{path}: a value cannot be stored: {error}")
    said = str(error)
    # Subclasses other than OperationalError are faults of ours and pass through as they are.
    if type(error) not in {sqlite3.DatabaseError, sqlite3.OperationalError}:
        return error
    if "disk is full" in said or ("disk I/O error" in said and _without_space(path)):
        return full(path)
    if "not a database" in said:
        return StoreError(
            f"{path} is not a besom store: {said}; name another file with BESOM_STORE or --store"
        )
    if "malformed" in said:
        return StoreError(
            f"{path} is damaged ({said}); try `sqlite3 {path} .recover`, or move it away and start a new store"
        )
    if "locked" in said:
        return StoreError(
            f"{path} is locked by another program ({said}); close what holds it open and try again"
        )
    return StoreError(f"{path}: {said}")


def _without_space(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LEAST_SPACE
