"""A Gaussian process: hyperparameters by maximum a posteriori with analytic gradients, and the posterior.

Priors, all on logarithms (so that the mode does not depend on the parametrization):

    length scale   normal around log(sqrt(d)) + const: distances grow with sqrt(d), so must the scales
                   (Hvarfner, Hellsten, Nardi 2024, "Vanilla Bayesian optimization performs great in high
                   dimensions")
    noise          normal, small unless the data say otherwise
    signal         normal around 1, for standardized values
    warp           normal around 0: no warp

The likelihood's gradient by every parameter goes through one matrix, dF/dr^2, and from there to the scaled
features.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack as scipy_lapack
from scipy.optimize import minimize

from besom.search.bayes.kernel import (
    Array,
    Layout,
    Metric,
    matern,
    matern_with_slope,
    scale_features,
    squared_distances,
)

lapack: Any = scipy_lapack  # generated: nothing knows its types

_JITTER = 1e-7

TOLERANCE = 1e-6
"""A search ends with a step that gains less than this part of what it maximizes: no model is so exact."""


@dataclass(frozen=True, slots=True)
class Priors:
    """Means and deviations of the logarithms of the hyperparameters; `warp_sd` 0 means no warp."""

    scale: float = -1.3  # of the length scale over sqrt(d)
    scale_sd: float = 1.0
    signal_sd: float = 0.5
    noise: float = -6.0
    noise_sd: float = 2.0
    warp_sd: float = 0.0


@dataclass(frozen=True, slots=True)
class Hyper:
    """A Gaussian process's hyperparameters: its metric, and signal and noise variance as logarithms."""

    metric: Metric
    signal: float
    noise: float


class Likelihood:
    """The negative log posterior density of hyperparameters, with its gradient, given observations."""

    def __init__(self, features: Array, values: Array, layout: Layout, priors: Priors) -> None:
        self.features, self.values, self.layout = features, values, layout
        self.warped = priors.warp_sd > 0.0
        axes, warps = layout.axes, 2 * len(layout.numeric) * self.warped
        scale = priors.scale + 0.5 * math.log(max(axes, 1))
        self.mean = np.concatenate([np.full(axes, scale), [0.0, priors.noise], np.zeros(warps)])
        middle = np.array([priors.signal_sd, priors.noise_sd])
        self.spread = np.concatenate([np.full(axes, priors.scale_sd), middle, np.full(warps, priors.warp_sd)])
        self.bounds = [(-5.0, 7.0)] * axes + [(-3.0, 3.0), (-14.0, 2.0)] + [(-1.5, 1.5)] * warps

    def hyper(self, theta: Array) -> Hyper:
        """Give the hyperparameters in a vector: scales, signal, noise, and the warp's a and b if any."""
        axes, columns = self.layout.axes, len(self.layout.numeric)
        rest = theta[axes + 2 :]
        warp = (rest[:columns], rest[columns:]) if self.warped else None
        return Hyper(Metric(theta[:axes], warp), float(theta[axes]), float(theta[axes + 1]))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Give the negative log posterior density at `theta` and its gradient."""
        hyper = self.hyper(theta)
        offset = (theta - self.mean) / self.spread
        scaled = scale_features(self.features, self.layout, hyper.metric)
        kernel, slope = matern_with_slope(squared_distances(scaled.z, scaled.z))
        signal, noise = math.exp(hyper.signal), math.exp(hyper.noise)
        kernel *= signal
        covariance = kernel.copy(order="F")
        covariance.flat[:: len(kernel) + 1] += noise + _JITTER
        factor, failed = lapack.dpotrf(covariance, lower=1, overwrite_a=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        half_log_det = np.log(factor.diagonal()).sum()
        alpha, _ = lapack.dpotrs(factor, self.values, lower=1)
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        inverse.flat[:: len(kernel) + 1] *= 0.5  # of the lower half alone, the upper one is 0
        weight = 0.5 * (inverse + inverse.T - np.outer(alpha, alpha))  # dF/dK
        by_distance = weight * slope
        by_distance *= signal
        by_z = 4.0 * (by_distance.sum(1)[:, None] * scaled.z - by_distance @ scaled.z)
        by_scale = np.bincount(self.layout.axis, -np.einsum("ij,ij->j", by_z, scaled.z), self.layout.axes)
        by_signal = float(np.einsum("ij,ij->", weight, kernel))
        gradient = [by_scale, np.array([by_signal, noise * float(weight.trace())])]
        if self.warped:
            numeric = by_z[:, self.layout.numeric]
            gradient += [np.einsum("ij,ij->j", numeric, d) for d in (scaled.d_log_a, scaled.d_log_b)]
        value = 0.5 * float(self.values @ alpha) + half_log_det + 0.5 * float(offset @ offset)
        return value, np.concatenate(gradient) + offset / self.spread


def fit(
    features: Array, values: Array, layout: Layout, priors: Priors, *, steps: int = 40
) -> tuple[Hyper, float]:
    """Give the hyperparameters of highest posterior density found from the priors' means, and -log of it."""
    likelihood = Likelihood(features, values, layout, priors)
    found = minimize(
        likelihood,
        likelihood.mean,
        jac=True,
        method="L-BFGS-B",
        bounds=likelihood.bounds,
        options={"maxiter": steps, "ftol": TOLERANCE},
    )
    return likelihood.hyper(found.x), float(found.fun)


