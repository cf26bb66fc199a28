"""The store behind a server: every operation is a call."""

from __future__ import annotations

import gzip
import os
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from besom.errors import StoreError, StoreVersionError, UsageError
from besom.jsonable import is_dict
from besom.store.base import Store
from besom.store.http.codec import from_text, to_text
from besom.store.http.connections import Address, Connections, Reply, parse_address
from besom.store.http.failure import rebuild
from besom.store.http.operations import TABLE, Operation, digest, operations

WAIT_SECONDS = 10.0
"""How long one call of `wait` takes at most; half as long as the slowest answer may."""

_COMPRESS_FROM = 2048  # bytes


class HttpStore:
    """A Store at an address; it has a method for each operation, from the table where none is written."""

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._connections = Connections(address)
        self._token = read_token()
        self._server = ""
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connections; a second call does nothing."""
        self._connections.close()

    def wait(self, sweep_id: str, seen: str, *, seconds: float) -> str:
        """Ask again and again: an answer that takes too long is a network that was cut."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            asked = min(left, WAIT_SECONDS) if left > 0 else 0.0
            word: str = self._call(operations()["wait"], sweep_id, seen, seconds=asked)
            if word != seen or not left > WAIT_SECONDS:
                return word

    def _greet(self) -> None:
        body = self._understood(self._request("GET", "/v1", None, {}))
        if not is_dict(body) or body.get("digest") != digest():
            theirs = body.get("besom", "no besom") if is_dict(body) else "no besom"
            raise StoreVersionError(
                f"{self.url}: the server runs another besom ({theirs}), which speaks another language:"
                " install the same version at both ends"
            )
        self._server = str(body["server"])

    def _call(self, operation: Operation, *args: Any, **words: Any) -> Any:
        text = to_text(operation.write(*args, **words))
        headers = {"Content-Type": "application/json"}
        again: dict[str, str] = {}
        if operation.once:
            headers["Besom-Call"] = uuid.uuid4().hex
            again["Besom-Server"] = self._server
        if len(text) >= _COMPRESS_FROM:
            text = gzip.compress(text, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        reply = self._request("POST", operation.path, text, headers, again)
        result = self._understood(reply)
        self._server = reply.headers.get("besom-server", self._server)
        try:
            return operation.result.read(result["result"], "result")
        except (UsageError, KeyError, TypeError) as error:
            raise StoreError(f"{self.url}: the server's answer is not understood: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        again: dict[str, str] | None = None,
    ) -> Reply:
        def ask() -> Reply:
            sent = {**headers, "Authorization": f"Bearer {self._token}", "Accept-Encoding": "gzip"}
            return self._connections.request(method, path, body, sent, again=again or {})

        reply = ask()
        if reply.status == 401 and (token := read_token()) != self._token:
            self._token = token  # it was renewed in its file
            reply = ask()
        return reply

    def _understood(self, reply: Reply) -> Any:
        text = reply.body
        try:
            if reply.headers.get("content-encoding") == "gzip":
                text = gzip.decompress(text)
            body = from_text(text)
        except (UsageError, OSError, EOFError, zlib.error):
            body = None
        if reply.status != 200:
            raise rebuild(reply.status, body, self.url)
        if body is None:
            raise StoreError(f"{self.url}: what answers there is no besom server")
        return body


def _method(name: str) -> Callable[..., Any]:
    def call(store: HttpStore, *args: Any, **words: Any) -> Any:
        return store._call(operations()[name], *args, **words)  # noqa: SLF001 - a method of it

    call.__name__ = name
    call.__doc__ = getattr(Store, name).__doc__
    return call


for _name in TABLE.keys() - vars(HttpStore).keys():
    setattr(HttpStore, _name, _method(_name))


def read_token() -> str:
    """Give the token: `BESOM_TOKEN`, else what the file `BESOM_TOKEN_FILE` holds.

    UsageError where neither is set or the file cannot be read.
    """
    if token := os.environ.get("BESOM_TOKEN", "").strip():
        return _plain(token)
    named = os.environ.get("BESOM_TOKEN_FILE")
    if not named:
        raise UsageError(
            "the server wants a token: set BESOM_TOKEN, or BESOM_TOKEN_FILE to a file that holds it"
            " (`besom token create`, where the server is, makes one)"
        )
    try:
        return _plain(Path(named).expanduser().read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"BESOM_TOKEN_FILE: {named} cannot be read: {error}") from error


def _plain(token: str) -> str:
    if not token.isascii() or not token.isprintable() or not token:
        raise UsageError("this is no token of besom's: it begins with besom_ and has letters and digits")
    return token


def open_http(url: str) -> Store:
    """Open the store behind the server at `http(s)://host:port`.

    UsageError for an address that is none or without a token, StoreError when the server cannot be reached or
    refuses the token, StoreVersionError when it is another besom.
    """
    return cast("Store", HttpStore(parse_address(url)))
