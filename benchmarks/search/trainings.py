"""Problems that train a small scikit-learn model; left out where scikit-learn is not installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.search.problem import Flat, Problem, exact, log_range


@cache
def _data(name: str) -> Any:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:300]
    x, y = x[rows], y[rows]
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    return train_test_split(x, y, test_size=0.4, random_state=0)


def _svm(c: Flat) -> float:
    from sklearn.svm import SVC

    x, test_x, y, test_y = _data("digits")
    model = SVC(
        C=c["C"],
        gamma=c["gamma"],
        kernel=c["kernel"],
        degree=c.get("degree", 3),
        coef0=c["coef0"],
        max_iter=500,
    ).fit(x, y)
    scores = model.decision_function(test_x)
    scores = scores - scores.max(1, keepdims=True)
    log_chance = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    right = log_chance[np.arange(len(test_y)), test_y]
    return float((model.predict(test_x) != test_y).mean() - 0.02 * right.mean())


def _boosting(c: Flat) -> float:
    from sklearn.ensemble import GradientBoostingRegressor

    x, test_x, y, test_y = _data("diabetes")
    model = GradientBoostingRegressor(
        learning_rate=c["lr"], n_estimators=c["n"], max_depth=c["depth"], subsample=c["sub"],
        min_samples_leaf=c["leaf"], max_features=c["feat"], loss=c["loss"], random_state=0,
    ).fit(x, y)  # fmt: skip
    return float(np.sqrt(((model.predict(test_x) - test_y) ** 2).mean()) / 77)


def _remembered(function: Callable[[Flat], float]) -> Callable[[Flat], float]:
    known: dict[tuple[tuple[str, Any], ...], float] = {}

    def run(c: Flat) -> float:
        key = tuple(sorted(c.items()))
        if key not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                known[key] = function(c)
        return known[key]

    return run


def problems() -> list[Problem]:
    """Give those that are installed."""
    if importlib.util.find_spec("sklearn") is None:
        return []
    svm = {
        "C": log_range(1e-4, 1e4), "gamma": log_range(1e-6, 1e1),
        "kernel": {"values": ["rbf", "poly", "sigmoid"]},
        "degree": {"min": 2, "max": 5, "when": {"kernel": "poly"}}, "coef0": {"min": -1.0, "max": 1.0},
    }  # fmt: skip
    boosting = {
        "lr": log_range(1e-3, 1.0), "n": log_range(4, 32), "depth": {"min": 1, "max": 6},
        "sub": {"min": 0.3, "max": 1.0}, "leaf": log_range(1, 40), "feat": {"min": 0.1, "max": 1.0},
        "loss": {"values": ["squared_error", "absolute_error", "huber"]},
    }  # fmt: skip
    return [
        Problem("real_svm", "training", svm, exact(_remembered(_svm)), held_out=True),
        Problem("real_gbr", "training", boosting, exact(_remembered(_boosting)), held_out=True),
    ]
