"""The backend, put together."""

from __future__ import annotations

from besom.store.postgres.address import parse_address
from besom.store.postgres.database import open_database
from besom.store.relational.database import Time
from besom.store.relational.store import RelationalStore


class PostgresStore(RelationalStore):
    """A Store in one schema of a PostgreSQL database."""


def open_postgres(url: str, *, clock: Time | None = None) -> PostgresStore:
    """Open the store at `postgresql://user@host/database`, creating its schema where there is none.

    `?schema=name` chooses the schema ("besom"); everything else in the address is libpq's. Without `clock`
    the server's own time counts. UsageError for an address that is none, StoreVersionError for a schema of a
    newer besom, StoreError when the server cannot be used.
    """
    return PostgresStore(open_database(parse_address(url), clock))
