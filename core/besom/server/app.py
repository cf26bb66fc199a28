"""The server's application: each operation of a store as a route behind the gate."""

from __future__ import annotations

import gzip
import logging
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.responses import JSONResponse

import besom
from besom.errors import BesomError, UsageError
from besom.server.audit import Audit
from besom.server.crew import Crew
from besom.server.gate import Gate
from besom.server.openapi import describe_server
from besom.server.repeats import Repeats
from besom.server.tokens import Token, Tokens
from besom.server.waits import Waits
from besom.store.base import Store
from besom.store.http.codec import from_text, to_text
from besom.store.http.failure import describe
from besom.store.http.operations import Operation, digest, operations
from besom.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as Connection

log = logging.getLogger(__name__)

JSON = b"application/json"
_COMPRESS_FROM = 2048  # bytes


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server works."""

    tokens: Path
    audit: Path
    hosts: frozenset[str]  # names that it answers to, without port
    body_bytes: int = 16 * 2**20  # of one request, uncompressed
    per_second: float = 2000.0  # requests with one token
    threads: int = 16  # calls of the store at a time


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class App:
    """The ASGI application that serves a store."""

    def __init__(self, store: Store, options: ServerOptions) -> None:
        desk = _Desk(store, options)
        self.waits = desk.waits
        self._gate = Gate(
            desk,
            tokens=Tokens(options.tokens),
            hosts=options.hosts,
            audit=desk.audit,
            per_second=options.per_second,
        )

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        await self._gate(connection, receive, send)


class _Desk:
    """Has the calls done that the gate lets in; remembers answers to what must not be done twice."""

    def __init__(self, store: Store, options: ServerOptions) -> None:
        self.store, self.options = store, options
        self.audit = Audit(options.audit)
        self.name = secrets.token_hex(8)  # of this process: its memory ends with it
        self._pages = {
            "/v1": JSONResponse({"besom": besom.__version__, "digest": digest(), "server": self.name}),
            "/v1/openapi.json": JSONResponse(describe_server()),
        }
        self._operations = {one.path: one for one in operations().values()}
        self.waits = Waits(store)
        half = max(1, options.threads // 2)
        self._readers: Crew[_Answer] = Crew(half)
        # SQLite has one pen: more threads would wait for it, unless they can share a wait for the disk.
        alone = isinstance(store, SqliteStore) and not store.flushes
        self._writers: Crew[_Answer] = Crew(1 if alone else half)
        self._repeats: Repeats[_Answer] = Repeats(lambda answer: len(answer.body))

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = connection["path"]
        operation = self._operations.get(path)
        if operation is None:
            await self._pages[path](connection, receive, send)
            return
        headers: dict[bytes, bytes] = dict(connection["headers"])
        try:
            text = await self._body(headers, receive)
        except _RefusedError as error:
            kind = "StoreError" if error.status == 400 else "UsageError"
            said = {"error": {"kind": kind, "message": str(error)}}
            await JSONResponse(said, error.status)(connection, receive, send)
            return
        token: Token = connection["token"]
        answer = await self._once(operation, headers, token, text)
        if operation.scope == "admin":
            client = (connection.get("client") or ("",))[0]
            self.audit.note(operation=operation.name, status=answer.status, token=token.id, client=client)
        await self._respond(operation, headers, answer, send)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        limit = self.options.body_bytes
        kind = headers.get(b"content-type", b"")
        if kind != JSON and kind.partition(b";")[0].strip().lower() != JSON:
            raise _RefusedError(415, "the body must be application/json")
        text = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, "the body ended early")
            text += message.get("body", b"")
            if len(text) > limit:
                raise _RefusedError(413, f"the body is larger than {limit} bytes")
            more = message.get("more_body", False)
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding == b"identity":
            return text
        if encoding != b"gzip":
            raise _RefusedError(415, "a body is compressed by gzip or not at all")
        return _unzip(text, limit)

    async def _once(
        self, operation: Operation, headers: Mapping[bytes, bytes], token: Token, text: bytes
    ) -> _Answer:
        call = headers.get(b"besom-call")
        if not operation.once or call is None:
            return await self._do(operation, text)
        if headers.get(b"besom-server", self.name.encode()) != self.name.encode():
            message = f"the server was started anew; whether {operation.name} was done before is not known"
            return _Answer(503, to_text({"error": {"kind": "StoreError", "message": message}}))
        key = token.id, call[:100].decode("latin-1")
        return await self._repeats.once(key, lambda: self._do(operation, text))

    async def _do(self, operation: Operation, text: bytes) -> _Answer:
        if operation.name == "wait":
            return await self._wait(operation, text)
        crew = self._readers if operation.scope == "read" else self._writers
        return await crew.do(lambda: self._call(operation, text))

    async def _wait(self, operation: Operation, text: bytes) -> _Answer:
        given = _arguments(operation, text)
        if isinstance(given, _Answer):
            return given
        if given["seen"] == "" or not given["seconds"] > 0:  # a look, not a wait
            return await self._readers.do(lambda: self._call(operation, text))
        try:
            return _done(operation, await self.waits.wait(**given))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return _failed(operation, error)

    def _call(self, operation: Operation, text: bytes) -> _Answer:
        given = _arguments(operation, text)
        if isinstance(given, _Answer):
            return given
        try:
            return _done(operation, getattr(self.store, operation.name)(**given))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return _failed(operation, error)

    async def _respond(
        self, operation: Operation, headers: Mapping[bytes, bytes], answer: _Answer, send: Send
    ) -> None:
        body = answer.body
        told = [(b"content-type", JSON)]
        if operation.once:
            told.append((b"besom-server", self.name.encode()))
        if len(body) >= _COMPRESS_FROM and b"gzip" in headers.get(b"accept-encoding", b""):
            body = await anyio.to_thread.run_sync(gzip.compress, body, 1)
            told.append((b"content-encoding", b"gzip"))
        told.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": told})
        await send({"type": "http.response.body", "body": body})


def _arguments(operation: Operation, text: bytes) -> dict[str, Any] | _Answer:
    """Give what a call is given, or the answer to a body that is no such thing."""
    try:
        body = from_text(text)
    except UsageError as error:
        return _Answer(400, to_text({"error": {"kind": "UsageError", "message": str(error)}}))
    try:
        return operation.read(body)
    except BesomError as error:
        return _failed(operation, error)


def _done(operation: Operation, result: Any) -> _Answer:
    return _Answer(200, to_text({"result": operation.result.write(result)}))


def _failed(operation: Operation, error: Exception) -> _Answer:
    """Give the answer that tells of an error; the log gets the reason of what is the server's own fault."""
    if not isinstance(error, (BesomError, IndexError)):
        log.error("%s failed", operation.name, exc_info=error)
    status, described = describe(error)
    return _Answer(status, to_text(described))


def _unzip(text: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(text, limit + 1)
    except zlib.error as error:
        raise _RefusedError(400, "the body is not what gzip makes") from error
    if len(found) > limit:
        raise _RefusedError(413, f"the body is larger than {limit} bytes")
    if not unpacker.eof:
        raise _RefusedError(400, "the body ended early")
    return found
