"""From what runs told to how promising a point is."""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from besom.search.bayes.acquisition import Acquisition
from besom.search.bayes.encoding import Domain
from besom.search.bayes.gp import Hyper, Posterior, Priors, fit, prior_hyper
from besom.search.bayes.kernel import Array
from besom.search.bayes.outputs import TAILS, standardize

PRIORS = Priors()
LABELS = Priors(scale=-1.0, scale_sd=1.0, noise=-3.0, noise_sd=1.0)
FANTASIES = 8
FIT_RUNS, MODEL_RUNS = 150, 300
"""So many runs the hyperparameters are searched with, and the model is made of."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known: points with their values (lower is better), points of failed runs, points under way."""

    points: Array
    values: Array
    failed: Array
    pending: Array


def choose(evidence: Evidence, most: int) -> Evidence:
    """Give at most `most` runs of each kind: half are the best, the others a fixed random part of the rest.

    Cost grows with the cube of the number. A run keeps its random rank as others come, so the choice changes
    slowly.
    """
    if len(evidence.values) <= most and len(evidence.failed) <= most:
        return evidence
    order = np.argsort(evidence.values, kind="stable")
    rest = order[most // 2 :]
    luck = np.random.default_rng(0).random(len(order))
    kept = np.sort(np.concatenate([order[: most // 2], rest[np.argsort(luck[rest])][: most - most // 2]]))
    luck = np.random.default_rng(1).random(len(evidence.failed))
    failed = np.sort(np.argsort(luck)[:most])
    return replace(
        evidence, points=evidence.points[kept], values=evidence.values[kept], failed=evidence.failed[failed]
    )


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hyperparameters of the metric's and of the labels' model, and how far the bad tail is drawn in."""

    metric: Hyper
    labels: Hyper
    tail: float


def fit_models(domain: Domain, evidence: Evidence) -> Fitted:
    """Find the hyperparameters for the evidence."""
    evidence = choose(evidence, FIT_RUNS)
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
    return Fitted(best[1], labels, best[2])


def doubted(fitted: Fitted) -> Fitted:
    """Give the model with half the length scales: less certain of what is far from every run.

    Hyperparameters are one guess from few runs. One that takes an axis for unimportant never looks there
    again; a doubt now and then costs little and finds it out.
    """
    metric = fitted.metric.metric
    closer = replace(metric, scale=metric.scale - math.log(2.0))
    return replace(fitted, metric=replace(fitted.metric, metric=closer))


def acquisition(domain: Domain, evidence: Evidence, fitted: Fitted, rng: np.random.Generator) -> Acquisition:
    """Give the acquisition, with the runs under way imagined to have ended as the model expects them to."""
    evidence = choose(evidence, MODEL_RUNS)
    layout = domain.layout
    features, values = domain.features(evidence.points), standardize(evidence.values, fitted.tail)[0]
    posterior = Posterior(features, values[:, None], layout, fitted.metric)
    mean, _ = posterior.predict(features)
    best = mean.min(0)
    if len(evidence.pending):
        ahead = domain.features(evidence.pending)
        mean, covariance = posterior.joint(ahead)
        root = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(covariance)))
        fantasies = mean + root @ rng.normal(size=(len(ahead), FANTASIES))
        both = np.vstack([np.repeat(values[:, None], FANTASIES, axis=1), fantasies])
        posterior = Posterior(np.vstack([features, ahead]), both, layout, fitted.metric)
        best = np.minimum(best, fantasies.min(0))
    if not len(evidence.failed):
        return Acquisition(posterior, best)
    features, signs = _labels(domain, evidence)
    trust = Posterior(features, (signs - signs.mean())[:, None], layout, fitted.labels)
    return Acquisition(posterior, best, trust, float(signs.mean()))


def _labels(domain: Domain, evidence: Evidence) -> tuple[Array, Array]:
    features = domain.features(np.vstack([evidence.points, evidence.failed]))
    return features, np.concatenate([np.ones(len(evidence.points)), -np.ones(len(evidence.failed))])
