"""The scripts that make the schema what it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from besom.store.relational.queries import read_sql

PACKAGE = "besom.store.sqlite"
MIGRATIONS = ("0001_first", "0002_proposer", "0003_agent_job", "0004_report")


def statements(script: str) -> Iterator[str]:
    """Split a script into its statements; a trigger's body stays whole."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def migrations() -> tuple[str, ...]:
    """Give the scripts that lead from an empty file to the present schema, oldest first: one per version."""
    return tuple(read_sql(PACKAGE, f"migrations/{name}.sql") for name in MIGRATIONS)
