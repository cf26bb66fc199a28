"""For tests: a PostgreSQL server of their own, in a folder that goes away with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

USER = "besom"
PATIENCE = 60.0  # seconds that the server may take to start


def find_server() -> Path | None:
    """Give the folder of PostgreSQL's programs, the newest where there are several; None without one."""
    if found := shutil.which("initdb"):
        folder = Path(found).resolve().parent
        if (folder / "postgres").exists():
            return folder
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in versions), key=lambda folder: float(folder.parent.name), default=None)


class PostgresServer:
    """A server that listens on a socket in its folder and trusts everybody who reaches it."""

    def __init__(self, programs: Path, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._programs = programs
        self.folder = folder
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / "data"
        # PostgreSQL does not run as root.
        self._user = _unprivileged() if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
            folder.chmod(0o755)
        self._run("initdb", "--pgdata", str(self._data), "--username", USER, "--auth=trust", "--no-sync")

    def url(self, schema: str) -> str:
        """Give the address of a store in a schema of its own."""
        return f"postgresql://{USER}@/postgres?host={self.folder}&schema={schema}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
            "fsync": "off",  # what is tested is the death of processes, not of machines
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                user=self._uid,
                group=self._gid,
            )
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(
            [str(self._programs / "pg_isready"), "--quiet", "--host", str(self.folder)], check=False
        ).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "server.log").read_text()
                raise AssertionError(f"PostgreSQL does not start: {said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it starts no other while they are counted
        for pid in [*_children(self._process.pid), self._process.pid]:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the server and all of its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    @property
    def _uid(self) -> int | None:
        return None if self._user is None else self._user.pw_uid

    @property
    def _gid(self) -> int | None:
        return None if self._user is None else self._user.pw_gid

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=self._uid,
            group=self._gid,
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def postgres_server(
    programs: Path, *, settings: Mapping[str, str] | None = None
) -> Generator[PostgresServer]:
    """Give a running server with `settings` of postgresql.conf, and take it away."""
    # Not below pytest's folders: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="besom-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, Path(folder), settings=settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _children(pid: int) -> list[int]:
    """Give the processes whose parent was `pid`: each of the server's workers leads a group of its own."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found.append(int(path.parent.name))
    return found
