"""Takes secrets out of text by their values: logs, failure reasons, rows of a store.

Whole by itself: it imports the standard library only, so that the program that runs inside a training job
carries this file as it is.

    redactor = Redactor(values)
    redactor.text("key is hunter22")           # 'key is ***'
    stream = redactor.stream()
    out.write(stream.feed(chunk))              # bytes, in chunks of any size
    out.write(stream.close())                  # what was held back

Cut text *after* it was redacted: half a secret is no longer recognized, but for one that ends in an ellipsis,
as besom's own shortened messages do.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

SHORTEST = 4
"""Characters below which a value is left alone: it would take ordinary words out of the text."""

SHORTEST_CODED = 8
"""Characters that a line, or an encoded form, of a value needs to be looked for by itself."""

ELLIPSIS = "…"
_ELLIPSES = (ELLIPSIS.encode(), b"\\u2026")

_LOOK = 4  # bytes of a pattern that are searched for before the rest is compared


class Redactor:
    """Knows secrets by value; finds them plain, escaped, percent-encoded, in hex and in base64."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = tuple(dict.fromkeys(value for value in values if value))
        # The longest comes first: where several begin at one place, the longest is what is taken out.
        forms = sorted({form for value in self.values for form in _forms(value)}, key=_longest_first)
        self.patterns = tuple(sorted({_encode(form) for form in forms}, key=_longest_first))
        self.mark = _mark_beside(self.patterns)
        self.search = re.compile(b"|".join(map(re.escape, self.patterns))) if forms else None
        self._forms = forms
        self._search_text = re.compile("|".join(map(re.escape, forms))) if forms else None

    def __repr__(self) -> str:
        return f"<Redactor of {len(self.values)} secrets>"

    @property
    def too_short(self) -> bool:
        """Say whether there is a value too short to be taken out of text."""
        return any(len(value.strip()) < SHORTEST for value in self.values)

    def adding(self, values: Iterable[str]) -> Redactor:
        """Give a redactor that knows these values too."""
        return Redactor((*self.values, *values))

    def data(self, data: bytes) -> bytes:
        """Give the bytes without the secrets."""
        return data if self.search is None else self.search.sub(lambda found: self.mark, data)

    def text(self, text: str) -> str:
        """Give the text without the secrets, and without one that breaks off before an ellipsis."""
        if self._search_text is None:
            return text
        mark = self.mark.decode("latin-1")
        clean = self._search_text.sub(lambda found: mark, text)
        if ELLIPSIS not in clean:
            return clean
        *parts, last = clean.split(ELLIPSIS)
        return ELLIPSIS.join([*(self._without_beginning(part, mark) for part in parts), last])

    def _without_beginning(self, text: str, mark: str) -> str:
        """Give the text without the first characters of a secret at its end."""
        at = min((_broken_off(text, form) for form in self._forms), default=len(text))
        return text if at == len(text) else text[:at] + mark

    def tail(self, text: str, length: int) -> str:
        """Give the end of the text without the secrets, at most `length` characters of it."""
        clean = self.text(text)
        return clean if len(clean) <= length else "..." + clean[len(clean) - max(length - 3, 0) :]

    def value(self, value: Any) -> Any:
        """Give a JSON value whose strings, keys among them, hold no secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        return value

    def stream(self) -> RedactedStream:
        """Give a filter for one stream of bytes."""
        return RedactedStream(self)

    def occurs_in(self, data: bytes) -> bool:
        """Say whether a secret may be there, in any of its forms or broken off before an ellipsis."""
        if self.search is None:
            return False
        return self.search.search(data) is not None or any(mark in data for mark in _ELLIPSES)


class RedactedStream:
    """Takes secrets out of bytes that come in chunks; how they are cut makes no difference.

    Bytes that may be the beginning of a secret are held back until it is known whether they are.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; gives those that may be shown now."""
        search = self._redactor.search
        if search is None:
            return chunk
        data, place, shown = self._held + chunk, 0, list[bytes]()
        while True:
            pending = self._pending(data, place)
            found = search.search(data, place)
            if found is None or found.start() >= pending:
                break
            shown += (data[place : found.start()], self._redactor.mark)
            place = found.end()
        shown.append(data[place:pending])
        self._held = data[pending:]
        return b"".join(shown)

    def close(self) -> bytes:
        """Give what was held back; the stream has ended."""
        held, self._held = self._held, b""
        return self._redactor.data(held)

    def _pending(self, data: bytes, place: int) -> int:
        """Give the first place from which the bytes to come may complete a secret."""
        first = len(data)
        for pattern in self._redactor.patterns:
            start = max(place, len(data) - len(pattern) + 1)
            if start < first:
                first = min(first, next(_beginnings(data, pattern, start), first))
        return first


def _beginnings(data: bytes, pattern: bytes, start: int) -> Iterator[int]:
    """Give the places at or after `start` from which the data's end is the beginning of the pattern."""
    look = pattern[:_LOOK]
    at = data.find(look, start)
    while at >= 0:
        if pattern.startswith(data[at:]):
            yield at
        at = data.find(look, at + 1)
    for at in range(max(start, len(data) - len(look) + 1), len(data)):
        if pattern.startswith(data[at:]):
            yield at


