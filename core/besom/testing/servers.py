"""For tests: besom's server, in a thread of this process or as a process that can be killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from besom.server.app import App, ServerOptions
from besom.server.gate import LOOPBACK
from besom.server.listen import Listening, bind, make_server
from besom.server.tokens import Tokens
from besom.store.base import Store

PATIENCE = 60.0  # seconds that a server may take to start


def server_options(folder: Path, **more: int) -> ServerOptions:
    """Give options for a server whose files are in `folder`."""
    return ServerOptions(folder / "tokens.json", folder / "audit.jsonl", frozenset(LOOPBACK), **more)


@contextmanager
def serving(store: Store, options: ServerOptions) -> Generator[str]:
    """Serve a store from a thread; gives the address."""
    where = Listening(port=0)
    with bind(where) as listener:
        server = make_server(App(store, options), where)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


class ServerProcess:
    """`besom serve` in front of a store, always on the same port."""

    def __init__(self, folder: Path, store: str, *, max_rate: float = 2000.0) -> None:
        self.folder, self._store, self._max_rate = folder, store, max_rate
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.token = Tokens(folder / "tokens.json").create("admin", seconds=None)[1]

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        options = ["--port", str(self.port), "--tokens", str(self.folder / "tokens.json")]
        options += ["--audit", str(self.folder / "audit.jsonl"), "--store", self._store]
        options += ["--max-rate", str(self._max_rate)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "besom", "serve", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "BESOM_DIR": str(self.folder)},
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server does not start: {(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
