"""Looks for secrets in what is about to leave this machine: files, hyperparameters, environments.

It fails closed: one find and nothing is uploaded. A find is told by its place and kind, never by its text.
"""

from __future__ import annotations

import fnmatch
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from besom.errors import UsageError
from besom_sagemaker.redact import Redactor

CHUNK = 1 << 20
OVERLAP = 1 << 14  # a find is no longer than this, or begins with something that is enough
ARCHIVE_DEPTH = 2
SHOWN = 20

FILES = {
    "secrets.env": "a file of credentials, as wandb.sagemaker_auth() writes it",
    ".env": "a file of environment variables",
    ".env.*": "a file of environment variables",
    "*.pem": "a key file",
    "*.p12": "a key file",
    "*.pfx": "a key file",
    "id_rsa": "a private key",
    "id_dsa": "a private key",
    "id_ecdsa": "a private key",
    "id_ed25519": "a private key",
    ".netrc": "a file of passwords",
    "_netrc": "a file of passwords",
    ".pgpass": "a file of passwords",
    ".pypirc": "a file of passwords",
    ".git-credentials": "a file of passwords",
    ".aws/*": "AWS credentials",
    ".docker/config.json": "registry credentials",
    ".kaggle/kaggle.json": "Kaggle credentials",
}
HARMLESS_FILES = (".env.example", ".env.sample", ".env.template")

_PLACEHOLDER = rb"(?!\$|<|\{|%\(|\*\*\*|(?i:password|passwd|pass|secret|pw|xxx+|changeme)@)"


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What a kind of secret looks like; bytes without any of the `marks`, in lower case, have none of it."""

    kind: str
    marks: tuple[bytes, ...]
    search: re.Pattern[bytes]
    at_end: bool = True  # where the secret is: at the end of a find that begins with words before it


PATTERNS = (
    _Pattern(
        "an AWS access key id",
        (b"akia", b"asia"),
        re.compile(rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ),
    _Pattern(
        "an AWS secret access key",
        (b"access", b"secret"),
        re.compile(
            rb"(?i:secret_?access_?key|aws_?secret_?key)[\"']?\]?\s{0,3}[:=]\s{0,3}[\"']?"
            rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
        ),
    ),
    _Pattern("a Hugging Face token", (b"hf_",), re.compile(rb"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}")),
    _Pattern(
        "a W&B API key",
        (b"wandb",),
        re.compile(
            rb"(?i:wandb)[\s\S]{0,80}?(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])"
            rb"|(?<![A-Za-z0-9])wandb_v\d_[A-Za-z0-9_]{40,}"
        ),
    ),
    _Pattern(
        "a GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ),
    _Pattern("a Slack token", (b"xox",), re.compile(rb"(?<![A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{10,}")),
    _Pattern("an API key", (b"sk-",), re.compile(rb"(?<![A-Za-z0-9])sk-(?:[a-z]+-)*[A-Za-z0-9_-]{32,}")),
    _Pattern("a Google API key", (b"aiza",), re.compile(rb"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}")),
    _Pattern(
        "a private key",
        (b"private key",),
        re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s+(?:[A-Za-z0-9+/=:,\- ]+\s+)"),
        at_end=False,
    ),
    _Pattern(
        "an address with a password",
        (b"://",),
        re.compile(
            rb"://[^\s/:@\"'`<>]*:" + _PLACEHOLDER + rb"[^\s/@\"'`<>]+@[A-Za-z0-9\[]",
        ),
    ),
)


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A secret, or what looks like one, in what was about to leave."""

    where: str
    line: int | None
    kind: str

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        return f"{place}: {self.kind}"


class LeakError(UsageError):
    """Something secret was about to leave; `leaks` holds every find."""

    def __init__(self, leaks: Sequence[Leak]) -> None:
        self.leaks = tuple(leaks)
        lines = [str(leak) for leak in self.leaks[:SHOWN]]
        if len(self.leaks) > SHOWN:
            lines.append(f"and {len(self.leaks) - SHOWN} more")
        super().__init__(
            "nothing was uploaded, because it holds what looks like secrets:\n  "
            + "\n  ".join(lines)
            + "\ngive jobs references (secrets={...}) instead;"
            + " allow a find that is none by its path (allow_leaks)"
        )


def refuse_leaks(leaks: Iterable[Leak]) -> None:
    """Raise LeakError if there is any."""
    if found := sorted(set(leaks), key=lambda leak: (leak.where, leak.line or 0, leak.kind)):
        raise LeakError(found)


def scan_folder(
    root: str | os.PathLike[str], *, known: Iterable[str] = (), allow: Sequence[str] = ()
) -> Iterator[Leak]:
    """Look through every file below a folder, links followed, and into archives.

    `known` are values that must not be there in any form; `allow` are patterns of paths, relative to the
    folder, that are left out. A file that cannot be read is a find.
    """
    root = Path(root)
    paths = (path.relative_to(root).as_posix() for path in _walk(root, set()))
    yield from scan_files(root, paths, known=known, allow=allow)


