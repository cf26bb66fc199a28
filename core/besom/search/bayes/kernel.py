"""The covariance of two points: a Matérn-5/2 over a distance that knows real, discrete and categorical axes.

    k(x, x') = (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r),    r^2 = sum over axes of d_j(x, x')^2 / l_j^2

d_j is the difference of the warped positions of a numeric axis and the Hamming distance of a categorical one.
Points come as features (`encoding.Domain.features`), in which r is Euclidean, so every distance is one matrix
product. The warp of a numeric axis is Kumaraswamy's CDF (Snoek et al. 2014, "Input warping for Bayesian
optimization of non-stationary functions"): w(x) = 1 - (1 - x^a)^b.
"""

# numpy's stubs leave many a dtype open.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_EDGE = 1e-6  # keeps the warp's slope finite at 0 and 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How features belong to axes: `axis` per column, and which columns are positions that can be warped."""

    axis: NDArray[np.intp]
    numeric: NDArray[np.intp]  # columns
    axes: int


@dataclass(frozen=True, slots=True)
class Metric:
    """Length scales per axis, and the warp's a and b per numeric column, if any; all as logarithms."""

    scale: Array
    warp: tuple[Array, Array] | None = None


@dataclass(frozen=True, slots=True)
class Scaled:
    """Features divided by their length scales, and what the chain rule needs to come back from there."""

    z: Array
    slope: Array  # dz/dx per point and column; one row for all points without a warp
    d_log_a: Array  # dz/d(log a) per point and numeric column
    d_log_b: Array


def scale_features(features: Array, layout: Layout, metric: Metric) -> Scaled:
    """Warp and scale features so that the distance between points is Euclidean."""
    inverse = np.exp(-metric.scale)[layout.axis]
    columns = layout.numeric
    if metric.warp is None:
        z = features * inverse
        none = np.empty((len(features), 0))
        return Scaled(z, inverse[None], none, none)
    x = np.clip(features[:, columns], _EDGE, 1.0 - _EDGE)
    a, b = np.exp(metric.warp[0]), np.exp(metric.warp[1])
    log_x = np.log(x)
    power = np.exp(a * log_x)
    log_rest = np.log1p(-power)
    rest = np.exp(b * log_rest)  # (1 - x^a)^b
    warped = features.copy()
    warped[:, columns] = 1.0 - rest
    common = b * rest / (1.0 - power) * power
    slope = np.repeat(inverse[None], len(features), axis=0)
    slope[:, columns] *= common * a / x
    own = inverse[columns]
    return Scaled(warped * inverse, slope, common * a * log_x * own, -rest * log_rest * b * own)


def squared_distances(a: Array, b: Array) -> Array:
    """Give the squared distances of the rows of `a` to those of `b`, (len(a), len(b))."""
    gram = a @ b.T
    gram *= -2.0
    gram += np.einsum("ij,ij->i", a, a)[:, None]
    gram += np.einsum("ij,ij->i", b, b)
    return np.maximum(gram, 0.0, out=gram)


def matern(squared: Array) -> Array:
    """Give the covariance at squared distances."""
    r = np.sqrt(5.0 * squared)
    return (1.0 + r + squared * (5.0 / 3.0)) * np.exp(-r)


def matern_with_slope(squared: Array) -> tuple[Array, Array]:
    """Give the covariance at squared distances, and its derivative by them."""
    r = np.sqrt(5.0 * squared)
    decay = np.exp(-r)
    r += 1.0
    slope = r * decay
    value = slope + (squared * (5.0 / 3.0)) * decay
    slope *= -5.0 / 6.0
    return value, slope