def _broken_off(text: str, form: str) -> int:
    """Give where the end of the text begins that is the beginning of a secret; the text's length if none."""
    for length in range(min(len(form) - 1, len(text)), SHORTEST - 1, -1):
        if text.endswith(form[:length]):
            return len(text) - length
    return len(text)


def _encode(text: str) -> bytes:
    """Give the bytes of a text from the system; those that were no UTF-8 are what they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _longest_first(form: Any) -> Any:
    return -len(form), form


def _mark_beside(patterns: Iterable[bytes]) -> bytes:
    """Give a mark that shares no byte with the patterns: it can then never complete one."""
    used = set(b"".join(patterns))
    # 0xff is in no UTF-8; it is for secrets that use up every character there is.
    return next(bytes([byte]) * 3 for byte in (*b"*#~?!", *range(33, 127), 255) if byte not in used)


def _forms(value: str) -> Iterator[str]:
    """Give what a value may look like in text."""
    for plain in _plain_forms(value.strip()):
        if len(plain) < SHORTEST:
            continue
        yield plain
        yield from (json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1])
        yield plain.replace("\n", "\r\n")
        raw = _encode(plain)
        for coded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
            yield coded
            yield re.sub("%..", lambda found: found[0].lower(), coded)
        if len(plain) >= SHORTEST_CODED:
            yield from (raw.hex(), raw.hex().upper(), *_base64_forms(raw))


def _plain_forms(value: str) -> Iterator[str]:
    """Give the value, its lines, the strings of a JSON document, and the password of an address."""
    yield value
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if _tells(line.strip()))
    yield from _json_strings(value)
    if "://" in value and (password := _password_of(value)):
        yield from (password, unquote(password))


def _tells(line: str) -> bool:
    """Say whether a line by itself gives something away; the first line of a key file does not."""
    return len(line) >= SHORTEST_CODED and not re.fullmatch(r"-+[\w ]*-*|[^\w]*", line)


def _json_strings(value: str) -> Iterator[str]:
    if value[:1] not in ("{", "["):
        return
    try:
        waiting: list[Any] = [json.loads(value)]
    except (ValueError, RecursionError):
        return
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item.strip()
        elif isinstance(item, dict):
            waiting += item.values()  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(item, list):
            waiting += item  # pyright: ignore[reportUnknownArgumentType]


def _password_of(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Give the characters that stand for the bytes wherever in a base64 text they begin."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        sure = coded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]  # whole characters of ours
        yield from (sure, sure.replace("+", "-").replace("/", "_"))
