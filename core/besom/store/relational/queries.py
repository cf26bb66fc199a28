"""SQL by name, as it stands in a backend's .sql files."""

from __future__ import annotations

from importlib.resources import files

NAME = "-- name: "
FILES = ("sweeps.sql", "queue.sql", "runs.sql")


class Queries:
    """A backend's queries as attributes, read once, on first use: `queries.get_run`."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._named: dict[str, str] | None = None

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            sql = self.all()[name]
        except KeyError:
            raise AttributeError(name) from None
        setattr(self, name, sql)
        return sql

    def all(self) -> dict[str, str]:
        """Give every query by its name."""
        if self._named is None:
            self._named = {
                name: sql
                for file in FILES
                for name, sql in named_queries(read_sql(self._package, file)).items()
            }
        return self._named


def read_sql(package: str, name: str) -> str:
    """Give the text of `sql/<name>` in a backend's package."""
    return files(package).joinpath(f"sql/{name}").read_text(encoding="utf-8")


def named_queries(text: str) -> dict[str, str]:
    """Split SQL at its `-- name:` lines."""
    found: dict[str, str] = {}
    for part in text.split(NAME)[1:]:
        name, _, sql = part.partition("\n")
        found[name.strip()] = sql.strip().removesuffix(";")
    return found
