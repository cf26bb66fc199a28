"""Reads YAML 1.2 text into a tree with places.

PyYAML parses (its safe loader, in C where it is there), but speaks YAML 1.1, where `1e-5` is text and `on`
is true. So only its events are used: here scalars get the types of YAML 1.2's core schema, keys stay the
text that was written, and aliases and merge keys (`<<`) share what they stand for, so that what they expand
to is counted before it exists.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from besom.errors import SweepFileError
from besom.sweepfile.tree import MAX_DEPTH, MAX_NODES, Entry, Node, Place, Problems, Value, problem_at

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 2**20
MAX_DIGITS = 400

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE = "tag:yaml.org,2002:"


def read_text(data: bytes | str, problems: Problems) -> str:
    """Give the text of a file: UTF-8, at most a MiB; SweepFileError otherwise."""
    if len(data) > MAX_BYTES:
        message = f"the file is too long; a sweep file has at most {MAX_BYTES} bytes"
        raise SweepFileError([problem_at(problems.source, Place(1, 1), message)])
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_of(data[: error.start].decode("utf-8", "replace"))
        raise SweepFileError([problem_at(problems.source, place, "the file is not UTF-8 text")]) from error


def read_tree(text: str, problems: Problems) -> Node:
    """Give the document in `text`; SweepFileError, with all that was found so far, where it breaks off."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(problems).compose(_events(loader(text)))
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else _place_of(text)
        tab = _character_at(text, place) == "\t"
        message = f"not YAML: {'a tab, not spaces' if tab else error.problem or error.context}"
    except yaml.reader.ReaderError as error:
        place = _place_of(text[: error.position])
        message = f"not YAML: {error.reason}"
    raise SweepFileError([*problems.found, problem_at(problems.source, place, message)])


def parse_value(text: str) -> Any:
    """Give the JSON value of `text` in a sweep file (1e-3 is a number); text that is no YAML is itself."""
    problems = Problems("value")
    try:
        node = read_tree(text, problems)
    except SweepFileError:
        return text
    return text if problems.found or not text.strip() else node.plain()


def _events(loader: Any) -> Iterator[Any]:
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _place_of(before: str) -> Place:
    """Give the place after the text `before`."""
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _character_at(text: str, place: Place) -> str:
    line = "".join(text.split("\n")[place.line - 1 : place.line])
    return line[place.column - 1 : place.column]


@dataclass
class _Open:
    """A mapping or list whose end has not come yet."""

    place: Place
    anchor: str | None
    items: list[Node] | None = None  # of a list
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    merged: list[Node] = field(default_factory=list[Node])
    key: tuple[str, Place] | None = None
    merging: bool = False


