"""The one place that lets a request in, by host, token, route, scope and rate; the rest is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from besom.server.audit import Audit
from besom.server.limits import Rate
from besom.server.tokens import Token, Tokens
from besom.store.http.operations import Scope, operations

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def route_table() -> dict[str, dict[str, Scope]]:
    """Give every route: by path, by method, the scope that it needs."""
    table: dict[str, dict[str, Scope]] = {one.path: {"POST": one.scope} for one in operations().values()}
    return {"/v1": {"GET": "read"}, "/v1/openapi.json": {"GET": "read"}, **table}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not get in."""

    status: int
    message: str
    headers: Mapping[str, str]


class Gate:
    """Middleware around everything the server has."""

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, hosts: frozenset[str], audit: Audit, per_second: float
    ) -> None:
        self._app = app
        self._tokens, self._hosts, self._audit = tokens, hosts, audit
        self._table = route_table()
        self._rate = Rate(per_second, 2 * per_second)
        self._refusals = Rate(0.5, 30)
        self._looked = False  # at the file of tokens, in this turn of the loop

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if connection["type"] != "http":
            return  # nothing else is served; uvicorn closes what nobody answers
        headers = Headers(scope=connection)
        token = self._tokens.check(_bearer(headers), look=self._due())
        refusal = self._judge(connection, headers, token)
        if refusal is None:
            connection["token"] = token
            await self._app(connection, receive, send)
            return
        client = (connection.get("client") or ("",))[0]
        status = refusal.status
        if self._refusals.take(client):
            path = f"{connection['method']} {connection['path'][:200]}"
            self._audit.note(refused=status, token=token.id if token else None, client=client, path=path)
        elif token is None:
            status = 429
        body = {"error": {"kind": _KINDS.get(status, "StoreError"), "message": refusal.message}}
        await JSONResponse(body, status, headers=refusal.headers)(connection, receive, send)

    def _due(self) -> bool:
        """Say whether the file of tokens is to be looked at: once for all requests that came at once."""
        if self._looked:
            return False
        self._looked = True
        asyncio.get_running_loop().call_soon(self._look_again)
        return True

    def _look_again(self) -> None:
        self._looked = False

    def _judge(self, connection: Connection, headers: Headers, token: Token | None) -> Refusal | None:
        host = _host(headers.getlist("host"))
        if host not in self._hosts:
            return Refusal(
                421, "the server does not answer to this Host; start it with --allow-host NAME", {}
            )
        if token is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="besom"'}
            return Refusal(401, "the token is missing, unknown, expired or revoked", challenge)
        return self._judge_route(connection, token)

    def _judge_route(self, connection: Connection, token: Token) -> Refusal | None:
        methods = self._table.get(connection["path"])
        if methods is None:
            return Refusal(404, "there is no such route", {})
        needed = methods.get(connection["method"])
        if needed is None:
            return Refusal(405, "the route has no such method", {"Allow": ", ".join(methods)})
        if not token.allows(needed):
            return Refusal(403, f"this needs a token of scope {needed}, not {token.scope}", {})
        if not self._rate.take(token.id):
            return Refusal(429, "too many requests with this token", {"Retry-After": "1"})
        return None


_KINDS = {404: "NotFoundError", 403: "UsageError", 405: "UsageError"}


def _bearer(headers: Headers) -> str:
    given = headers.getlist("authorization")
    scheme, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" else ""


def _host(given: list[str]) -> str | None:
    """Give the name in the Host header, without port and in small letters; None when it is none or two."""
    if len(given) != 1:
        return None
    try:
        return urlsplit(f"//{given[0]}").hostname
    except ValueError:
        return None
