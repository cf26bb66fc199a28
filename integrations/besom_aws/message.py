"""What a message of the queue says: which sweep to join, where its store is, how many runs to take.

It is a wake-up call and nothing else. The store stays the authority on what is run and what has been; so a
message that comes twice, late or never changes nothing but the number of agents.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from besom.errors import UsageError
from besom.store.address import hide_password
from besom_aws.references import EXAMPLE, is_reference, parse_reference

VERSION = 1
_KEYS = {"besom", "sweep", "store", "count"}
_SWEEP = re.compile(r"[\w.-]{1,200}")


class ForeignMessageError(UsageError):
    """A message is not one of besom's, or one that this besom does not know."""


@dataclass(frozen=True, slots=True)
class Message:
    """An invitation to a sweep."""

    sweep: str
    store: str | None = None  # an address without a password, or a reference; None: the agent's own
    count: int | None = None  # runs to take at most


def encode_message(message: Message) -> str:
    """Give the body of a message; UsageError if it would carry a secret."""
    if message.store is not None:
        require_public(message.store)
    said: dict[str, Any] = {"besom": VERSION, "sweep": message.sweep}
    if message.store is not None:
        said["store"] = message.store
    if message.count is not None:
        said["count"] = message.count
    return json.dumps(said)


def decode_message(body: str) -> Message:
    """Read the body of a message; ForeignMessageError says what is wrong, and repeats nothing of it."""
    try:
        read: Any = json.loads(body)
    except ValueError:
        raise ForeignMessageError("it is not JSON") from None
    if not isinstance(read, dict) or "besom" not in read:
        raise ForeignMessageError('it is no JSON object with the key "besom"')
    said = cast("dict[str, Any]", read)
    if said["besom"] != VERSION:
        raise ForeignMessageError(f"it is of another version than {VERSION}; is this besom too old?")
    if set(said) - _KEYS:
        raise ForeignMessageError(f"it has other keys than {', '.join(sorted(_KEYS))}")
    sweep, store, count = said.get("sweep"), said.get("store"), said.get("count")
    if not isinstance(sweep, str) or not _SWEEP.fullmatch(sweep):
        raise ForeignMessageError('"sweep" is no id of a sweep')
    if not (store is None or isinstance(store, str)):
        raise ForeignMessageError('"store" is no text')
    if not (count is None or (type(count) is int and count > 0)):
        raise ForeignMessageError('"count" is no number of runs')
    return Message(sweep, store, count)


def require_public(store: str) -> None:
    """Raise UsageError for an address that holds a password, or for what is no reference."""
    if is_reference(store):
        parse_reference(store)
    elif hide_password(store) != store:
        raise UsageError(
            f"the address {hide_password(store)} holds a password, and a queue's messages are read by many;"
            " let agents use their own with --store-reference env:BESOM_STORE, or put the address into AWS"
            f" and give its place ({EXAMPLE})"
        )
