"""What a `postgresql://` address says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from besom.errors import UsageError

SCHEMA = "besom"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store lies: what libpq is told, and the schema."""

    url: str
    conninfo: str
    schema: str


def parse_address(url: str) -> Address:
    """Read an address; UsageError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise UsageError(f"a PostgreSQL store is addressed as postgresql://user@host/database, not {url!r}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    schema = next((value for key, value in pairs if key == "schema"), SCHEMA)
    if not _NAME.fullmatch(schema):
        raise UsageError(
            f"schema={schema!r}: a schema's name has lower-case letters, digits and '_', at most 63 of them"
        )
    rest = urlencode([(key, value) for key, value in pairs if key != "schema"], safe="/")
    # Written out by hand: urlunsplit drops the empty host of `postgresql:///database`, which libpq needs.
    conninfo = f"postgresql://{parts.netloc}{parts.path}{'?' if rest else ''}{rest}"
    return Address(url, conninfo, schema)
