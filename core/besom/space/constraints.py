"""Constraints: expressions over parameters that a point must satisfy.

A small language in Python's syntax, run by walking the tree, never by `eval`: comparisons, `and or not`,
`in`, `+ - * / // % **` on numbers, `min max abs len round`, numbers, strings, lists, and parameters by
their dotted names. A constraint that mentions a parameter which is not active in a point does not apply to
it. A point at which it cannot be computed (a division by zero, a number too large) does not satisfy it.
"""

from __future__ import annotations

import ast
import difflib
import operator
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from besom.errors import UsageError
from besom.space.values import is_number

MAX_LENGTH = 1000
MAX_DEPTH = 50
MAX_BITS = 4096  # of the result of a power

_Value = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A compiled expression and the names of the parameters in it."""

    text: str
    names: frozenset[str]
    compute: _Value

    def allows(self, flat: Mapping[str, Any]) -> bool:
        """Say whether a point (active parameters by dotted name) satisfies the constraint or is beyond it.

        UsageError when it compares what cannot be compared, or its result is neither true nor false.
        """
        if not self.names <= flat.keys():
            return True
        try:
            result = self.compute(flat)
        except (ArithmeticError, RecursionError):
            return False
        except (TypeError, ValueError) as error:
            given = ", ".join(f"{name} = {flat[name]!r}" for name in sorted(self.names))
            raise UsageError(f"constraint {self.text!r} makes no sense for {given}: {error}") from error
        if not isinstance(result, bool):
            raise UsageError(
                f"constraint {self.text!r} gives {result!r}, not true or false; compare it with something"
            )
        return result


def compile_constraint(text: str, known: Collection[str]) -> Constraint:
    """Compile an expression over the parameters in `known`; UsageError for anything else."""
    if len(text) > MAX_LENGTH:
        raise UsageError(f"a constraint has up to {MAX_LENGTH} characters; this one has {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(f"constraint {text!r} is no expression: {reason}") from error
    compiler = _Compiler(text, known)
    compute = compiler.compile(tree)
    if not compiler.names:
        raise UsageError(f"constraint {text!r} mentions no parameter")
    return Constraint(text, frozenset(compiler.names), compute)


class _Compiler:
    """Turns a syntax tree into nested functions, refusing every node it does not know."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self.text = text
        self.known = known
        self.names: set[str] = set()
        self._depth = 0

    def compile(self, node: ast.expr) -> _Value:
        """Give a function from a point to the node's value."""
        if self._depth >= MAX_DEPTH:
            raise UsageError(f"constraint {self.text!r} is nested more than {MAX_DEPTH} deep")
        build = cast("Callable[[_Compiler, ast.expr], _Value] | None", _NODES.get(type(node)))
        if build is None:
            raise self._refusal(ast.unparse(node))
        self._depth += 1
        compute = build(self, node)
        self._depth -= 1
        return compute

    def constant(self, node: ast.Constant) -> _Value:
        value = node.value
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise self._refusal(repr(value))
        return lambda flat: value

    def name(self, node: ast.expr) -> _Value:
        name = _dotted(node)
        if name is None:
            raise self._refusal(ast.unparse(node))
        if name not in self.known:
            close = difflib.get_close_matches(name, self.known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"constraint {self.text!r} mentions {name}, which is no parameter{hint}")
        self.names.add(name)
        return lambda flat: flat[name]

    def sequence(self, node: ast.List | ast.Tuple) -> _Value:
        items = self._all(node.elts)
        return lambda flat: [item(flat) for item in items]

    def junction(self, node: ast.BoolOp) -> _Value:
        parts = self._all(node.values)
        whole = all if isinstance(node.op, ast.And) else any
        return lambda flat: whole(_truth(part(flat)) for part in parts)

    def unary(self, node: ast.UnaryOp) -> _Value:
        operand = self.compile(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda flat: not _truth(operand(flat))
        if isinstance(node.op, ast.USub):
            return lambda flat: -_number(operand(flat))
        if isinstance(node.op, ast.UAdd):
            return lambda flat: _number(operand(flat))
        raise self._refusal("~")

    def binary(self, node: ast.BinOp) -> _Value:
        apply = _ARITHMETIC.get(type(node.op))
        if apply is None:
            raise self._refusal(type(node.op).__name__)
        left, right = self._all([node.left, node.right])
        return lambda flat: apply(_number(left(flat)), _number(right(flat)))

    def comparison(self, node: ast.Compare) -> _Value:
        operands = self._all([node.left, *node.comparators])
        tests = [_COMPARISONS.get(type(op)) for op in node.ops]
        if None in tests:
            raise self._refusal("is")

        def compute(flat: Mapping[str, Any]) -> bool:
            left = operands[0](flat)
            for test, operand in zip(tests, operands[1:], strict=True):
                right = operand(flat)
                if test is None or not test(left, right):
                    return False
                left = right
            return True

        return compute

    def call(self, node: ast.Call) -> _Value:
        function = _FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if function is None or node.keywords or not node.args:
            raise self._refusal(ast.unparse(node))
        arguments = self._all(node.args)
        return lambda flat: function(*(argument(flat) for argument in arguments))

    def _all(self, nodes: Sequence[ast.expr]) -> list[_Value]:
        return [self.compile(node) for node in nodes]

    def _refusal(self, what: str) -> UsageError:
        return UsageError(
            f"constraint {self.text!r} has {what}, which constraints do not know;"
            " there are comparisons, and/or/not, in, + - * / // % **, min, max, abs, len, round"
        )


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def _number(value: Any) -> Any:
    if not is_number(value):
        raise TypeError(f"{value!r} is not a number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _power(base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise OverflowError("the power is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise ZeroDivisionError("a root of a negative number")
    return result


def _absolute(value: Any) -> Any:
    return abs(_number(value))


def _round(value: Any, digits: Any = None) -> Any:
    _number(value)
    if digits is None:
        return round(value)
    if not isinstance(digits, int) or abs(digits) > 308:
        raise TypeError("round takes a small whole number of digits")
    return round(value, digits)


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) is isinstance(right, bool)


def _order(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if not (is_number(left) and is_number(right)) and not (
            isinstance(left, str) and isinstance(right, str)
        ):
            raise TypeError(f"{left!r} and {right!r} have no order")
        return bool(test(left, right))

    return compare


def _contains(item: Any, container: Any) -> bool:
    if isinstance(container, str):
        if not isinstance(item, str):
            raise TypeError(f"{item!r} is not text")
        return item in container
    return any(_same(item, held) for held in container)


def _extreme(choose: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    def apply(*arguments: Any) -> Any:
        alone = len(arguments) == 1 and isinstance(arguments[0], (list, tuple))
        items = cast("Sequence[Any]", arguments[0] if alone else arguments)
        return choose([_number(item) for item in items])

    return apply


_NODES: dict[type[ast.expr], Any] = {
    ast.Constant: _Compiler.constant,
    ast.Name: _Compiler.name,
    ast.Attribute: _Compiler.name,
    ast.List: _Compiler.sequence,
    ast.Tuple: _Compiler.sequence,
    ast.BoolOp: _Compiler.junction,
    ast.UnaryOp: _Compiler.unary,
    ast.BinOp: _Compiler.binary,
    ast.Compare: _Compiler.comparison,
    ast.Call: _Compiler.call,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: _same,
    ast.NotEq: lambda left, right: not _same(left, right),
    ast.Lt: _order(operator.lt),
    ast.LtE: _order(operator.le),
    ast.Gt: _order(operator.gt),
    ast.GtE: _order(operator.ge),
    ast.In: _contains,
    ast.NotIn: lambda item, container: not _contains(item, container),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": _extreme(min),
    "max": _extreme(max),
    "abs": _absolute,
    "len": len,
    "round": _round,
}
