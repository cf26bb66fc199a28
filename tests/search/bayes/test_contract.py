from __future__ import annotations

from besom.search import create_method
from besom.search.base import Method
from besom.sweepfile import SweepConfig
from besom.testing.methods import MethodContract


class TestBayesContract(MethodContract):
    name = "bayes"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)
