"""What tests of several folders need: a PostgreSQL server of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from besom.testing.postgres import PostgresServer, find_server, postgres_server


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
