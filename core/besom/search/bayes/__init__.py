"""Bayesian optimization: a Gaussian process over the mixed, conditional space of a sweep, in numpy and scipy.

points      params <-> rows of numbers              encoding    what rows mean; features for the model
records     the history as arrays                   goals       several goals as one
fidelity    runs that were stopped early
outputs     metric values -> standardized ones
kernel, gp  the model and its hyperparameters       model       evidence -> model -> acquisition
acquisition log expected improvement x success      region      where to search in many dimensions
propose     the search for its maximum              method      the Method itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from besom.search.bayes.method import Bayes

if TYPE_CHECKING:
    from besom.sweepfile import SweepConfig


def create_bayes(config: SweepConfig) -> Bayes:
    """Build the method; without a seed in the config it is 0."""
    return Bayes(config)
