"""The SQL of the backend, by name, as it stands in the .sql files beside this module."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

FOLDER = "besom.store.sqlite"
NAME = "-- name: "
MIGRATIONS = ("0001_first",)


def read_sql(name: str) -> str:
    """Give the text of `sql/<name>`."""
    return files(FOLDER).joinpath(f"sql/{name}").read_text(encoding="utf-8")


def named(text: str) -> dict[str, str]:
    """Split SQL at its `-- name:` lines."""
    found: dict[str, str] = {}
    for part in text.split(NAME)[1:]:
        name, _, sql = part.partition("\n")
        found[name.strip()] = sql.strip().removesuffix(";")
    return found


@cache
def queries() -> dict[str, str]:
    """Give every named query."""
    return {
        name: sql
        for file in ("sweeps.sql", "queue.sql", "runs.sql")
        for name, sql in named(read_sql(file)).items()
    }


class Query:
    """Names a query as an attribute, so that the SQL is read once, on first use: `SQL.get_run`."""

    def __getattr__(self, name: str) -> str:
        try:
            sql = queries()[name]
        except KeyError:
            raise AttributeError(name) from None
        setattr(self, name, sql)
        return sql


SQL: Any = Query()


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
    return tuple(read_sql(f"migrations/{name}.sql") for name in MIGRATIONS)