def scan_files(
    root: Path, paths: Iterable[str], *, known: Iterable[str] = (), allow: Sequence[str] = ()
) -> Iterator[Leak]:
    """Look through these files, which are named by their paths relative to `root`."""
    redactor = Redactor(known)
    for path in sorted(paths):
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in allow):
            continue
        where = (root / path).as_posix()
        if kind := _kind_by_name(path):
            yield Leak(where, None, kind)
        try:
            with (root / path).open("rb") as stream:
                yield from _scan_stream(where, stream, redactor, ARCHIVE_DEPTH)
        except OSError as error:
            yield Leak(where, None, f"cannot be looked into ({error.strerror})")


def scan_mapping(
    where: str, values: Mapping[str, Any], *, known: Iterable[str] = (), allow: Sequence[str] = ()
) -> Iterator[Leak]:
    """Look through hyperparameters, an environment or a whole request; a find is named `where[key]`."""
    redactor = Redactor(known)
    for place, text in _strings(where, values):
        if not any(fnmatch.fnmatchcase(place, pattern) for pattern in allow):
            # The name goes first: what is a key by itself is told apart by what it is the value of.
            name = place.rpartition("[")[2].rstrip("]")
            yield from (
                Leak(place, None, kind)
                for kind, _ in _finds(f"{name}={text}".encode("utf-8", "surrogateescape"), redactor)
            )


def scan_bytes(where: str, data: bytes, *, known: Iterable[str] = ()) -> Iterator[Leak]:
    """Look through bytes, an archive's files among them."""
    return _scan_stream(where, io.BytesIO(data), Redactor(known), ARCHIVE_DEPTH)


def _strings(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(f"{where}[{key}]", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from _strings(f"{where}[{index}]", item)
    elif isinstance(value, bytes):
        yield where, value.decode("utf-8", "surrogateescape")
    elif value is not None and not isinstance(value, (bool, int, float)):
        yield where, str(value)


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Give the files below a folder; links lead on, but into no folder twice."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _walk(path, seen)
        elif path.is_file() or path.is_symlink():
            yield path


def _kind_by_name(path: str) -> str | None:
    name = path.rpartition("/")[2]
    if name in HARMLESS_FILES:
        return None
    for pattern, kind in FILES.items():
        if "/" in pattern:
            if fnmatch.fnmatchcase(f"/{path}", f"*/{pattern}"):
                return kind
        elif fnmatch.fnmatchcase(name, pattern):
            return kind
    return None


def _scan_stream(where: str, stream: IO[bytes], redactor: Redactor, depth: int) -> Iterator[Leak]:
    """Look through a file's bytes, and through the files in it if it is an archive."""
    yield from _scan_plain(where, stream, redactor)
    if depth:
        stream.seek(0)
        yield from _scan_archive(where, stream, redactor, depth)


def _scan_plain(where: str, stream: IO[bytes], redactor: Redactor) -> Iterator[Leak]:
    """Look through bytes a piece at a time; pieces overlap, so that nothing hides between two."""
    overlap = max([OVERLAP, *map(len, redactor.patterns[:1])])
    kept, line, told = b"", 1, set[tuple[str, int]]()
    while piece := stream.read(CHUNK):
        data = kept + piece
        for kind, start in _finds(data, redactor):
            at = line + data.count(b"\n", 0, start)
            if (kind, at) not in told:
                told.add((kind, at))
                yield Leak(where, at, kind)
        cut = max(len(data) - overlap, 0)
        line += data.count(b"\n", 0, cut)
        kept = data[cut:]


def _finds(data: bytes, redactor: Redactor) -> Iterator[tuple[str, int]]:
    if (search := redactor.search) is not None:
        for found in search.finditer(data):
            yield "the value of one of the secrets", found.start()
    lower = data.lower()
    for pattern in PATTERNS:
        if any(mark in lower for mark in pattern.marks):
            for found in pattern.search.finditer(data):
                yield pattern.kind, found.end() - 1 if pattern.at_end else found.start()


def _scan_archive(where: str, stream: IO[bytes], redactor: Redactor, depth: int) -> Iterator[Leak]:
    try:
        if zipfile.is_zipfile(stream):
            stream.seek(0)
            yield from _scan_zip(where, stream, redactor, depth)
            return
        stream.seek(0)
        if stream.read(4)[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7") or _is_tar(stream):
            stream.seek(0)
            yield from _scan_tar(where, stream, redactor, depth)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        if not isinstance(error, tarfile.ReadError):  # a compressed file that is no archive
            yield Leak(where, None, f"an archive that cannot be looked into ({type(error).__name__})")


def _is_tar(stream: IO[bytes]) -> bool:
    stream.seek(257)
    return stream.read(5) == b"ustar"


def _scan_zip(where: str, stream: IO[bytes], redactor: Redactor, depth: int) -> Iterator[Leak]:
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                yield from _scan_member(f"{where}!{name}", name, archive.read(name), redactor, depth)


def _scan_tar(where: str, stream: IO[bytes], redactor: Redactor, depth: int) -> Iterator[Leak]:
    with tarfile.open(fileobj=stream) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield from _scan_member(f"{where}!{member.name}", member.name, file.read(), redactor, depth)


def _scan_member(where: str, name: str, data: bytes, redactor: Redactor, depth: int) -> Iterator[Leak]:
    if kind := _kind_by_name(name):
        yield Leak(where, None, kind)
    yield from _scan_stream(where, io.BytesIO(data), redactor, depth - 1)
