"""Which parameters a sweep's metric depends on: Sobol indices of a Gaussian process fitted to its runs.

With f the model's mean, A and B independent draws from the space, and A_j equal to A but for parameter j,
which is B's (Jansen 1999, "Analysis of variance designs for model output"):

    total_j = E[(f(A) - f(A_j))^2] / (2 Var f)        main_j = 1 - E[(f(B) - f(A_j))^2] / (2 Var f)

Both are means over models of resampled runs (the bootstrap), with their deviations. A parameter that is not
there at a point changes nothing there.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

from besom.errors import StateError, UsageError
from besom.records import Observation
from besom.search.bayes.gp import Posterior
from besom.search.bayes.kernel import Array
from besom.search.bayes.model import FIT_RUNS, choose, fit_models
from besom.search.bayes.outputs import standardize
from besom.search.bayes.points import Translation
from besom.search.bayes.records import Ledger

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig

LEAST, PER_PARAMETER = 10, 4
"""Fewer runs than this, in all or per parameter, are few."""
DRAWS, RESAMPLES, SEED = 1024, 20, 0
_FLAT = 1e-6  # a variance of the model's mean, for standardized values, that is none


@dataclass(frozen=True, slots=True)
class Share:
    """A parameter's part in the metric's variance: all effects, its own alone, and their deviations."""

    name: str
    total: float
    total_deviation: float
    main: float
    main_deviation: float


@dataclass(frozen=True, slots=True)
class Importance:
    """Parameters, most important first; `fit` is the leave-one-out R² of the model (1: exact, 0: no use).

    `warning` says why not to believe it, or is empty.
    """

    shares: tuple[Share, ...]
    runs: int
    fit: float
    warning: str = ""


def importance(config: SweepConfig, observations: Sequence[Observation]) -> Importance:
    """Give what the runs say; UsageError without a metric, StateError with fewer than 3 runs that have it."""
    if config.metric is None:
        raise UsageError(f"{config.source} has no metric, so nothing is important for it")
    with ThreadpoolController().limit(limits=1):
        return _importance(config, observations)


def _importance(config: SweepConfig, observations: Sequence[Observation]) -> Importance:
    translation = Translation(config.space)
    assert config.metric is not None
    ledger = Ledger(translation, replace(config.metric, limits=(), impute="worst"))  # whatever it keeps
    ledger.update(observations)
    evidence = ledger.evidence(())
    runs, domain = len(evidence.values), translation.domain
    if runs < 3:
        raise StateError(f"{config.source}: {runs} ended runs have the metric; importance needs 3 at least")
    fitted = fit_models(domain, evidence)
    evidence = choose(evidence, FIT_RUNS)
    features = domain.features(evidence.points)
    values = standardize(evidence.values, fitted.tail)[0]
    rng = np.random.default_rng(SEED)
    first, second = domain.draw(rng, DRAWS), domain.draw(rng, DRAWS)
    mixed = [np.where(np.arange(len(domain.axes)) == j, second, first) for j in range(len(domain.axes))]
    rows = domain.features(domain.settle(np.vstack([first, second, *mixed])))
    whole = Posterior(features, values[:, None], domain.layout, fitted.metric)
    found: list[Array] = []
    for _ in range(RESAMPLES if mixed else 0):
        picked = np.unique(rng.integers(len(values), size=len(values)))
        posterior = Posterior(features[picked], values[picked, None], domain.layout, fitted.metric)
        found.append(_indices(posterior.predict(rows)[0][:, 0].reshape(-1, DRAWS)))
    names = [parameter.name for parameter in translation.parameters]
    shares: list[Share] = []
    if found:
        means, deviations = np.mean(found, axis=0), np.std(found, axis=0)
        shares = [
            Share(name, *map(float, (means[0, j], deviations[0, j], means[1, j], deviations[1, j])))
            for j, name in enumerate(names)
        ]
    shares.sort(key=lambda share: (-share.total, share.name))
    quality = _leave_one_out(whole, values)
    return Importance(tuple(shares), runs, quality, _warning(evidence.values, runs, len(names), quality))


def _indices(outputs: Array) -> Array:
    """Give total and main effects, a row each, from the outputs at A, B and every A_j."""
    a, b, mixed = outputs[0], outputs[1], outputs[2:]
    variance = float(np.var(np.concatenate([a, b])))
    if variance < _FLAT:
        return np.zeros((2, len(mixed)))
    total = np.mean((a - mixed) ** 2, axis=1) / (2.0 * variance)
    main = 1.0 - np.mean((b - mixed) ** 2, axis=1) / (2.0 * variance)
    return np.asarray(np.clip(np.stack([total, main]), 0.0, 1.0))


def _leave_one_out(posterior: Posterior, values: Array) -> float:
    """Give R² of predictions of each run from the others (Rasmussen and Williams 2006, 5.12)."""
    spread = float(np.var(values))
    if spread < _FLAT:
        return 0.0
    residual = posterior.alpha[:, 0] / np.square(posterior.inverse_root).sum(0)
    return 1.0 - float(np.mean(residual**2)) / spread


def _warning(values: Array, runs: int, parameters: int, quality: float) -> str:
    wanted = max(LEAST, PER_PARAMETER * parameters)
    if runs < wanted:
        noun = "parameter" if parameters == 1 else "parameters"
        return f"few runs: {runs} for {parameters} {noun}; {wanted} or more would say something"
    if np.ptp(values) == 0.0:
        return "the metric is the same in every run, so that nothing matters for it"
    if quality < 0.2:
        return f"the model explains little of the metric (R² {quality:.2f}): noise, or too few runs"
    return ""
