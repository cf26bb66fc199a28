"""From what runs told to how promising a point is."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from besom.search.bayes.acquisition import CAUTION, Acquisition, Trust
from besom.search.bayes.encoding import Domain
from besom.search.bayes.gp import Hyper, Posterior, Priors, fit, prior_hyper
from besom.search.bayes.kernel import Array
from besom.search.bayes.outputs import TAILS, standardize

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIORS = Priors()
LABELS = Priors(scale=-1.0, scale_sd=1.0, noise=-3.0, noise_sd=1.0)
FIT_RUNS, MODEL_RUNS = 150, 300
"""So many runs the hyperparameters are searched with, and the model is made of."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known: points with their values (lower is better), points of failed runs, points under way.

    `margins`, where there are limits, has a column per bound: how far inside of it each value's run was.
    """

    points: Array
    values: Array
    failed: Array
    pending: Array
    margins: Array | None = None

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Which runs have kept all limits."""
        if self.margins is None:
            return np.ones(len(self.values), dtype=bool)
        return np.asarray((self.margins >= 0.0).all(1))

    @property
    def merit(self) -> Array:
        """The values, and for runs that kept not all limits what is worse, the more they left them."""
        if self.margins is None or not len(self.values):
            return self.values
        return np.where(self.feasible, self.values, self.values.max() + self._excess)

    @property
    def aimed(self) -> Evidence:
        """This, but as long as no run has kept all limits, with how far they were left as the values."""
        if self.margins is None or self.feasible.any():
            return self
        return replace(self, values=self._excess, margins=None)

    @property
    def _excess(self) -> Array:
        assert self.margins is not None
        return np.asarray(-drawn_in(self.margins).clip(max=0.0).sum(1))


def choose(evidence: Evidence, most: int) -> Evidence:
    """Give at most `most` runs of each kind: half are the best, the others a fixed random part of the rest.

    Cost grows with the cube of the number. A run keeps its random rank as others come, so the choice changes
    slowly.
    """
    if len(evidence.values) <= most and len(evidence.failed) <= most:
        return evidence
    order = np.argsort(evidence.merit, kind="stable")
    rest = order[most // 2 :]
    luck = np.random.default_rng(0).random(len(order))
    kept = np.sort(np.concatenate([order[: most // 2], rest[np.argsort(luck[rest])][: most - most // 2]]))
    luck = np.random.default_rng(1).random(len(evidence.failed))
    failed = np.sort(np.argsort(luck)[:most])
    return replace(
        evidence,
        points=evidence.points[kept],
        values=evidence.values[kept],
        failed=evidence.failed[failed],
        margins=None if evidence.margins is None else evidence.margins[kept],
    )


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hyperparameters of all models, of the margins' one per bound, and how far the bad tail is drawn in."""

    metric: Hyper
    labels: Hyper
    tail: float
    margins: tuple[Hyper, ...] = ()


def fit_models(domain: Domain, evidence: Evidence) -> Fitted:
    """Find the hyperparameters for the evidence."""
    evidence = choose(evidence, FIT_RUNS).aimed
    layout = domain.layout
    features = domain.features(evidence.points)
    best = None
    for tail in TAILS:
        values, cost = standardize(evidence.values, tail)
        hyper, density = fit(features, values, layout, PRIORS)
        if best is None or density + cost < best[0] - 1e-6:
            best = density + cost, hyper, tail
    assert best is not None
    labels = prior_hyper(layout, LABELS)
    if len(evidence.failed):
        features, signs = _labels(domain, evidence)
        labels, _ = fit(features, signs - signs.mean(), layout, LABELS)
    features = domain.features(evidence.points)
    margins = tuple(fit(features, column - column.mean(), layout, PRIORS)[0] for column in _columns(evidence))
    return Fitted(best[1], labels, best[2], margins)


def doubted(fitted: Fitted) -> Fitted:
    """Give the model with half the length scales: less certain of what is far from every run.

    Hyperparameters are one guess from few runs. One that takes an axis for unimportant never looks there
    again; a doubt now and then costs little and finds it out.
    """
    metric = fitted.metric.metric
    closer = replace(metric, scale=metric.scale - math.log(2.0))
    return replace(fitted, metric=replace(fitted.metric, metric=closer))


def acquisition(domain: Domain, evidence: Evidence, fitted: Fitted) -> Acquisition:
    """Give the acquisition, with the runs under way believed to end at what the model expects of them.

    A believed value leaves the model's mean as it is and takes away the deviation around it (Ginsbourger, Le
    Riche, Carraro 2010, "Kriging is well-suited to parallelize optimization"). It counts as free of
    noise: with it, running almost the same point at the same time can look like the best that can be done.
    """
    evidence = choose(evidence, MODEL_RUNS).aimed
    layout = domain.layout
    features, values = domain.features(evidence.points), standardize(evidence.values, fitted.tail)[0]
    posterior = Posterior(features, values, layout, fitted.metric)
    best = posterior.predict(features)[0][evidence.feasible].min()
    if len(evidence.pending):
        ahead = domain.features(evidence.pending)
        believed, _ = posterior.predict(ahead)
        both = np.concatenate([values, believed])
        posterior = Posterior(np.vstack([features, ahead]), both, layout, fitted.metric, believed=len(ahead))
        if evidence.margins is None:  # else they may not keep the limits
            best = min(best, believed.min())
    trusts: list[Trust] = []
    if len(evidence.failed):
        labeled, signs = _labels(domain, evidence)
        trust = Posterior(labeled, signs - signs.mean(), layout, fitted.labels)
        trusts.append(Trust(trust, float(signs.mean()), CAUTION))
    for column, hyper in zip(_columns(evidence), fitted.margins, strict=True):
        trust = Posterior(features, column - column.mean(), layout, hyper)
        trusts.append(Trust(trust, float(column.mean())))
    return Acquisition(posterior, float(best), tuple(trusts))


def drawn_in(margins: Array) -> Array:
    """Give margins on a scale where far is not much farther than near, and their signs stay."""
    typical = np.median(np.abs(margins), axis=0)
    return np.asarray(np.arcsinh(margins / np.where(typical > 0.0, typical, 1.0)))


def _columns(evidence: Evidence) -> list[Array]:
    return [] if evidence.margins is None else list(drawn_in(evidence.margins).T)


def _labels(domain: Domain, evidence: Evidence) -> tuple[Array, Array]:
    features = domain.features(np.vstack([evidence.points, evidence.failed]))
    return features, np.concatenate([np.ones(len(evidence.points)), -np.ones(len(evidence.failed))])
