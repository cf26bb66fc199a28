"""Reads the keys of one mapping in a sweep file, noting what is wrong with each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from besom.space.values import is_finite
from besom.sweepfile.tree import Entry, Node, Place, Problems, did_you_mean, joined, listed


class Fields:
    """A mapping and its dotted path in the file; readers note what is wrong, and give the default for it."""

    def __init__(self, node: Node, path: str, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self.place = node.place
        self.entries: Mapping[str, Entry] = node.value if isinstance(node.value, dict) else {}

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def node(self, key: str) -> Node | None:
        """Give a key's value; None when the key is not there or is left empty."""
        entry = self.entries.get(key)
        return None if entry is None or entry.node.value is None else entry.node

    def where(self, key: str) -> Place | None:
        """Give the place of a key's value, or of the mapping when the key is not there."""
        entry = self.entries.get(key)
        return self.place if entry is None else entry.node.place

    def add(self, key: str, message: str) -> None:
        """Note a problem with a key's value; the message follows its dotted path."""
        self.problems.add(self.where(key), f"{joined(self.path, key)} {message}")

    def only(self, known: Collection[str], hints: Mapping[str, str] | None = None) -> None:
        """Note every key that is not among `known`."""
        for key, entry in self.entries.items():
            if key not in known:
                hint = (hints or {}).get(key)
                where = f" in {self.path}" if self.path else ""
                self.problems.add(
                    entry.key_place or self.place,
                    f"unknown key {key!r}{where}" + (f"; {hint}" if hint else did_you_mean(key, known)),
                )

    def require(self, *keys: str) -> bool:
        """Note keys that are missing; say whether none is."""
        missing = [key for key in keys if self.node(key) is None]
        if missing:
            self.problems.add(self.place, f"{self.path} needs {listed(missing)}")
        return not missing

    def text(self, key: str) -> str | None:
        """Give text, or None when there is none."""
        node = self.node(key)
        if node is None:
            return None
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, (dict, list)):
            self.add(key, f"must be text, not {described(node)}")
        else:
            self.add(key, f"must be text; write {str(node.value)!r} in quotes")
        return None

    def flag(self, key: str, default: bool) -> bool:
        """Give a boolean."""
        node = self.node(key)
        if node is None or isinstance(node.value, bool):
            return default if node is None else bool(node.value)
        self.add(key, f"must be true or false, not {described(node)}")
        return default

    def choice(self, key: str, known: Collection[str], default: str) -> str:
        """Give one of the words in `known`."""
        node = self.node(key)
        if node is None:
            return default
        if isinstance(node.value, str) and node.value in known:
            return node.value
        name = node.value if isinstance(node.value, str) else described(node)
        self.add(key, f"cannot be {name!r}{did_you_mean(str(name), known)}")
        return default

    def number(self, key: str, default: float | None = None) -> float | None:
        """Give a finite number."""
        node = self.node(key)
        if node is None:
            return default
        if is_finite(node.value):
            return node.value  # type: ignore[return-value]
        quoted = isinstance(node.value, str) and _looks_like_number(node.value)
        hint = "; take the quotes away" if quoted else ""
        self.add(key, f"must be a number, not {described(node)}{hint}")
        return None

    def whole(self, key: str, *, least: int) -> int | None:
        """Give a whole number of at least `least`; 2.0 counts as one."""
        number = self.number(key)
        if number is None:
            return None
        if number != int(number):
            self.add(key, f"must be a whole number, not {number!r}")
        elif number < least:
            self.add(key, f"must be at least {least}, not {number!r}")
        else:
            return int(number)
        return None


def described(node: Node) -> str:
    """Give a value for a message: a short one as it is, else what kind it is."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    shown = repr(node.value) if isinstance(node.value, str) else str(node.value).lower()
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _looks_like_number(text: str) -> bool:
    try:
        return is_finite(float(text))
    except ValueError:
        return False
