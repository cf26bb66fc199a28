"""The stores that an agent of a queue uses, whatever messages say: its own, and those it was allowed."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from besom.errors import UsageError
from besom.store.address import hide_password
from besom_aws.references import is_reference, parse_reference, resolve

OWN = "env:BESOM_STORE"
"""The reference by which a message means the agent's own store."""


class StorePins:
    """An agent's own store and the addresses or references beside it that messages may name."""

    def __init__(self, own: str, allowed: Sequence[str] = ()) -> None:
        self._own = own
        self._addresses = {_plain(own): own} | {_plain(one): one for one in allowed if not is_reference(one)}
        self._references = {str(parse_reference(one)) for one in allowed if is_reference(one)}

    def address(self, told: str | None) -> str:
        """Give the address of the store that a message names; UsageError for one that is not allowed.

        A reference is read only if it is allowed, so a message cannot make an agent read other secrets.
        """
        if told is None or told == OWN:
            return self._own
        if told in self._references:
            return resolve(parse_reference(told))
        if not is_reference(told) and (known := self._addresses.get(_plain(told))) is not None:
            return known
        raise UsageError(
            f"it names the store {hide_password(told)[:200]!r}, which this agent was not told of;"
            " its own is $BESOM_STORE or --store, --allow-store adds another"
        )


def _plain(url: str) -> str:
    """Give an address in the one form that is compared: absolute, and without a password."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme == "sqlite":
        from besom.store.sqlite.place import parse_place

        try:
            return parse_place(url).url
        except UsageError:
            return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    user, at, host = parts.netloc.rpartition("@")
    pairs = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if "password" not in pair[0]]
    scheme = {"postgres": "postgresql"}.get(parts.scheme, parts.scheme)
    query = urlencode(pairs, safe="/*")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{parts.path}{'?' if query else ''}{query}"
