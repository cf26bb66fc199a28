"""What every command shares: which store it works on, and whether errors show their traceback."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from besom.errors import NotFoundError
from besom.folders import default_store

if TYPE_CHECKING:
    from besom.store.base import Store


@dataclass
class Session:
    """The global options of one call."""

    store: str | None = None
    debug: bool = False

    @property
    def url(self) -> str:
        """The address of the store, as it was given or by default."""
        return self.store or default_store()

    @property
    def shown(self) -> str:
        """The address for people to read: without a password."""
        from besom.store.address import hide_password

        return hide_password(self.url)

    def command(self, *words: object) -> str:
        """Give a besom command for a person to run next, on the store that this call was told of."""
        from besom.cli.output import shell_words

        told = ("--store", self.shown) if self.store else ()
        return shell_words(["besom", *map(str, words), *told])

    @property
    def is_sqlite(self) -> bool:
        """Say whether the store is a SQLite file."""
        scheme, separator, _ = self.url.partition("://")
        return not separator or scheme == "sqlite"

    def nothing_yet(self) -> bool:
        """Say whether the store is a file that does not exist; looking at it must not create it."""
        if not self.is_sqlite:
            return False
        from besom.store.sqlite.place import parse_place

        return not parse_place(self.url).path.exists()

    @contextmanager
    def open(self, *, create: bool = False) -> Generator[Store]:
        """Open the store for as long as the command needs it; NotFoundError if it would have to be made."""
        from besom.store import open_store

        if not create and self.nothing_yet():
            raise NotFoundError(
                f"there is no store at {self.shown} yet;"
                " `besom run sweep.yaml` makes one, --store names another"
            )
        store = open_store(self.url)
        try:
            yield store
        finally:
            store.close()


pass_session = click.make_pass_decorator(Session, ensure=True)
