"""Connections to one server: kept open, shared by threads, never by processes."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    LineTooLong,
    RemoteDisconnected,
)
from itertools import islice
from urllib.parse import urlsplit

from besom.errors import StoreError, UsageError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""How long an answer may take; a longer one is a network that was cut."""
MOST_HEADERS, LONGEST_LINE = 100, 65536  # bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is."""

    secure: bool
    host: str
    port: int
    prefix: str  # of every path, where a proxy serves besom below one

    @property
    def authority(self) -> str:
        """The host and the port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as `open_store` takes it."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.prefix}"


def parse_address(url: str) -> Address:
    """Read the address of a server; UsageError for one that is none, or that holds a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(
            f"{url.rpartition('@')[2]}: {error}; a server's address is https://host:port"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url.rpartition('@')[2]}: a server's address is https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            f"{parts.scheme}://{parts.hostname}: a server's address holds no user, password or options;"
            " the token comes from BESOM_TOKEN, or the file that BESOM_TOKEN_FILE names"
        )
    secure = parts.scheme == "https"
    return Address(secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]


class _Stale(Exception):  # noqa: N818 - no error: the connection had been closed while nobody used it
    pass


class _Answer(HTTPResponse):
    """An answer whose headers are read without the email package: that takes longer than the rest."""

    told: dict[str, str]

    def begin(self) -> None:
        """Read up to the body."""
        version, _, rest = self._line().partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise BadStatusLine(f"{version} {rest}")
        self.status = int(rest[:3])
        lines = list(islice(iter(self._line, ""), MOST_HEADERS + 1))
        if len(lines) > MOST_HEADERS:
            raise HTTPException(f"more than {MOST_HEADERS} headers")
        parts = (line.partition(":") for line in lines)
        self.told = {name.strip().lower(): value.strip() for name, _, value in parts}
        length = self.told.get("content-length", "")
        self.chunked = self.told.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = int(length) if length.isdecimal() and not self.chunked else None
        endless = self.length is None and not self.chunked
        closes = self.told.get("connection", "").lower() == "close"
        self.will_close = endless or closes or version == "HTTP/1.0"

    def _line(self) -> str:
        line = self.fp.readline(LONGEST_LINE + 1)
        if not line:
            raise RemoteDisconnected("the connection was closed without an answer")
        if len(line) > LONGEST_LINE:
            raise LineTooLong("header line")
        return line.decode("latin-1").rstrip("\r\n")


class Connections:
    """A pool that grows with the threads that use it at once."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._context = ssl.create_default_context() if address.secure else None
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[HTTPConnection] = []

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, again: dict[str, str]
    ) -> Reply:
        """Ask, and ask anew with the headers `again` if a kept connection turns out to be closed.

        StoreError when the server cannot be reached or does not answer in time.
        """
        if self._pid != os.getpid():
            self._renew()  # the parent's connections are the parent's
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return self._ask(connection, method, path, body, headers, kept=True)
            except _Stale:
                self.close()  # the others are closed as well, most likely: the server was started anew
                headers = {**headers, **again}
        return self._ask(self._connect(), method, path, body, headers, kept=False)

    def _connect(self) -> HTTPConnection:
        address = self.address
        if self._context is not None:
            return HTTPSConnection(address.host, address.port, timeout=CONNECT_SECONDS, context=self._context)
        return HTTPConnection(address.host, address.port, timeout=CONNECT_SECONDS)

    def _ask(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        *,
        kept: bool,
    ) -> Reply:
        try:
            if not kept:
                connection.connect()
                connection.sock.settimeout(ANSWER_SECONDS)
            connection.sock.sendall(self._written(method, path, body, headers))
            answer = _Answer(connection.sock, method=method)
            answer.begin()
            reply = Reply(answer.status, answer.read(), answer.told)
        except (OSError, HTTPException) as error:
            connection.close()
            if kept and isinstance(error, (ConnectionError, RemoteDisconnected)):
                raise _Stale from error
            said = str(error) or type(error).__name__
            raise StoreError(
                f"{self.address.url}: {said}: is the server there, and may this machine reach it?"
            ) from error
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return reply

    def _written(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        """Give a request to send at once; `HTTPConnection.request` would wake the server twice."""
        lines = [f"{method} {self.address.prefix}{path} HTTP/1.1", f"Host: {self.address.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        if self._pid != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
