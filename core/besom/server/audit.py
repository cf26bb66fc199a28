"""The audit log: who changed what, and who was refused; one JSON object per line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Audit:
    """Appends to a file that only its owner reads; never holds a token's text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, **what: Any) -> None:
        """Add a line."""
        line = json.dumps({"time": round(time.time(), 3), **what}) + "\n"
        os.write(self._fd, line.encode("ascii"))

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
