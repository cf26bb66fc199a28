"""Listens: on this machine alone unless told otherwise, and never beyond it in the clear by accident."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from besom.errors import UsageError
from besom.server.app import App, ServerOptions
from besom.store.base import Store

GRACE = 5  # seconds that requests in progress have when the server ends


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens, and how."""

    host: str = "127.0.0.1"
    port: int = 8700
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False  # without TLS also beyond this machine: a proxy or a private network sees to it


def bind(where: Listening) -> socket.socket:
    """Give a listening socket.

    UsageError when it would take tokens in the clear from other machines, or the address cannot be had.
    """
    if not (_is_loopback(where.host) or where.certificate or where.plain):
        raise UsageError(
            f"{where.host} is reached from other machines, and tokens would travel in the clear: give"
            " --tls-certificate and --tls-key, or --plain where a proxy or a private network protects them"
        )
    try:
        family = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0][0]
        # Named by its protocol: asyncio spares only such connections the 40 ms of Nagle's algorithm.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise UsageError(f"{where.host}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((where.host, where.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UsageError(f"{where.host}:{where.port} cannot be listened on: {error}") from error
    return listener


class _Server(uvicorn.Server):
    """Lets those go first that wait for news: uvicorn ends only after all requests have."""

    def __init__(self, app: App, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._app.waits.close()
        await super().shutdown(sockets)


def make_server(app: App, where: Listening) -> uvicorn.Server:
    """Give uvicorn's server for an application."""
    return _Server(
        app,
        uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # each costs the client some microseconds
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE,
            ssl_certfile=where.certificate,
            ssl_keyfile=where.key,
        ),
    )


def serve(store: Store, options: ServerOptions, where: Listening, *, on_start: Callable[[str], None]) -> None:
    """Serve a store until a signal ends the process; `on_start` is told the address."""
    with bind(where) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        on_start(f"http{'s' if where.certificate else ''}://{shown}:{port}")
        make_server(App(store, options), where).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
