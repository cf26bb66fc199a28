"""The server's application: each operation of a store as a route behind the gate."""

from __future__ import annotations

import asyncio
import gzip
import logging
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import besom
from besom.errors import BesomError, UsageError
from besom.server.audit import Audit
from besom.server.gate import Gate
from besom.server.openapi import describe_server
from besom.server.tokens import Tokens
from besom.server.waits import Waits
from besom.store.base import Store
from besom.store.http.codec import from_text, to_text
from besom.store.http.failure import describe
from besom.store.http.operations import Operation, digest, operations

log = logging.getLogger(__name__)

_COMPRESS_FROM = 2048  # bytes
_REMEMBERED = 10_000  # answers to calls that must not be done twice
_REMEMBERED_SECONDS = 300.0


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


def create_app(store: Store, options: ServerOptions) -> Starlette:
    """Give the ASGI application that serves a store."""
    desk = _Desk(store, options)
    gate = Middleware(
        Gate,
        tokens=Tokens(options.tokens),
        hosts=options.hosts,
        audit=desk.audit,
        per_second=options.per_second,
    )
    described = describe_server()
    greeting = {"besom": besom.__version__, "digest": digest(), "server": desk.name}

    async def greet(request: Request) -> Response:
        del request
        return JSONResponse(greeting)

    async def tell(request: Request) -> Response:
        del request
        return JSONResponse(described)

    routes = [Route("/v1", greet, methods=["GET"]), Route("/v1/openapi.json", tell, methods=["GET"])]
    routes += [Route(one.path, desk.endpoint(one), methods=["POST"]) for one in operations().values()]
    return Starlette(routes=routes, middleware=[gate])


class _Desk:
    """Takes calls, does them in threads, and remembers the answers that must not be asked for twice."""

    def __init__(self, store: Store, options: ServerOptions) -> None:
        self.store, self.options = store, options
        self.audit = Audit(options.audit)
        self.name = secrets.token_hex(8)  # of this process: its memory ends with it
        self._waits = Waits(store)
        self._limiter: anyio.CapacityLimiter | None = None
        self._answers: OrderedDict[tuple[str, str], tuple[float, asyncio.Future[_Answer]]] = OrderedDict()

    def endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        """Give the endpoint of an operation."""

        async def serve(request: Request) -> Response:
            try:
                text = await self._body(request)
            except _RefusedError as error:
                kind = "StoreError" if error.status == 400 else "UsageError"
                return JSONResponse({"error": {"kind": kind, "message": str(error)}}, error.status)
            answer = await self._once(operation, request, text)
            if operation.scope == "admin":
                client = request.client.host if request.client else ""
                token = request.scope["token"].id
                self.audit.note(operation=operation.name, status=answer.status, token=token, client=client)
            return await self._response(request, answer)

        return serve

    async def _body(self, request: Request) -> bytes:
        limit = self.options.body_bytes
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _RefusedError(415, "the body must be application/json")
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _RefusedError(413, f"the body is larger than {limit} bytes")
                parts.append(part)
        except ClientDisconnect as error:
            raise _RefusedError(400, "the body ended early") from error
        text = b"".join(parts)
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return text
        if encoding != "gzip":
            raise _RefusedError(415, "a body is compressed by gzip or not at all")
        return _unzip(text, limit)

    async def _once(self, operation: Operation, request: Request, text: bytes) -> _Answer:
        call = request.headers.get("besom-call")
        if not operation.once or call is None:
            return await self._do(operation, text)
        if request.headers.get("besom-server", self.name) != self.name:
            message = f"the server was started anew; whether {operation.name} was done before is not known"
            return _Answer(503, to_text({"error": {"kind": "StoreError", "message": message}}))
        key, now = (request.scope["token"].id, call[:100]), time.monotonic()
        while self._answers and (
            len(self._answers) > _REMEMBERED
            or next(iter(self._answers.values()))[0] < now - _REMEMBERED_SECONDS
        ):
            self._answers.popitem(last=False)
        if key not in self._answers:
            self._answers[key] = (now, asyncio.ensure_future(self._do(operation, text)))
        return await asyncio.shield(self._answers[key][1])

    async def _do(self, operation: Operation, text: bytes) -> _Answer:
        if operation.name == "wait":
            return await self._wait(operation, text)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self.options.threads)
        return await anyio.to_thread.run_sync(self._call, operation, text, limiter=self._limiter)

    async def _wait(self, operation: Operation, text: bytes) -> _Answer:
        given = _arguments(operation, text)
        if isinstance(given, _Answer):
            return given
        try:
            return _done(operation, await self._waits.wait(**given))
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

    async def _response(self, request: Request, answer: _Answer) -> Response:
        headers = {"Besom-Server": self.name, "Cache-Control": "no-store"}
        body = answer.body
        if len(body) >= _COMPRESS_FROM and "gzip" in request.headers.get("accept-encoding", ""):
            body = await anyio.to_thread.run_sync(gzip.compress, body, 1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, answer.status, headers, "application/json")


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
