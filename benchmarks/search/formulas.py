"""Problems with a formula: test functions of the field and closed forms that behave as training losses do."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import numpy as np

from benchmarks.search.problem import (
    Flat,
    Outcome,
    Problem,
    RunFailedHere,
    box,
    exact,
    log_range,
    noisy,
    vector,
)

Vector = np.ndarray[Any, np.dtype[np.float64]]

_HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_HARTMANN_WEIGHTS = np.array([1, 1.2, 3, 3.2])
HARTMANN_OPTIMUM = -3.32237


def hartmann(x: Vector) -> float:
    """Hartmann's function of six variables: a few local optima of different depth."""
    return -float(_HARTMANN_WEIGHTS @ np.exp(-(_HARTMANN_A * (x - _HARTMANN_P) ** 2).sum(1)))


def branin(x: Vector) -> float:
    """Branin's function: three global optima."""
    a, b = x
    trend = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return float(trend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


def ackley(z: Vector) -> float:
    """Ackley's function: a narrow hole in a bumpy plain."""
    return float(
        -20 * np.exp(-0.2 * np.sqrt((z * z).mean())) - np.exp(np.cos(2 * np.pi * z).mean()) + 20 + np.e
    )


def levy(x: Vector) -> float:
    """Lévy's function: a bumpy bowl."""
    w = 1 + (x - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + inner.sum() + last)


def rosenbrock(x: Vector) -> float:
    """Rosenbrock's function: a bent valley."""
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def rastrigin(z: Vector) -> float:
    """Rastrigin's function: a bowl full of equal bumps."""
    return float(10 * len(z) + (z * z - 10 * np.cos(2 * np.pi * z)).sum())


def rotation(size: int, seed: int) -> Vector:
    """Give a random rotation."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0])


def _continuous() -> list[Problem]:
    shift = np.random.default_rng(10).uniform(-6, 6, 10)
    five, four = rotation(5, 5), rotation(4, 4)
    offset = np.array([1.7, -2.2, 0.9, -3.1])
    h6, best6 = box(6, 0, 1), HARTMANN_OPTIMUM
    plane = {"x0": {"min": -5.0, "max": 10.0}, "x1": {"min": 0.0, "max": 15.0}}
    active = [1, 4, 8, 11, 15, 18]
    return [
        Problem("hartmann6", "continuous", h6, exact(lambda c: hartmann(vector(c, 6))), best6),
        Problem(
            "ackley10", "continuous", box(10, -10, 10), exact(lambda c: ackley(vector(c, 10) - shift)), 0.0
        ),
        Problem(
            "levyrot5",
            "continuous",
            box(5, -10, 10),
            exact(lambda c: levy(five @ (vector(c, 5) - 2.3) + 1)),
            0.0,
        ),
        Problem(
            "branin2", "continuous", plane, exact(lambda c: branin(vector(c, 2))), 0.397887, held_out=True
        ),
        Problem(
            "rosen8",
            "continuous",
            box(8, -3, 3),
            exact(lambda c: math.log1p(rosenbrock(vector(c, 8)))),
            0.0,
            held_out=True,
        ),
        Problem(
            "rastrot4",
            "continuous",
            box(4, -5, 5),
            exact(lambda c: rastrigin(four @ (vector(c, 4) - offset))),
            0.0,
            held_out=True,
        ),
        Problem(
            "hart6in20",
            "wide",
            box(20, 0, 1),
            exact(lambda c: hartmann(vector(c, 20)[active])),
            HARTMANN_OPTIMUM,
            held_out=True,
        ),
        Problem(
            "hartmann6n",
            "noisy",
            box(6, 0, 1),
            noisy(lambda c: hartmann(vector(c, 6)), lambda _: 0.25),
            HARTMANN_OPTIMUM,
        ),
        Problem(
            "braninhet",
            "noisy",
            plane,
            noisy(lambda c: branin(vector(c, 2)), lambda y: 1 + 0.15 * y),
            0.397887,
            held_out=True,
        ),
    ]


def training_loss(c: Flat) -> float:
    """A loss with the valleys that learning rate, batch size and decay make together."""
    rate, decay, batch = math.log10(c["lr"]), math.log10(c["wd"]), math.log2(c["batch"])
    off = rate - (-3.2 + 0.15 * (batch - 6) - 2 * (c["mom"] - 0.9))
    loss = 0.08 + 0.09 * (off * off if off < 0 else 2.2 * off * off) + 0.012 * (decay + 4.5 + 0.5 * off) ** 2
    loss += 0.15 * (c["drop"] - 0.22) ** 2 + 0.006 * (batch - 6.3) ** 2 + 0.3 * (c["mom"] - 0.87) ** 2
    return float(min(loss + 0.05 * math.exp(0.2 * ((c["warm"] - 600) / 900) ** 2), 2.3))


def _integers() -> list[Problem]:
    target = np.random.default_rng(77).integers(4, 28, 8)
    turn = rotation(8, 8) * np.linspace(0.4, 2, 8)[:, None]

    def quadratic(c: Flat) -> float:
        w = turn @ ((np.array([c[f"n{index}"] for index in range(8)]) - target) / 8)
        return float(w @ w)

    network = {
        "lr": log_range(1e-6, 1.0), "wd": log_range(1e-8, 1e-1), "batch": log_range(8, 1024),
        "drop": {"min": 0.0, "max": 0.8}, "mom": {"min": 0.5, "max": 0.999}, "warm": {"min": 0, "max": 2000},
    }  # fmt: skip
    return [
        Problem("nnloss6", "log", network, exact(training_loss)),
        Problem(
            "intquad8",
            "integer",
            {f"n{index}": {"min": 1, "max": 32} for index in range(8)},
            exact(quadratic),
            0.0,
        ),
    ]


def _categorical() -> list[Problem]:
    rng = np.random.default_rng(3)
    near = [np.r_[i, rng.choice([j for j in range(6) if j != i], 1, replace=False)] for i in range(6)]
    tables = [rng.uniform(size=(5, 5)) for _ in range(6)]

    def landscape(levels: tuple[int, ...]) -> float:
        chosen = np.array(levels)
        return float(
            np.mean([table[tuple(chosen[around])] for table, around in zip(tables, near, strict=True)])
        )

    @cache
    def optimum() -> float:
        return min(map(landscape, itertools.product(range(5), repeat=6)))

    space = {f"c{index}": {"values": list("abcde")} for index in range(6)}
    function = exact(lambda c: landscape(tuple("abcde".index(c[f"c{index}"]) for index in range(6))))
    return [Problem("nkcat6", "categorical", space, function, optimum)]


def _mixed() -> list[Problem]:
    rng = np.random.default_rng(21)
    table = rng.normal(size=(4, 3))
    table -= table.min()
    shifts = np.random.default_rng(22).uniform(-1.5, 1.5, (4, 4))
    center = np.random.default_rng(11).uniform(-0.6, 0.6, 8)[:3]
    activations, norms = ["relu", "gelu", "tanh", "silu"], ["none", "bn", "ln"]

    def by_activation(c: Flat) -> float:
        which = activations.index(c["act"])
        z = np.array([c["x0"], c["x1"], math.log10(c["l0"]) + 2, (c["k"] - 6) / 3]) - shifts[which]
        start = 0.6 * table[which, norms.index(c["norm"])]
        return float(start + 0.35 * (z @ z) + 0.15 * (1 - np.cos(3 * z)).sum())

    def switches(c: Flat) -> float:
        on = np.array([c[f"b{index}"] == "on" for index in range(3)], dtype=float) - [1, 0, 1]
        whole = (np.array([c["i0"], c["i1"]]) - [7, 3]) / 5
        return ackley(2 * np.r_[on, whole, vector(c, 3) - center])

    toggles = {f"b{index}": {"values": ["off", "on"]} for index in range(3)}
    whole = {"i0": {"min": 0, "max": 10}, "i1": {"min": 0, "max": 10}}
    layers = {
        "act": {"values": activations}, "norm": {"values": norms}, **box(2, -3, 3),
        "l0": log_range(1e-5, 1e1), "k": {"min": 1, "max": 12},
    }  # fmt: skip
    return [
        Problem("mixtab6", "mixed", layers, exact(by_activation)),
        Problem(
            "mixackley8", "mixed", {**toggles, **whole, **box(3, -1, 1)}, exact(switches), 0.0, held_out=True
        ),
    ]


def optimizer_loss(c: Flat) -> float:
    """A loss whose optimizers each bring parameters of their own."""
    rate = math.log10(c["lr"])
    if c["opt"] == "sgd":
        loss = 0.30 + 0.10 * (rate + 1.3) ** 2 + 1.2 * (c["momentum"] - 0.93) ** 2
    elif c["opt"] == "adam":
        epsilon = math.log10(c["eps"])
        loss = 0.20 + 0.12 * (rate + 3.1) ** 2 + 0.8 * (c["beta1"] - 0.86) ** 2 + 0.02 * (epsilon + 7) ** 2
    else:
        loss = 0.26 + 0.10 * (rate + 2.4) ** 2 + 0.9 * (c["rho"] - 0.95) ** 2
    return float(loss + 0.05 * (math.log10(c["wd"]) + 4) ** 2)


def depth_loss(c: Flat) -> float:
    """A loss of a network whose depth decides how many widths there are."""
    depth = c["depth"]
    widths = np.array([math.log2(c[f"u{index}"]) for index in range(depth)])
    loss = 0.2 * abs(depth - 3) + 0.06 * ((widths - 8 + 0.9 * np.arange(depth)) ** 2).sum()
    loss += 0.1 * (math.log10(c["lr"]) + 3 + 0.2 * depth) ** 2
    return float(loss + 0.02 * ((np.diff(widths) + 0.9) ** 2).sum())


def _conditional() -> list[Problem]:
    optimizers: dict[str, Any] = {
        "opt": {"values": ["sgd", "adam", "rmsprop"]}, "lr": log_range(1e-6, 1.0),
        "wd": log_range(1e-7, 1e-1),
        "momentum": {"min": 0.0, "max": 0.999, "when": {"opt": "sgd"}},
        "beta1": {"min": 0.5, "max": 0.999, "when": {"opt": "adam"}},
        "eps": {**log_range(1e-10, 1e-4), "when": {"opt": "adam"}},
        "rho": {"min": 0.5, "max": 0.999, "when": {"opt": "rmsprop"}},
    }  # fmt: skip
    widths: dict[str, Any] = {
        f"u{index}": {**log_range(4, 1024), "when": {"depth": list(range(index + 1, 5))}}
        for index in range(1, 4)
    }
    layers = {
        "depth": {"values": [1, 2, 3, 4]},
        "lr": log_range(1e-6, 1.0),
        "u0": log_range(4, 1024),
        **widths,
    }
    return [
        Problem("condopt", "conditional", optimizers, exact(optimizer_loss), 0.2),
        Problem("conddepth", "conditional", layers, exact(depth_loss), 0.0),
    ]


def _crashing_hartmann(c: Flat, rng: np.random.Generator) -> Outcome:
    x = vector(c, 6)
    if np.linalg.norm(x[:3] - [0.55, 0.55, 0.2]) < 0.33 or x[5] < 0.18:
        raise RunFailedHere
    return hartmann(x), hartmann(x)


def _out_of_memory(c: Flat, rng: np.random.Generator) -> Outcome:
    if c["batch"] * c["width"] ** 1.3 * c["layers"] > 4e6:
        raise RunFailedHere
    rate = math.log10(c["lr"])
    loss = 3.2 - 0.16 * math.log(c["width"]) - 0.22 * math.log(c["layers"]) - 0.05 * math.log(c["batch"])
    loss += 0.08 * (rate + 2.6 + 0.25 * math.log10(c["width"] / 64)) ** 2 + (
        0.05 if c["amp"] == "no" else 0.0
    )
    return loss, loss


def _failing() -> list[Problem]:
    memory = {
        "batch": log_range(8, 512), "width": log_range(32, 4096), "layers": {"min": 1, "max": 24},
        "lr": log_range(1e-6, 1e-1), "amp": {"values": ["no", "yes"]},
    }  # fmt: skip
    return [
        Problem("hartfail6", "failing", box(6, 0, 1), _crashing_hartmann, HARTMANN_OPTIMUM),
        Problem("oom5", "failing", memory, _out_of_memory),
    ]


def problems() -> list[Problem]:
    """Give them all."""
    groups = (_continuous, _integers, _categorical, _mixed, _conditional, _failing)
    return [problem for group in groups for problem in group()]
