"""The requirements.txt itself: its lines, where each comes from, and what was left out and why."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from besom.errors import UsageError
from besom_sagemaker.requirements.install import EXPECTS, PROVIDES
from besom_sagemaker.requirements.lock import MADE_BY_BESOM

FILE = "requirements.txt"
WHEELS = "wheels"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A line of the file and the reason for it."""

    text: str
    reason: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is imported or stated and not in the file, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """An import that nothing here provides."""

    module: str
    place: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: import {self.module}: {self.hint or 'not installed here'}"


class UnresolvedImportsError(UsageError):
    """A program imports what is not installed here; `missing` holds each with its place."""

    def __init__(self, missing: Iterable[Missing]) -> None:
        self.missing = tuple(missing)
        tops = ",".join(dict.fromkeys(one.module.partition(".")[0] for one in self.missing))
        super().__init__(
            "imports that no installed package provides:\n  "
            + "\n  ".join(map(str, self.missing))
            + f"\ninstall them here, or leave them out with --allow-missing {tops}"
        )


@dataclass(frozen=True, slots=True)
class Requirements:
    """A requirements.txt that is ready to be written, with the wheels it names."""

    program: str
    requirements: tuple[Requirement, ...]
    left_out: tuple[LeftOut, ...] = ()
    missing: tuple[Missing, ...] = ()
    image_provides: tuple[str, ...] = ()
    image_has: tuple[str, ...] = ()
    wheels: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that pip reads, in order."""
        return tuple(requirement.text for requirement in self.requirements)

    @property
    def sha256(self) -> str:
        """What the content is addressed by: the lines, the image's packages, and the bytes of the wheels."""
        digest = hashlib.sha256()
        for part in (*self.lines, "\0", *self.image_provides, "\0", *self.image_has):
            digest.update(f"{part}\n".encode())
        for name, content in sorted(self.wheels.items()):
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    @property
    def text(self) -> str:
        """The file."""
        version = ".".join(map(str, sys.version_info[:2]))
        header = [
            f"{MADE_BY_BESOM} for {self.program}; made again, it is the same for the same inputs.",
            f"# inputs: sha256:{self.sha256}",
            f"# python: {version}",
            f"{PROVIDES} {', '.join(self.image_provides)}".rstrip(),  # none is something else than unsaid
            *([f"{EXPECTS} {', '.join(self.image_has)}"] if self.image_has else []),
        ]
        width = min(max(map(len, self.lines), default=0), 48)
        body = [f"{one.text:<{width}}  # {one.reason}" for one in self.requirements]
        out = [f"# left out: {one.name}: {one.reason}" for one in self.left_out]
        return "\n".join([*header, "", *body, *([""] if out else []), *out, ""])

    def files(self) -> dict[str, bytes]:
        """Give the file and its wheels by their relative paths, as they are uploaded."""
        wheels = {f"{WHEELS}/{name}": content for name, content in self.wheels.items()}
        return {FILE: self.text.encode(), **wheels}

    def write(self, path: Path) -> None:
        """Write the file, and the wheels into `wheels/` beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")
        if self.wheels:
            (path.parent / WHEELS).mkdir(exist_ok=True)
        for name, content in self.wheels.items():
            (path.parent / WHEELS / name).write_bytes(content)

    def refuse_missing(self) -> None:
        """Raise UnresolvedImportsError if there is an import that nothing provides."""
        if self.missing:
            raise UnresolvedImportsError(self.missing)
