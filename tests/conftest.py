"""What tests of several folders need: a PostgreSQL server of their own, and signals that are heard."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest

from besom.testing.postgres import PostgresServer, find_server, postgres_server


def pytest_configure() -> None:
    """Hear Ctrl-C even where a shell started the tests behind `&`, which ignores it for all below."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg")
    programs = find_server()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: apt install postgresql)")
    with postgres_server(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The address of a new store."""
    return postgres.url(f"s{uuid.uuid4().hex}")