def prior_hyper(layout: Layout, priors: Priors) -> Hyper:
    """Give the hyperparameters at the priors' means."""
    likelihood = Likelihood(np.empty((0, len(layout.axis))), np.empty(0), layout, priors)
    return likelihood.hyper(likelihood.mean)


class Posterior:
    """A Gaussian process given observations; means have the shape of `values`.

    The last `believed` of the values are taken to be without noise.
    """

    def __init__(
        self, features: Array, values: Array, layout: Layout, hyper: Hyper, *, believed: int = 0
    ) -> None:
        self.layout, self.hyper = layout, hyper
        self.signal = math.exp(hyper.signal)
        self.noise = math.exp(hyper.noise)
        self.z = scale_features(features, layout, hyper.metric).z
        covariance = matern(squared_distances(self.z, self.z))
        covariance *= self.signal
        self._factorize(covariance, believed)
        self.values = values
        self.alpha = self.inverse_root.T @ (self.inverse_root @ values)

    def _factorize(self, covariance: Array, believed: int) -> None:
        extra, failed = np.full(len(covariance), self.noise + _JITTER), 1
        extra[len(extra) - believed :] = _JITTER
        factor = covariance
        while failed:
            factor = covariance.copy(order="F")
            factor.flat[:: len(factor) + 1] += extra
            factor, failed = lapack.dpotrf(factor, lower=1, overwrite_a=1)
            extra *= 10.0
        inverse, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
        self.inverse_root = np.ascontiguousarray(inverse)  # L^-1, so that predictions are plain products

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Give mean and standard deviation of the noiseless value at each point."""
        z = scale_features(features, self.layout, self.hyper.metric).z
        cross = matern(squared_distances(z, self.z))
        cross *= self.signal
        root = cross @ self.inverse_root.T
        variance = self.signal - np.einsum("ij,ij->i", root, root)
        return cross @ self.alpha, np.sqrt(np.maximum(variance, 1e-12 * self.signal + 1e-14))

    def predict_with_slope(self, features: Array) -> Prediction:
        """Give mean, deviation, and what it takes to turn their gradients into gradients by the features."""
        scaled = scale_features(features, self.layout, self.hyper.metric)
        cross, slope = matern_with_slope(squared_distances(scaled.z, self.z))
        cross *= self.signal
        slope *= self.signal
        root = cross @ self.inverse_root.T
        variance = np.maximum(self.signal - np.einsum("ij,ij->i", root, root), 1e-12 * self.signal + 1e-14)
        return Prediction(self, scaled.z, scaled.slope, slope, root, cross @ self.alpha, np.sqrt(variance))


@dataclass(frozen=True, slots=True)
class Prediction:
    """Mean and deviation at some points, ready to be differentiated."""

    posterior: Posterior
    z: Array
    z_slope: Array
    kernel_slope: Array
    root: Array
    mean: Array
    deviation: Array

    def gradient(self, by_mean: Array, by_deviation: Array) -> Array:
        """Give the gradient by the features of a function with these gradients by mean and deviation."""
        posterior = self.posterior
        by_kernel = np.outer(by_mean, posterior.alpha)
        by_kernel -= (by_deviation / self.deviation)[:, None] * (self.root @ posterior.inverse_root)
        by_distance = by_kernel * self.kernel_slope
        by_z = 2.0 * (by_distance.sum(1)[:, None] * self.z - by_distance @ posterior.z)
        return np.asarray(by_z * self.z_slope)
