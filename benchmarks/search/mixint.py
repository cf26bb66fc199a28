"""COCO's mixed-integer functions (bbob-mixint), of the package coco-experiment; left out where it is missing.

Every second one of the 24 functions, in 5 and in 10 dimensions in turn: a fifth of the axes each have 2, 4, 8
and 16 whole values, the last fifth are real. Every seed plays another instance, whose optimum lies elsewhere.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.problem import Flat, Problem, exact, vector

_FUNCTIONS = {function: (5, 10)[index % 2] for index, function in enumerate(range(1, 25, 2))}
_OPTIMUM = "._bbob_problem_best_parameter.txt"


@cache
def _instance(function: int, axes: int, seed: int) -> Any:
    import cocoex  # type: ignore[import-not-found, import-untyped, unused-ignore]

    suite = cocoex.Suite("bbob-mixint", f"instances: {seed + 1}", f"dimensions: {axes}")
    return suite.get_problem_by_function_dimension_instance(function, axes, seed + 1)


def _loss(c: Flat, *, function: int, axes: int, seed: int) -> float:
    return float(_instance(function, axes, seed)(vector(c, axes)))


def _optimum(*, function: int, axes: int, seed: int) -> float:
    """Evaluate the optimum; the package tells where it is by a file in the working directory."""
    problem = _instance(function, axes, seed)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            problem._best_parameter("print")  # noqa: SLF001 - there is no other way
            return float(problem(np.loadtxt(_OPTIMUM)))
        finally:
            os.chdir(before)


def _of(seed: int, *, function: int, axes: int) -> Problem:
    problem = _instance(function, axes, seed)
    whole = problem.number_of_integer_variables
    ends = zip(problem.lower_bounds.tolist(), problem.upper_bounds.tolist(), strict=True)
    parameters = {
        f"x{index}": {"min": int(low), "max": int(high)} if index < whole else {"min": low, "max": high}
        for index, (low, high) in enumerate(ends)
    }
    which: dict[str, Any] = {"function": function, "axes": axes, "seed": seed}
    return Problem(
        f"mixint_f{function}d{axes}",
        "mixed",
        parameters,
        exact(partial(_loss, **which)),
        partial(_optimum, **which),
        held_out=True,
        instance=partial(_of, function=function, axes=axes),
    )


def problems() -> list[Problem]:
    """Give those that are installed."""
    if importlib.util.find_spec("cocoex") is None:
        return []
    return [_of(0, function=function, axes=axes) for function, axes in _FUNCTIONS.items()]
