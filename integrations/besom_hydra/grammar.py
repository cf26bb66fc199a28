"""Reads a multirun's command line: which overrides stay as they are, and which are axes of a search space.

    lr=tag(log,interval(1e-5,1e-1))     log_uniform_values from 1e-5 to 0.1
    lr=tag(q0.05,interval(0,1))         multiples of 0.05 below 1
    layers=int(interval(1,8))           whole numbers, 1 <= layers < 8: Hydra's intervals leave the end out
    width=range(16,129,16)              16, 32, ... 128, as Hydra lists them
    model=choice(small,large)  model=small,large  model=glob(*)  db@src=choice(a,b)  +tags=[a],[a,b]

Everything is Hydra's: its parser reads the line, its ranges list their values, its loader knows the groups.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import CompactHydraException, HydraException

from besom.errors import UsageError
from besom.jsonable import is_dict, is_list
from besom.space.values import canonical_text
from besom_hydra.arguments import overrides as write_overrides
from besom_hydra.arguments import write_value

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

MAX_LISTED = 100_000
"""Values of one axis that are listed; ascending whole numbers need no list."""

_STEP = re.compile(r"q[=:]?(?P<step>[0-9.]+(?:e[+-]?[0-9]+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Axis:
    """An override that is swept: its domain in a sweep file's words, and Hydra's own text for its values."""

    domain: Mapping[str, Any]
    texts: Mapping[str, str] = field(default_factory=dict[str, str])  # by canonical text of the value
    signature: Any = None  # equal for equal overrides, whatever order a shuffle gave
    listed: bool = True  # False for an interval, which only a method can draw from
    group: bool = False  # whether the key is a config group


@dataclass(frozen=True)
class CommandLine:
    """What a multirun's overrides say, in their order."""

    fixed: Mapping[str, str]  # key -> the whole override, passed to every job
    axes: Mapping[str, Axis]
    keys: tuple[str, ...]  # of both, in the order of the command line

    def line(self, flat: Mapping[str, Any]) -> list[str]:
        """Give a point's overrides, fixed ones among them, as Hydra's own sweeper would write them.

        `flat` has the point's values by dotted name; those that this command line does not know come last.
        """
        lines: list[str] = []
        for key in self.keys:
            if key in self.fixed:
                lines.append(self.fixed[key])
            elif key in flat:
                lines += self.write(key, flat[key])
        for key in flat.keys() - set(self.keys):
            lines += self.write(key, flat[key])
        return lines

    def write(self, key: str, value: Any) -> list[str]:
        """Give the overrides that set a key to a value; mostly one."""
        axis = self.axes.get(key)
        text = axis.texts.get(canonical_text(value)) if axis is not None else None
        return [f"{key}={text}"] if text is not None else write_overrides(key, value, prefix="")


def read_overrides(
    lines: Sequence[str], config_loader: ConfigLoader | None, *, listed: bool = True
) -> CommandLine:
    """Read the overrides of a multirun; a key that comes twice counts as it stands last.

    `listed` says that the points will be walked in order: then a range keeps the order that Hydra lists it
    in. HydraException, as from Hydra's own sweeper, for what cannot be read or swept.
    """
    fixed: dict[str, str] = {}
    axes: dict[str, Axis] = {}
    keys: dict[str, None] = {}
    for override in OverridesParser.create(config_loader=config_loader).parse_overrides(list(lines)):
        key = override.get_key_element()
        keys[key] = None
        fixed.pop(key, None)
        axes.pop(key, None)
        if override.is_sweep_override():
            axes[key] = _axis(override, config_loader, listed)
        else:
            fixed[key] = _fixed(override)
    return CommandLine(fixed, axes, tuple(keys))


def fixed_line(line: str) -> tuple[str, str]:
    """Give the key of an override that sweeps nothing, and the override as it is passed on."""
    override = OverridesParser.create().parse_override(line)
    return override.get_key_element(), _fixed(override)


def _fixed(override: Override) -> str:
    key = override.get_key_element()
    if override.value_type is None:  # a deletion without a value
        return key
    return f"{key}={override.get_value_element_as_str()}"


def _axis(override: Override, config_loader: ConfigLoader | None, listed: bool) -> Axis:
    swept: Any = override._value  # noqa: SLF001 - `value()` gives the same
    try:
        if isinstance(swept, IntervalSweep):
            return _interval(swept)
        if isinstance(swept, RangeSweep):
            return _range(swept, override, listed)
        return _choice(override, config_loader)
    except UsageError as error:
        raise CompactHydraException(f"{override.input_line}: {error}") from error


# ---- choices


def _choice(override: Override, config_loader: ConfigLoader | None) -> Axis:
    elements: list[Any] = list(override.sweep_iterator(transformer=Transformer.identity))
    group = config_loader is not None and bool(config_loader.get_group_options(override.key_or_group))
    if not elements:
        raise CompactHydraException(
            f"{override.input_line} matches no option of {override.key_or_group!r}"
            + ("" if group else ", which is no config group")
        )
    values: list[Any] = []
    texts: dict[str, str] = {}
    for element in elements:
        value = _json(element)
        text = canonical_text(value)
        if text in texts:
            continue  # a point is run once; Hydra's own sweeper would run it again
        values.append(value)
        texts[text] = _text(override.get_key_element(), element, value)
    swept: Any = override._value  # noqa: SLF001
    unordered: list[Any] = elements
    if not isinstance(swept, (list, Glob)):
        unordered = swept.list
    signature = ["choice", [canonical_text(_json(element)) for element in unordered]]
    return Axis({"values": values}, texts, signature, group=group)


