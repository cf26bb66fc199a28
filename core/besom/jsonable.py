"""Turns whatever a training script logs or configures into JSON values."""

from __future__ import annotations

import dataclasses
import json
import json.encoder
import logging
import math
import types
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeGuard, cast

logger = logging.getLogger(__name__)

MAX_DEPTH = 50
MAX_DIGITS = 4000  # Python reads no longer numbers back
MAX_ITEMS = 10_000  # of an array; a longer one is described instead

SCALARS = frozenset({str, bool, float, int, type(None)})
"""Types whose values stay what they are, unless they are out of range."""

_told: set[str] = set()


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Say whether a value is a mapping; JSON's have strings as keys."""
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a value is a dict; JSON's have strings as keys."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Say whether a value is a list."""
    return isinstance(value, list)


def json_writer() -> Callable[[Any], str]:
    """Give a function that writes a JSON value in ASCII and without blanks; ValueError for NaN and its like.

    `json.JSONEncoder` makes its encoder in C anew for each value, which for a row of metrics takes longer
    than to write it.
    """
    settings = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return settings.encode
    escape = json.encoder.encode_basestring_ascii
    chunks: Any = make(None, settings.default, escape, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


def jsonable(value: Any, depth: int = 0) -> Any:
    """Give the JSON value for anything: what JSON has no word for becomes a string, and never an error.

    Non-finite floats become "NaN", "Infinity" and "-Infinity"; numpy and torch scalars, and as in W&B arrays
    of one element, what `.item()` gives; other arrays lists; sets, tuples lists; dataclasses and namespaces
    objects; keys strings. Anything else becomes its `repr`, which is warned about once for each type.
    """
    if value is None or isinstance(value, (bool, str)):
        return str.__str__(value) if isinstance(value, str) else value
    if isinstance(value, (int, float)):
        return _number(value)
    if depth > MAX_DEPTH:
        return f"<{type(value).__name__}: nested too deeply>"
    if is_mapping(value):
        return {str(jsonable(key)): jsonable(held, depth + 1) for key, held in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        items: Iterable[Any] = cast("Iterable[Any]", value)
        return [jsonable(held, depth + 1) for held in items]
    return _object(value, depth)


def _number(value: float) -> Any:
    """Give an exact built-in number, or a string for what JSON cannot hold."""
    if isinstance(value, int):
        whole = int(value)
        # 3 bits are less than one digit, so this never asks for the digits of a number that is too long.
        return whole if whole.bit_length() < 3 * MAX_DIGITS else hex(whole)
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, Enum):
        return jsonable(value.value, depth + 1)
    if isinstance(value, (PurePath, date)):
        return str(value) if isinstance(value, PurePath) else value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: jsonable(getattr(value, field.name), depth + 1) for field in fields}
    if isinstance(value, types.SimpleNamespace) or type(value).__name__ == "Namespace":  # of argparse
        return {name: jsonable(held, depth + 1) for name, held in vars(value).items()}
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    return _array(value, depth)


def _array(value: Any, depth: int) -> Any:
    """Give the one value in a numpy or torch array, or the list of several, told by what they can do."""
    try:
        size = int(math.prod(value.shape))
        if size == 1:
            return jsonable(value.item(), depth + 1)
        if 0 <= size <= MAX_ITEMS:
            return jsonable(value.tolist(), depth + 1)
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError):
        return _described(value)
    return f"<{type(value).__name__} of shape {tuple(value.shape)}>"


def _described(value: Any) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if name not in _told:
        _told.add(name)
        logger.warning("values of type %s have no JSON form and are kept as their repr", name)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything, and must not end a training
        return f"<{name}>"
