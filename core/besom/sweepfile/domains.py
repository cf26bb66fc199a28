"""Turns what stands under a parameter's name into a Distribution.

W&B's rules: the keys tell the distribution when `distribution` does not. `value` is a constant, `values` a
choice (with `probabilities`, a weighted one), `min` and `max` are whole numbers when both are, else any
number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from besom.space import Beta, Choice, Distribution, Lattice, LogNormal, LogUniform, Normal, Rounded, Uniform
from besom.space.values import is_number
from besom.sweepfile.fields import Fields
from besom.sweepfile.tree import did_you_mean

MAX_STEPS = 2**53
"""How many values a quantized distribution may have: what a float can tell apart."""

_Q = 1.0  # W&B's default, a float: values are floats unless the file gives an integer


@dataclass(frozen=True)
class Shape:
    """A distribution's keys and what builds it; `build` notes problems and gives None."""

    keys: tuple[str, ...]
    build: Callable[[Fields], Distribution | None]
    required: tuple[str, ...] = ()


def read_distribution(fields: Fields, own: frozenset[str]) -> Distribution | None:
    """Give the distribution that a parameter's keys describe; notes what is wrong and gives None.

    `own` are keys of a parameter that do not belong to its distribution.
    """
    name = _named(fields) if "distribution" in fields else _inferred(fields, own)
    if name is None:
        return None
    shape = SHAPES[name]
    fields.only({"distribution", *shape.keys, *own})
    empty = [key for key in shape.required if key not in fields]
    if empty:
        fields.require(*empty)
        return None
    before = len(fields.problems.found)
    distribution = shape.build(fields)
    return distribution if len(fields.problems.found) == before else None


def _named(fields: Fields) -> str | None:
    name = fields.text("distribution")
    if name in SHAPES:
        return name
    if name is not None:
        fields.add("distribution", f"cannot be {name!r}{did_you_mean(name, SHAPES) or _ALL}")
    elif fields.node("distribution") is None:
        fields.add("distribution", "is empty")
    return None


def _inferred(fields: Fields, own: frozenset[str]) -> str | None:
    if "value" in fields:
        return "constant"
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    if "q" in fields or not ("min" in fields or "max" in fields):
        guess = next((hint for keys, hint in _HINTS if keys & fields.entries.keys()), None)
        if guess is not None or not _misspelt(fields, own):
            needs = guess or "value, values, min and max, or distribution"
            fields.problems.add(fields.place, f"{fields.path} needs {needs}")
        return None
    low, high = fields.node("min"), fields.node("max")
    if low is None or high is None:
        if not _misspelt(fields, own):
            fields.require("min", "max")
        return None
    whole = all(isinstance(node.value, int) and not isinstance(node.value, bool) for node in (low, high))
    return "int_uniform" if whole else "uniform"


def _misspelt(fields: Fields, own: frozenset[str]) -> bool:
    """Note keys that no distribution has, and say whether there are any."""
    before = len(fields.problems.found)
    fields.only(_KEYS | own)
    return len(fields.problems.found) > before


# ---- builders


def _constant(fields: Fields) -> Distribution:
    entry = fields.entries["value"]
    return Choice.of([entry.node.plain()])


def _categorical(fields: Fields) -> Distribution | None:
    node = fields.node("values")
    if node is None or not isinstance(node.value, list):
        fields.add("values", "must be a list, such as [1, 2, 3]")
        return None
    if not node.value:
        fields.add("values", "is empty; give at least one value")
        return None
    weights = _weights(fields, len(node.value)) if "probabilities" in fields else None
    return Choice.of([item.plain() for item in node.value], weights)


def _weights(fields: Fields, count: int) -> list[float] | None:
    node = fields.node("probabilities")
    items = node.value if node is not None else None
    if not isinstance(items, list):
        fields.add("probabilities", "must be a list of numbers")
        return None
    weights: list[float] = []
    for item in items:
        if not is_number(item.value) or item.value < 0:  # type: ignore[operator]
            fields.problems.add(
                item.place, f"{fields.path}.probabilities has {item.plain()!r}, which is no probability"
            )
            return None
        weights.append(float(item.value))  # type: ignore[arg-type]
    if len(weights) != count:
        fields.add("probabilities", f"has {len(weights)} numbers for {count} values")
    elif not math.isclose(math.fsum(weights), 1.0, rel_tol=1e-6):
        fields.add("probabilities", f"add up to {math.fsum(weights):g}, not to 1")
    else:
        return weights
    return None