def _json(element: Any) -> Any:
    """Give an element of Hydra's grammar as a JSON value; infinities and NaN as OmegaConf decodes them."""
    if isinstance(element, QuotedString):
        return element.text
    if isinstance(element, float) and not math.isfinite(element):
        return f"${{oc.decode:{element!r}}}"
    if is_list(element):
        return [_json(item) for item in element]
    if is_dict(element):
        return {_json_key(key): _json(item) for key, item in element.items()}
    return element


def _json_key(key: Any) -> str:
    key = key.text if isinstance(key, QuotedString) else key
    if not isinstance(key, str):
        raise UsageError(f"the keys of a mapping that is swept must be text, not {key!r}")
    return key


def _text(key: str, element: Any, value: Any) -> str:
    """Give Hydra's own text for a value where its parser reads the same value from it, else an exact one."""
    text = Transformer.str(element)
    if _reads_as(f"{key}={text}", element):
        return text
    return write_value(value)


def _reads_as(line: str, element: Any) -> bool:
    try:
        read = OverridesParser.create().parse_override(line)
    except HydraException:
        return False
    if read.is_sweep_override():
        return False
    found: Any = read.value()
    wanted: Any = Override._convert_value(element)  # noqa: SLF001
    return repr(found) == repr(wanted)  # types count too, and nan is nan


# ---- numbers


def _range(swept: RangeSweep, override: Override, listed: bool) -> Axis:
    start, stop, step = swept.start, swept.stop, swept.step
    assert start is not None
    assert stop is not None
    tags = _tags(swept)
    signature = ["range", repr(start), repr(stop), repr(step), tags, swept.shuffle]
    whole = all(isinstance(number, int) for number in (start, stop, step))
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        raise UsageError("a range needs finite numbers and a step other than 0")
    count = max(0, math.ceil((Decimal(repr(stop)) - Decimal(repr(start))) / Decimal(repr(step))))
    if count == 0:
        raise UsageError("the range is empty")
    if "log" in tags or not listed or (whole and step > 0 and not swept.shuffle):
        return Axis(_lattice(start, step, count, whole=whole, log="log" in tags), {}, signature)
    if count > MAX_LISTED:
        raise UsageError(f"the range has {count} values; {MAX_LISTED} is the most that can be listed")
    values = list(islice(override.sweep_iterator(), MAX_LISTED))
    return Axis({"values": values}, {}, signature)


def _lattice(start: float, step: float, count: int, *, whole: bool, log: bool) -> dict[str, Any]:
    """Give `count` numbers from `start` on, a step apart, from the lowest up."""
    ends = [start, _exactly(start, step, count - 1, whole=whole)]
    low, high = min(ends), max(ends)
    step = abs(step)
    if count == 1:
        return {"value": low}
    if not log:
        return {"distribution": "q_uniform", "min": low, "max": high, "q": step}
    if low <= 0:
        raise UsageError("tag(log, ...) needs values above 0")
    if Decimal(repr(low)) % Decimal(repr(step)) != 0:
        raise UsageError(
            f"tag(log, range(...)) must start at a multiple of its step, {step:g};"
            " or use tag(log, interval(...))"
        )
    return {"distribution": "q_log_uniform_values", "min": low, "max": high, "q": step}


def _exactly(start: float, step: float, times: int, *, whole: bool) -> float:
    if whole:
        return start + step * times
    return float(Decimal(repr(start)) + times * Decimal(repr(step)))


def _interval(swept: IntervalSweep) -> Axis:
    start, end = swept.start, swept.end
    assert start is not None
    assert end is not None
    tags = _tags(swept)
    signature = ["interval", repr(start), repr(end), tags]
    if not (math.isfinite(start) and math.isfinite(end)) or start >= end:
        raise UsageError("an interval goes from a number to a larger one")
    return Axis(_between(start, end, tags), {}, signature, listed=False)


def _between(start: float, end: float, tags: Sequence[str]) -> dict[str, Any]:
    step: float | None = None
    for tag in tags:
        if found := _STEP.fullmatch(tag):
            step = int(found["step"]) if found["step"].isdecimal() else float(found["step"])
        elif tag != "log":
            raise UsageError(
                f"tag {tag!r} says nothing about an interval; known: log, and q0.5 for multiples of 0.5."
                " Other distributions can be had from a file: hydra.sweeper.spec=sweep.yaml"
            )
    whole = isinstance(start, int) and isinstance(end, int)
    if step is None and whole:
        step = 1
    if step is not None and step <= 0:
        raise UsageError("the step of a q tag must be above 0")
    log = "log" in tags
    if log and start <= 0:
        raise UsageError("tag(log, ...) needs values above 0")
    if step is None:
        return {"distribution": "log_uniform_values" if log else "uniform", "min": start, "max": end}
    count = math.ceil((Decimal(repr(end)) - Decimal(repr(start))) / Decimal(repr(step)))
    return _lattice(start, step, count, whole=whole and isinstance(step, int), log=log)


def _tags(swept: Sweep) -> list[str]:
    return sorted(swept.tags)
