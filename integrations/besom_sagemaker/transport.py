"""How a run's journal, and what it prints, travel through S3: in parts, each named by its offset.

S3 has no append. So the writer puts what is new into an object named by the offset it begins at, and the
reader puts together what joins. Lines are whole in every part. Both ends may die and go on at any point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from besom_sagemaker.redact import Redactor
from besom_sagemaker.s3 import S3

LONGEST_PART = 4 * 1024 * 1024
LONGEST_LOG = 32 * 1024 * 1024
"""Bytes of what a run prints that are sent; SageMaker's own log has all of it."""


def part_name(offset: int) -> str:
    """Give the name of the part that begins at `offset`."""
    return f"journal/{offset:020d}.jsonl"


def log_name(offset: int) -> str:
    """Give the name of the part of what is printed that begins at `offset`."""
    return f"console/{offset:020d}.txt"


def fetch_journal(s3: S3, prefix: str, path: Path) -> int:
    """Append to the file what has come to the run's `prefix` since; gives how long the journal is now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        size = file.tell()
        folder = f"{prefix}journal/"
        for name in s3.names(folder, after=f"{size - 1:020d}.jsonl" if size else ""):
            if name != f"{size:020d}.jsonl":
                break  # a part that does not join: what is missing has not come yet
            size += file.write(s3.get(folder + name) or b"")
    return size


class JournalSender:
    """Reads a growing journal and puts what is new into S3, without the secrets."""

    def __init__(
        self, s3: S3, prefix: str, path: Path, redactor: Redactor, *, sent: int, seen: Callable[[bytes], None]
    ) -> None:
        self.sent = sent  # bytes of all parts
        self._s3 = s3
        self._prefix = prefix
        self._path = path
        self._redactor = redactor
        self._seen = seen
        self._read = sent  # of the file: after a restart, the parts are what it begins with
        self._part = b""  # read, but not sent yet

    def send(self) -> bool:
        """Send one more part; False when there is nothing new. After an error the next call sends it."""
        if not self._part:
            self._part = self._next()
        if not self._part:
            return False
        self._s3.put(self._prefix + part_name(self.sent), self._part)
        self.sent += len(self._part)
        self._part = b""
        return True

    def _next(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                lines = list(self._lines(file))
        except FileNotFoundError:
            return b""
        part = b"".join(map(self._clean, lines))
        self._seen(part)
        return part

    def _lines(self, file: BinaryIO) -> list[bytes]:
        file.seek(self._read)
        block = file.read(LONGEST_PART)
        whole = block[: block.rfind(b"\n") + 1]
        if not whole and len(block) == LONGEST_PART:
            whole = block + file.readline()  # one line that is longer than a part
            whole = whole if whole.endswith(b"\n") else b""
        self._read += len(whole)
        return whole.splitlines(keepends=True)

    def _clean(self, line: bytes) -> bytes:
        if not self._redactor.occurs_in(line):
            return line
        try:
            entry: Any = json.loads(line)
        except ValueError:
            return self._redactor.data(line)
        return json.dumps(self._redactor.value(entry), separators=(",", ":")).encode() + b"\n"


class LogSender:
    """Puts what a program has printed into S3; the file is one without the secrets."""

    def __init__(self, s3: S3, prefix: str, path: Path, *, sent: int) -> None:
        self.sent = sent  # bytes of all parts
        self._s3 = s3
        self._prefix = prefix
        self._path = path
        self._begin = sent  # the file has what was printed since the job was started again

    def send(self) -> bool:
        """Send one more part; False when there is nothing new, or `LONGEST_LOG` has been sent."""
        if self.sent >= LONGEST_LOG:
            return False
        try:
            with self._path.open("rb") as file:
                file.seek(self.sent - self._begin)
                part = file.read(LONGEST_PART)
        except FileNotFoundError:
            return False
        if not part:
            return False
        if self.sent + len(part) >= LONGEST_LOG:
            part += b"\nbesom: all that follows is in SageMaker's own log only\n"
        self._s3.put(self._prefix + log_name(self.sent), part)
        self.sent += len(part)
        return True


def metrics_of(part: bytes) -> tuple[int, Mapping[str, float]] | None:
    """Give the step of the last row of a part and its numbers; None where no row is in it."""
    for line in reversed(part.splitlines()):
        if line.startswith(b'{"kind":"history"'):
            try:
                body: dict[str, Any] = json.loads(line)["body"]
            except ValueError:
                continue
            numbers = {
                key: value
                for key, value in body["data"].items()
                if isinstance(value, (int, float)) and not isinstance(value, bool)
            }
            return body["step"], numbers
    return None
