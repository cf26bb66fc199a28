"""From a store's address to a file that SQLite can work on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote

from besom.errors import StorePlaceError, UsageError
from besom.folders import escape_path

Synchronous = Literal["normal", "full"]

NETWORK_FILESYSTEMS = frozenset(
    {
        *("afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"),
        *("orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "wekafs"),
        *("fuse.beegfs", "fuse.ceph", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys"),
        *("fuse.juicefs", "fuse.mountpoint-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)
"""Filesystem types, as Linux names them, on which SQLite's locks do not reach other machines."""

MOUNTS = Path("/proc/self/mounts")


@dataclass(frozen=True, slots=True)
class Place:
    """The file a store lives in, and how it is written."""

    path: Path  # absolute
    synchronous: Synchronous = "normal"

    @property
    def url(self) -> str:
        """The address that names this place from any working directory."""
        query = "?synchronous=full" if self.synchronous == "full" else ""
        return f"sqlite:///{escape_path(str(self.path))}{query}"


def parse_place(url: str) -> Place:
    """Read `sqlite:///relative.db` or `sqlite:////absolute.db`, with `?synchronous=full`, or a path.

    In an address, not in a bare path, `%` and `?` are written as `%25` and `%3F`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Place(Path(url).expanduser().absolute())
    if scheme != "sqlite":
        raise UsageError(f"{url}: not the address of a SQLite store; write sqlite:///path/to/besom.db")
    rest, _, query = rest.partition("?")
    host, slash, name = rest.partition("/")
    if host or not slash:
        raise UsageError(
            f"{url}: three slashes come before a relative path, four before an absolute one: sqlite:///besom.db"
        )
    if name in {"", ":memory:"}:
        raise UsageError(f"{url}: a store that processes share needs a file: sqlite:///besom.db")
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "normal").lower()
    if options or synchronous not in {"normal", "full"}:
        raise UsageError(
            f"{url}: the only option of a SQLite store is synchronous=normal or synchronous=full"
        )
    return Place(Path(unquote(name)).expanduser().absolute(), cast("Synchronous", synchronous))


def filesystem_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Give the type of the filesystem that holds `path`, as Linux names it; None where it cannot be told."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    found: tuple[int, str] | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        depth = len(mount.parts)
        # Of two mounts on the same folder the later one is seen.
        if (real == mount or mount in real.parents) and (found is None or depth >= found[0]):
            found = (depth, fields[2])
    return found[1] if found else None


def require_local(path: Path, kind: str | None) -> None:
    """Raise StorePlaceError if `kind`, the type of the filesystem under `path`, is a network filesystem."""
    if kind in NETWORK_FILESYSTEMS:
        raise StorePlaceError(
            f"{path} is on a network filesystem ({kind}), where SQLite loses data once two machines write; "
            "put the store on a local disk (set BESOM_STORE=sqlite:////local/disk/besom.db)"
        )