class _Composer:
    """Builds one tree from a stream of events, stopping at the first sign that it would get too large."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is still open
        self.open: list[_Open] = []
        self.root: Node | None = None
        self.count = 0

    def compose(self, events: Iterator[Any]) -> Node:
        handlers = {
            "AliasEvent": self._alias,
            "ScalarEvent": self._scalar,
            "SequenceStartEvent": self._start,
            "MappingStartEvent": self._start,
            "DocumentStartEvent": self._document,
        }
        for event in events:
            kind = type(event).__name__
            handler = handlers.get(kind)
            if handler is None:
                if kind in {"SequenceEndEvent", "MappingEndEvent"}:
                    self._end()
            else:
                handler(event, Place(event.start_mark.line + 1, event.start_mark.column + 1))
        return self.root or Node(None, Place(1, 1))

    def _document(self, _event: Any, place: Place) -> None:
        if self.root is not None:
            raise self._stop(place, "a second document begins here; a sweep file has one")

    def _alias(self, event: Any, place: Place) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self.anchors
            message = (
                f"*{event.anchor} is used inside itself" if inside else f"no &{event.anchor} stands before"
            )
            raise self._stop(place, message)
        if self._expects_key():
            if not isinstance(node.value, str):
                raise self._stop(place, "a key must be text")
            self._take_key(node.value, place)
            return
        self._spend(node.weight, place)
        aliased = Node.__new__(Node)
        aliased.value, aliased.place, aliased.weight, aliased.depth = (
            node.value,
            place,
            node.weight,
            node.depth,
        )
        self._add(aliased, place)

    def _scalar(self, event: Any, place: Place) -> None:
        self._spend(1, place)
        if self._expects_key():
            self._take_key(event.value, place, plain=event.style is None or event.style == "")
            if event.anchor:
                self.anchors[event.anchor] = Node(event.value, place)
            return
        node = Node(self._typed(event, place), place)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._add(node, place)

    def _start(self, event: Any, place: Place) -> None:
        if self._expects_key():
            raise self._stop(place, "a key must be text, not a list or mapping")
        self._spend(1, place)
        is_list = type(event).__name__ == "SequenceStartEvent"
        if event.tag not in (None, "!", f"{_CORE}{'seq' if is_list else 'map'}"):
            self.problems.add(place, f"the tag {event.tag} means nothing in a sweep file")
        if event.anchor:
            self.anchors[event.anchor] = None
        self.open.append(_Open(place, event.anchor, [] if is_list else None))
        if len(self.open) > MAX_DEPTH:
            raise self._stop(place, f"nested more than {MAX_DEPTH} deep")

    def _end(self) -> None:
        done = self.open.pop()
        value: Value = done.items
        if value is None:
            for node in done.merged:
                assert isinstance(node.value, dict)
                self._spend(len(node.value), done.place)
                for key, entry in node.value.items():
                    done.entries.setdefault(key, entry)
            value = done.entries
        node = Node(value, done.place)
        if done.anchor:
            self.anchors[done.anchor] = node
        self._add(node, done.place)

    def _expects_key(self) -> bool:
        return bool(self.open) and self.open[-1].items is None and self.open[-1].key is None

    def _take_key(self, text: str, place: Place, *, plain: bool = False) -> None:
        top = self.open[-1]
        top.key = (text, place)
        top.merging = plain and text == "<<"
        if text in top.entries and not top.merging:
            self.problems.add(place, f"{text!r} is here a second time")

    def _add(self, node: Node, place: Place) -> None:
        if len(self.open) + node.depth > MAX_DEPTH + 1:
            raise self._stop(place, f"nested more than {MAX_DEPTH} deep")
        if not self.open:
            self.root = node
        else:
            self._insert(self.open[-1], node, place)

    def _spend(self, weight: int, place: Place) -> None:
        self.count += weight
        if self.count > MAX_NODES:
            raise self._stop(place, f"more than {MAX_NODES} values, once aliases are expanded")

    def _insert(self, top: _Open, node: Node, place: Place) -> None:
        if top.items is not None:
            top.items.append(node)
            return
        assert top.key is not None
        key, key_place = top.key
        top.key = None
        if top.merging:
            sources = node.value if isinstance(node.value, list) else [node]
            if not all(isinstance(source.value, dict) for source in sources):
                raise self._stop(place, "<< takes a mapping, or a list of them")
            top.merged += sources
        else:
            top.entries.setdefault(key, Entry(node, key_place))

    def _typed(self, event: Any, place: Place) -> Value:
        tag, text = event.tag, event.value
        if tag in (None, "!", f"{_CORE}str"):
            plain = tag is None and event.implicit[0]
            return self._resolved(text, place) if plain else text
        kind = tag.removeprefix(_CORE)
        value = self._resolved(text, place)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if {"null": "NoneType"}.get(kind, kind) != type(value).__name__:
            self.problems.add(
                place,
                f"the tag {tag} does not fit {text[:40]!r}"
                if _CORE in tag
                else f"the tag {tag} means nothing in a sweep file",
            )
        return value

    def _resolved(self, text: str, place: Place) -> Value:
        """Give a plain scalar the type that YAML 1.2's core schema gives it."""
        if len(text) > MAX_DIGITS:
            if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
                self.problems.add(place, f"a number of {len(text)} characters is too long")
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _SPECIAL.fullmatch(text):
            self.problems.add(place, f"{text} is not a finite number")
            return text
        return self._number(text, place)

    def _number(self, text: str, place: Place) -> Value:
        number: int | float
        if _INT.fullmatch(text):
            number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        elif _FLOAT.fullmatch(text):
            number = float(text)
        else:
            return text
        try:
            finite = math.isfinite(float(number))
        except OverflowError:
            finite = False
        if not finite:
            self.problems.add(place, f"{text[:40]} is too large a number")
        return number if finite else text

    def _stop(self, place: Place, message: str) -> SweepFileError:
        return SweepFileError([*self.problems.found, problem_at(self.problems.source, place, message)])
