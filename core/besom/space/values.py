"""When two values are the same value, and the key of a point.

One rule for everything: JSON values are equal when their canonical text is. A number without a fraction has
one text however it was written (1, 1.0, 1e0), `true` is not 1, and the order of a mapping's keys does not
matter.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast


def canonical_text(value: Any) -> str:
    """Give the text that is equal exactly for equal JSON values; ValueError for NaN and infinities."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(flat: Mapping[str, Any]) -> str:
    """Give the key of a point: 32 hex digits over its active parameters by dotted name."""
    return hashlib.blake2b(canonical_text(flat).encode(), digest_size=16).hexdigest()


def is_number(value: Any) -> bool:
    """Say whether a value is a number; booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Say whether a value is a number that a float can hold the magnitude of."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def clamp(value: float, low: float, high: float) -> float:
    """Give the number from `low` to `high` that is nearest to `value`."""
    return min(max(value, low), high)


def short(value: Any) -> str:
    """Give a value for a person to read, in up to 40 characters."""
    text = f"{value:g}" if isinstance(value, float) else shown(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def shown(value: Any) -> str:
    """Give a value for a person to read, whole: its canonical text with letters of every alphabet."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return value
