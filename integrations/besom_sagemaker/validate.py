"""Says offline, and exactly, what SageMaker would refuse in a CreateTrainingJob request.

botocore checks the types and names of a request, but neither lengths, counts, patterns nor allowed words:
those come back from the service as one error at a time, once a job is submitted. All of them stand in the
service model that botocore brings along.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from besom.errors import UsageError

_SHOWN = 60
_UNICODE_CLASS = re.compile(r"\\p\{")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "list": (list, tuple),
    "map": (dict,),
    "structure": (dict,),
}


class RequestError(UsageError):
    """A request that SageMaker would refuse; `problems` holds each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("SageMaker would refuse this training job:\n  " + "\n  ".join(self.problems))


def check_request(request: Mapping[str, Any]) -> None:
    """Raise RequestError, naming every problem, if CreateTrainingJob would refuse `request`."""
    if problems := problems_of(request):
        raise RequestError(problems)


def problems_of(request: Mapping[str, Any]) -> list[str]:
    """Give what is wrong with a CreateTrainingJob request, each with its place."""
    shapes = _shapes()
    return [*_check(shapes, "CreateTrainingJobRequest", request, ""), *_rules(request)]


@functools.cache
def _shapes() -> Mapping[str, Any]:
    from botocore.loaders import Loader

    loader: Any = Loader()
    shapes: Mapping[str, Any] = loader.load_service_model("sagemaker", "service-2")["shapes"]
    return shapes


def _check(shapes: Mapping[str, Any], name: str, value: Any, path: str) -> Iterator[str]:
    shape = shapes[name]
    kind = shape["type"]
    if not _is_of(value, kind):
        yield f"{path or 'the request'}: must be a {kind}, not {type(value).__name__}"
    elif kind == "structure":
        yield from _structure(shapes, shape, value, path)
    elif kind == "list":
        yield from _count(shape, value, path, "items")
        for index, item in enumerate(value):
            yield from _check(shapes, shape["member"]["shape"], item, f"{path}[{index}]")
    elif kind == "map":
        yield from _count(shape, value, path, "entries")
        for key, item in value.items():
            yield from _check(shapes, shape["key"]["shape"], key, f"{path} key {_short(key)}")
            yield from _check(shapes, shape["value"]["shape"], item, f"{path}[{_short(key)}]")
    elif kind == "string":
        yield from _string(shape, value, path)
    else:
        yield from _range(shape, value, path)


def _is_of(value: Any, kind: str) -> bool:
    allowed = _TYPES.get(kind)
    return allowed is None or (isinstance(value, allowed) and isinstance(value, bool) <= (kind == "boolean"))


def _structure(
    shapes: Mapping[str, Any], shape: Mapping[str, Any], value: Mapping[str, Any], path: str
) -> Iterator[str]:
    dot = f"{path}." if path else ""
    members = shape["members"]
    for key in shape.get("required", ()):
        if key not in value:
            yield f"{dot}{key}: is missing"
    for key, item in value.items():
        if key in members:
            yield from _check(shapes, members[key]["shape"], item, f"{dot}{key}")
        else:
            close = difflib.get_close_matches(str(key), list[str](members), n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(members)}"
            yield f"{dot}{key}: there is no such field{hint}"


def _count(shape: Mapping[str, Any], value: Any, path: str, word: str) -> Iterator[str]:
    if len(value) > shape.get("max", len(value)):
        yield f"{path}: has {len(value)} {word}, at most {shape['max']} are allowed"
    if len(value) < shape.get("min", 0):
        yield f"{path}: has {len(value)} {word}, at least {shape['min']} are needed"


def _string(shape: Mapping[str, Any], value: str, path: str) -> Iterator[str]:
    if len(value) > shape.get("max", len(value)):
        yield f"{path}: is {len(value)} characters long, at most {shape['max']} are allowed"
    elif len(value) < shape.get("min", 0):
        yield f"{path}: is {len(value)} characters long, at least {shape['min']} are needed"
    if "enum" in shape and value not in shape["enum"]:
        close = difflib.get_close_matches(value, list[str](shape["enum"]), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it must be {_choice(shape['enum'])}"
        yield f"{path}: {_short(value)} is not allowed; {hint}"
    elif (pattern := shape.get("pattern")) and not _matches(pattern, value):
        newline = " (a newline is not allowed)" if "\n" in value and pattern == ".*" else ""
        yield f"{path}: {_short(value)} does not match {pattern}{newline}"


def _range(shape: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if "min" in shape and value < shape["min"]:
        yield f"{path}: {value} is less than {shape['min']}"
    if "max" in shape and value > shape["max"]:
        yield f"{path}: {value} is more than {shape['max']}"


def _rules(request: Mapping[str, Any]) -> Iterator[str]:
    """Give what breaks a rule that holds between fields, which no shape can say."""
    stopping = _mapping(request.get("StoppingCondition"))
    resources = _mapping(request.get("ResourceConfig"))
    longest, wait = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if wait is None:
            yield "StoppingCondition.MaxWaitTimeInSeconds: is missing; spot training needs it"
        elif longest is not None and wait < longest:
            yield (
                f"StoppingCondition.MaxWaitTimeInSeconds: {wait} is less than MaxRuntimeInSeconds"
                f" ({longest}); spot training needs at least as much"
            )
        if resources.get("KeepAlivePeriodInSeconds"):
            yield "ResourceConfig.KeepAlivePeriodInSeconds: there are no warm pools with spot training"
        if not request.get("CheckpointConfig"):
            yield "CheckpointConfig: is missing; without it a spot interruption loses all that was trained"
    elif wait is not None:
        yield "StoppingCondition.MaxWaitTimeInSeconds: only spot training takes it"
    channels = [_mapping(channel).get("ChannelName") for channel in _sequence(request.get("InputDataConfig"))]
    for name in sorted({str(name) for name in channels if name is not None and channels.count(name) > 1}):
        yield f"InputDataConfig: two channels are called {name!r}"
    keys = [_mapping(tag).get("Key") for tag in _sequence(request.get("Tags"))]
    for key in sorted({str(key) for key in keys if keys.count(key) > 1}):
        yield f"Tags: the key {key!r} is there twice"
    if resources.get("InstanceType") and resources.get("InstanceGroups"):
        yield "ResourceConfig: InstanceType and InstanceGroups cannot both be there"


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else ()


def _matches(pattern: str, value: str) -> bool:
    # Python's re knows no \p{L}; what uses it (tags, descriptions) is left to the service.
    return bool(_UNICODE_CLASS.search(pattern)) or re.fullmatch(pattern, value) is not None


def _choice(words: Sequence[str]) -> str:
    shown = ", ".join(words[:8])
    return f"one of {shown}" + (f" and {len(words) - 8} more" if len(words) > 8 else "")


def _short(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
