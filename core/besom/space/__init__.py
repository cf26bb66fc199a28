"""The search space: what points a sweep can run, how many there are, the i-th, and the i-th random one."""

from __future__ import annotations

from besom.space.continuous import Beta, LogNormal, LogUniform, Normal, Uniform
from besom.space.distributions import Choice, Distribution, Lattice, Rounded
from besom.space.parameters import Condition, Parameter
from besom.space.space import AxisRow, SearchSpace
from besom.space.values import canonical_text, content_key

__all__ = [
    "AxisRow",
    "Beta",
    "Choice",
    "Condition",
    "Distribution",
    "Lattice",
    "LogNormal",
    "LogUniform",
    "Normal",
    "Parameter",
    "Rounded",
    "SearchSpace",
    "Uniform",
    "canonical_text",
    "content_key",
]
