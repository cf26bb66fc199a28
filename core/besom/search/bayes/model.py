"""From what runs told to how promising a point is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from besom.search.bayes.acquisition import Acquisition
from besom.search.bayes.encoding import Domain
from besom.search.bayes.gp import Hyper, Posterior, Priors, fit, prior_hyper
from besom.search.bayes.kernel import Array
from besom.search.bayes.outputs import TAILS, standardize

PRIORS = Priors()
LABELS = Priors(scale=-1.0, scale_sd=1.0, noise=-3.0, noise_sd=1.0)
FANTASIES = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known: points with their values (lower is better), points of failed runs, points under way."""

    points: Array
    values: Array
    failed: Array
    pending: Array


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hyperparameters of the metric's model and of the labels' one, and how much the metric's bad tail is drawn in."""

    metric: Hyper
    labels: Hyper
    tail: float


def fit_models(domain: Domain, evidence: Evidence) -> Fitted:
    """Find the hyperparameters for the evidence."""
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


def acquisition(domain: Domain, evidence: Evidence, fitted: Fitted, rng: np.random.Generator) -> Acquisition:
    """Give the acquisition, with the runs under way imagined to have ended as the model expects them to."""
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
