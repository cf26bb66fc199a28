"""Shows in the job's log what programs print, without the secrets."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from besom_sagemaker.redact import Redactor

_BLOCK = 64 * 1024


class Output:
    """Follows a file that a program prints into, from `start` on; what is shown is added to `copy`, too."""

    def __init__(self, path: Path, redactor: Redactor, *, start: int = 0, copy: Path | None = None) -> None:
        self._path = path
        self._copy = copy
        self._at = start
        self._stream = redactor.stream()
        self._line_open = False

    def show(self) -> None:
        """Pass on what is new."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._at)
            while block := file.read(_BLOCK):
                self._at += len(block)
                self._write(self._stream.feed(block))

    def close(self) -> None:
        """Pass on the rest; the program has ended."""
        self.show()
        self._write(self._stream.close())
        if self._line_open:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            if self._copy is not None:
                with self._copy.open("ab") as copy:
                    copy.write(data)
            self._line_open = not data.endswith(b"\n")