def _bounds(fields: Fields) -> tuple[float, float] | None:
    low, high = fields.number("min"), fields.number("max")
    if low is None or high is None:
        return None
    if low > high:
        fields.add("min", f"({low!r}) is above max ({high!r})")
    elif low == high:
        fields.add("min", f"and max are both {low!r}; write value: {low!r} for a constant")
    else:
        return low, high
    return None


def _positive_bounds(fields: Fields) -> tuple[float, float] | None:
    bounds = _bounds(fields)
    if bounds is not None and bounds[0] <= 0:
        fields.add("min", f"({bounds[0]!r}) must be above 0, because values are spaced by their logarithm")
        return None
    return bounds


def _exponents(sign: int) -> Callable[[Fields], tuple[float, float] | None]:
    def read(fields: Fields) -> tuple[float, float] | None:
        bounds = _bounds(fields)
        if bounds is None:
            return None
        try:
            low, high = sorted(math.exp(sign * bound) for bound in bounds)
        except OverflowError:
            low = high = math.inf
        if not 0 < low < high < math.inf:
            fields.add(
                "min", f"and max are exponents of e; {bounds[0]!r} to {bounds[1]!r} is beyond floating point"
            )
            return None
        return low, high

    return read


def _int_uniform(fields: Fields) -> Distribution | None:
    for key in ("min", "max"):
        number = fields.number(key)
        if number is not None and not isinstance(number, int):
            fields.add(key, f"({number!r}) must be an integer for int_uniform")
    bounds = _bounds(fields)
    return Lattice(bounds[0], 1, int(bounds[1] - bounds[0] + 1)) if bounds else None


def _uniform(fields: Fields) -> Distribution | None:
    bounds = _bounds(fields)
    return Uniform(float(bounds[0]), float(bounds[1])) if bounds else None


