"""Python types as JSON, told from type hints: how it is written, read with every check, and its JSON schema.

Floats may be non-finite ("NaN", "Infinity", "-Infinity"); mappings whose keys are no strings are lists of
pairs. What a hint calls `Any` is JSON as it is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from besom.errors import UsageError

Schema = dict[str, Any]

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


Where = Union[str, "tuple[Where, str]"]
"""A place in a document: a name, or a place and what to add to it. Its text is made only when it is told."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One type: `write` gives JSON, `read(value, where)` the type or UsageError."""

    schema: Schema
    write: Callable[[Any], Any]
    read: Callable[[Any, Where], Any]


def to_text(value: Any) -> bytes:
    """Give JSON as it travels; UsageError for what JSON cannot hold, NaN and the infinities among it."""
    try:
        return _encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"a store keeps JSON, with non-finite numbers as strings ({error}): {ascii(value)[:200]}"
        ) from error


def from_text(text: bytes) -> Any:
    """Read JSON as it travels; UsageError for anything else."""
    try:
        return _decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {str(error)[:200]}") from error


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON's")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_refuse).decode


@cache
def codec_of(hint: Any) -> Codec:
    """Give the codec of a type; TypeError for one that cannot travel."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _choice(arguments)
    if origin in (Union, types.UnionType):
        return _optional(hint, arguments)
    if origin is not None:
        return _container(origin, arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _record(hint)
    raise TypeError(f"{hint} cannot travel")


def _container(origin: Any, arguments: tuple[Any, ...]) -> Codec:
    if origin in (list, tuple, Sequence, Collection):
        return _array(codec_of(arguments[0]), tuple if origin is tuple else list)
    if origin in (dict, Mapping):
        return _JSON_OBJECT if arguments == (str, Any) else _pairs(*map(codec_of, arguments))
    raise TypeError(f"{origin} cannot travel")


def _same(value: Any) -> Any:
    return value


def _told(where: Where) -> str:
    return where if isinstance(where, str) else _told(where[0]) + where[1]


def _wrong(value: Any, where: Where, wanted: str) -> UsageError:
    return UsageError(f"{_told(where)} must be {wanted}, not {ascii(value)[:100]}")


def _scalar(kind: type, name: str) -> Codec:
    def read(value: Any, where: Where) -> Any:
        if type(value) is not kind:
            raise _wrong(value, where, f"a JSON {name}")
        return value

    return Codec({"type": name}, _same, read)


def _write_float(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _read_float(value: Any, where: Where) -> Any:
    if type(value) in (int, float):
        return value
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    raise _wrong(value, where, "a number")


def _read_object(value: Any, where: Where) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, where, "a JSON object")
    return cast("dict[str, Any]", value)


def _choice(words: tuple[Any, ...]) -> Codec:
    def read(value: Any, where: Where) -> Any:
        if not isinstance(value, str) or value not in words:
            raise _wrong(value, where, f"one of {', '.join(words)}")
        return value

    return Codec({"enum": list(words)}, _same, read)


def _enum(kind: type[Enum]) -> Codec:
    words = {member.value: member for member in kind}
    choice = _choice(tuple(words))
    return Codec(
        choice.schema, lambda value: kind(value).value, lambda value, where: words[choice.read(value, where)]
    )


def _optional(hint: Any, arguments: tuple[Any, ...]) -> Codec:
    rest = [argument for argument in arguments if argument is not types.NoneType]
    if len(rest) != 1 or len(arguments) != 2:
        raise TypeError(f"{hint} cannot travel")
    inner = codec_of(rest[0])
    return Codec(
        {"anyOf": [inner.schema, {"type": "null"}]},
        lambda value: None if value is None else inner.write(value),
        lambda value, where: None if value is None else inner.read(value, where),
    )


def _read_array(value: Any, where: Where) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, where, "a JSON array")
    return value  # pyright: ignore[reportUnknownVariableType]


def _array(item: Codec, kind: Callable[[list[Any]], Any]) -> Codec:
    return Codec(
        {"type": "array", "items": item.schema},
        lambda value: [item.write(one) for one in value],
        lambda value, where: kind(
            [item.read(one, (where, f"[{index}]")) for index, one in enumerate(_read_array(value, where))]
        ),
    )


def _pairs(key: Codec, item: Codec) -> Codec:
    def read(value: Any, where: Where) -> Any:
        found: dict[Any, Any] = {}
        for pair in _read_array(value, where):
            if len(_read_array(pair, where)) != 2:
                raise _wrong(pair, where, "pairs")
            found[key.read(pair[0], where)] = item.read(pair[1], where)
        return found

    pair = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"anyOf": [key.schema, item.schema]}}
    return Codec(
        {"type": "array", "items": pair},
        lambda value: [[key.write(one), item.write(other)] for one, other in value.items()],
        read,
    )


def _record(kind: type) -> Codec:
    hints = typing.get_type_hints(kind)
    parts = {field.name: codec_of(hints[field.name]) for field in dataclasses.fields(kind)}
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    readers = {name: part.read for name, part in parts.items()}
    writers = [(name, part.write) for name, part in parts.items()]
    dotted = {name: f".{name}" for name in parts}

    def write(value: Any) -> Any:
        return {name: write(getattr(value, name)) for name, write in writers}

    def read(value: Any, where: Where) -> Any:
        given = _read_object(value, where)
        if unknown := sorted(given.keys() - parts.keys()):
            raise UsageError(f"{_told(where)} has no field {ascii(unknown[0])[:100]}")
        if missing := [name for name in required if name not in given]:
            raise UsageError(f"{_told(where)} needs {missing[0]!r}")
        return kind(**{name: readers[name](one, (where, dotted[name])) for name, one in given.items()})

    schema = {
        "type": "object",
        "properties": {name: part.schema for name, part in parts.items()},
        "required": required,
        "additionalProperties": False,
    }
    return Codec(schema, write, read)


def _read_null(value: Any, where: Where) -> None:
    if value is not None:
        raise _wrong(value, where, "null")


_JSON_OBJECT = Codec({"type": "object"}, _same, _read_object)
_PLAIN: dict[Any, Codec] = {
    Any: Codec({}, _same, lambda value, where: value),
    types.NoneType: Codec({"type": "null"}, _same, _read_null),
    str: _scalar(str, "string"),
    bool: _scalar(bool, "boolean"),
    int: _scalar(int, "integer"),
    float: Codec({"anyOf": [{"type": "number"}, {"enum": list(_WORDS)}]}, _write_float, _read_float),
}