def _q_uniform(fields: Fields) -> Distribution | None:
    bounds, step = _bounds(fields), _step(fields)
    if bounds is None or step is None:
        return None
    low, high, width = (Decimal(repr(number)) for number in (*bounds, step))
    with localcontext() as context:
        context.prec = 700  # the widest two floats can be apart, so that the last value is counted exactly
        count = int((high - low) // width) + 1
    if count > MAX_STEPS:
        fields.add("q", f"({step!r}) is too small: it makes more than {MAX_STEPS} values")
        return None
    start = bounds[0] if isinstance(step, int) else float(bounds[0])
    return Lattice(start, step, count)


def _log(
    bounds_of: Callable[[Fields], tuple[float, float] | None],
) -> Callable[[Fields], LogUniform | None]:
    def build(fields: Fields) -> LogUniform | None:
        bounds = bounds_of(fields)
        return LogUniform(float(bounds[0]), float(bounds[1])) if bounds else None

    return build


def _gaussian(fields: Fields, *, log: bool) -> Normal | LogNormal | Choice | None:
    mu, sigma = fields.number("mu", 0.0), fields.number("sigma", 1.0)
    if mu is None or sigma is None:
        return None
    if sigma < 0:
        fields.add("sigma", f"({sigma!r}) must not be below 0")
        return None
    reach = abs(mu) + 10 * sigma
    if reach > (700 if log else 1e300):
        fields.add("sigma" if "sigma" in fields else "mu", "reaches values beyond floating point")
        return None
    if sigma == 0:
        return Choice((math.exp(mu) if log else float(mu),))
    return LogNormal(float(mu), float(sigma)) if log else Normal(float(mu), float(sigma))


def _normal(fields: Fields) -> Normal | LogNormal | Choice | None:
    return _gaussian(fields, log=False)


def _log_normal(fields: Fields) -> Normal | LogNormal | Choice | None:
    return _gaussian(fields, log=True)


def _beta(fields: Fields) -> Beta | None:
    a, b = fields.number("a", 1.0), fields.number("b", 1.0)
    for key, shape in (("a", a), ("b", b)):
        if shape is not None and not 1e-3 <= shape <= 1e6:
            fields.add(key, f"({shape!r}) must be from 0.001 to 1000000")
            return None
    return Beta(float(a), float(b)) if a is not None and b is not None else None


def _rounded(
    base_of: Callable[[Fields], Uniform | LogUniform | Normal | LogNormal | Beta | Choice | None],
) -> Callable[[Fields], Distribution | None]:
    def build(fields: Fields) -> Distribution | None:
        base, step = base_of(fields), _step(fields)
        if base is None or step is None:
            return None
        point = base.values[0] if isinstance(base, Choice) else None
        largest = max(abs(point if point is not None else base.ppf(u)) for u in (0.0, 1.0))
        if largest / step > MAX_STEPS:
            fields.add("q", f"({step!r}) is too small: it makes more than {MAX_STEPS} values")
            return None
        if isinstance(base, Choice):
            nearest = round(base.values[0] / step)
            return Choice(
                (nearest * step if isinstance(step, int) else float(nearest * Decimal(repr(step))),)
            )
        rounded = Rounded(base, step)
        if rounded.size == 0:
            fields.add("q", f"({step!r}) has no multiple between min and max")
            return None
        return rounded

    return build


def _step(fields: Fields) -> float | None:
    step = fields.number("q", _Q)
    if step is not None and step <= 0:
        fields.add("q", f"({step!r}) must be above 0")
        return None
    return step


_MIN_MAX = ("min", "max")
_GAUSS = ("mu", "sigma")

SHAPES: Mapping[str, Shape] = {
    "constant": Shape(("value",), _constant, ("value",)),
    "categorical": Shape(("values", "probabilities"), _categorical, ("values",)),
    "categorical_w_probabilities": Shape(
        ("values", "probabilities"), _categorical, ("values", "probabilities")
    ),
    "int_uniform": Shape(_MIN_MAX, _int_uniform, _MIN_MAX),
    "uniform": Shape(_MIN_MAX, _uniform, _MIN_MAX),
    "q_uniform": Shape((*_MIN_MAX, "q"), _q_uniform, _MIN_MAX),
    "log_uniform_values": Shape(_MIN_MAX, _log(_positive_bounds), _MIN_MAX),
    "q_log_uniform_values": Shape((*_MIN_MAX, "q"), _rounded(_log(_positive_bounds)), _MIN_MAX),
    "inv_log_uniform_values": Shape(_MIN_MAX, _log(_positive_bounds), _MIN_MAX),
    "log_uniform": Shape(_MIN_MAX, _log(_exponents(1)), _MIN_MAX),
    "q_log_uniform": Shape((*_MIN_MAX, "q"), _rounded(_log(_exponents(1))), _MIN_MAX),
    "inv_log_uniform": Shape(_MIN_MAX, _log(_exponents(-1)), _MIN_MAX),
    "normal": Shape(_GAUSS, _normal),
    "q_normal": Shape((*_GAUSS, "q"), _rounded(_normal)),
    "log_normal": Shape(_GAUSS, _log_normal),
    "q_log_normal": Shape((*_GAUSS, "q"), _rounded(_log_normal)),
    "beta": Shape(("a", "b"), _beta),
    "q_beta": Shape(("a", "b", "q"), _rounded(_beta)),
}
"""W&B's distributions by name."""

DEPRECATED = {"log_uniform", "q_log_uniform", "inv_log_uniform"}
"""Distributions whose min and max are exponents of e; W&B advises against them."""

_KEYS = {"distribution", *(key for shape in SHAPES.values() for key in shape.keys)}
_ALL = f"; known: {', '.join(SHAPES)}"
_HINTS = (
    ({"mu", "sigma"}, "distribution: normal (or log_normal, q_normal, q_log_normal)"),
    ({"a", "b"}, "distribution: beta (or q_beta)"),
    ({"q"}, "distribution: q_uniform (or q_log_uniform_values, q_normal, q_log_normal, q_beta)"),
    ({"probabilities"}, "values beside probabilities"),
)


def plain_keys() -> frozenset[str]:
    """Give every key that some distribution has."""
    return frozenset(_KEYS)


def warning(fields: Fields) -> str | None:
    """Give the advice on a deprecated distribution."""
    node: Any = fields.node("distribution")
    if node is None or node.value not in DEPRECATED:
        return None
    advice = f"{node.value}_values takes the bounds themselves"
    return f"{fields.path} uses {node.value}, whose min and max are exponents of e; {advice}"
