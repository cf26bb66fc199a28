"""Peers that take no crash for an answer: a crashed run is told to them as the worst result so far."""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.problem import BUDGET, Problem
from besom.records import Params
from besom.space import Choice, Lattice, LogUniform, Parameter, Rounded, Uniform
from besom.space.parameters import Condition, parents_first


class Imputed(ABC):
    """Tells results, and crashes as soon as there is a result to stand for them."""

    def __init__(self) -> None:
        self.worst: float | None = None
        self.crashed: list[Any] = []

    def tell(self, handle: Any, value: float | None) -> None:
        if value is None:
            self.crashed.append(handle)
        else:
            self.worst = value if self.worst is None else max(value, self.worst)
            self._tell(handle, value)
        if self.worst is not None:
            while self.crashed:
                self._tell(self.crashed.pop(), self.worst)

    @abstractmethod
    def _tell(self, handle: Any, value: float) -> None: ...


class Smac(Imputed):
    """SMAC's facade for hyperparameters, told that a configuration needs one run; it knows conditions."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import smac  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from ConfigSpace import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            ConfigurationSpace,
        )

        super().__init__()
        warnings.filterwarnings("ignore", module="smac")
        self.value = smac.runhistory.TrialValue
        self.space = problem.config.space
        self.kinds = {name: parameter.distribution for name, parameter in self.space.parameters.items()}
        space = ConfigurationSpace(seed=seed)
        for parameter in parents_first(tuple(self.space.parameters.values())):
            space.add(_smacs(parameter))
            for condition in parameter.conditions:
                space.add(_smacs_condition(space, parameter, condition))
        self.folder = tempfile.TemporaryDirectory()
        scenario = smac.Scenario(
            space, deterministic=True, n_trials=BUDGET, seed=seed, output_directory=Path(self.folder.name)
        )
        facade = smac.HyperparameterOptimizationFacade
        self.facade = facade(scenario, lambda config, seed: 0.0, logging_level=False, overwrite=True)

    def ask(self) -> tuple[Any, Params]:
        trial = self.facade.ask()
        flat = {name: _plain(self.kinds[name], value) for name, value in dict(trial.config).items()}
        return trial, self.space.unflatten(flat)

    def _tell(self, handle: Any, value: float) -> None:
        self.facade.tell(handle, self.value(cost=value), save=False)


class Hebo(Imputed):
    """HEBO, which knows neither conditions nor runs under way."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import torch
        from hebo.design_space.design_space import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            DesignSpace,
        )
        from hebo.optimizers.hebo import HEBO  # type: ignore[import-not-found, import-untyped, unused-ignore]

        super().__init__()
        warnings.filterwarnings("ignore")
        np.random.seed(seed)  # the state that it draws from
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self.space = problem.config.space
        self.parameters = parents_first(tuple(self.space.parameters.values()))
        self.hebo = HEBO(DesignSpace().parse(list(map(_hebos, self.parameters))), scramble_seed=seed)

    def ask(self) -> tuple[Any, Params]:
        rows = self.hebo.suggest()
        given = rows.iloc[0].to_dict()
        flat: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(flat):
                flat[parameter.name] = _plain(parameter.distribution, given[parameter.name])
        return rows, self.space.unflatten(flat)

    def _tell(self, handle: Any, value: float) -> None:
        self.hebo.observe_new_data(handle, np.array([[value]]))


def _smacs(parameter: Parameter) -> Any:
    from ConfigSpace import Categorical, Float, Integer, OrdinalHyperparameter

    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, Choice):
        if isinstance(distribution.values[0], str):
            return Categorical(name, list(distribution.values))
        return OrdinalHyperparameter(name, list(distribution.values))
    if isinstance(distribution, (Lattice, Rounded)):
        assert distribution.size is not None
        ends = int(distribution.nth(0)), int(distribution.nth(distribution.size - 1))
        return Integer(name, ends, log=isinstance(distribution, Rounded))
    assert isinstance(distribution, (Uniform, LogUniform))
    return Float(name, distribution.bounds, log=isinstance(distribution, LogUniform))


def _smacs_condition(space: Any, parameter: Parameter, condition: Condition) -> Any:
    from ConfigSpace import InCondition

    assert condition.values
    assert not condition.negated
    return InCondition(space[parameter.name], space[condition.parent], list(condition.values))


def _hebos(parameter: Parameter) -> dict[str, Any]:
    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, Choice):
        return {"name": name, "type": "cat", "categories": list(distribution.values)}
    if isinstance(distribution, (Lattice, Rounded)):
        assert distribution.size is not None
        low, high = distribution.nth(0), distribution.nth(distribution.size - 1)
        return {
            "name": name,
            "type": "pow_int" if isinstance(distribution, Rounded) else "int",
            "lb": low,
            "ub": high,
        }
    assert isinstance(distribution, (Uniform, LogUniform))
    low, high = distribution.bounds
    return {
        "name": name,
        "type": "pow" if isinstance(distribution, LogUniform) else "num",
        "lb": low,
        "ub": high,
    }


def _plain(distribution: Any, value: Any) -> Any:
    """Give Python's own value for what comes out of an array, within the bounds that rounding may leave."""
    if isinstance(distribution, Choice):
        return next(known for known in distribution.values if known == value)
    if isinstance(distribution, (Lattice, Rounded)):
        size = distribution.size
        assert size is not None
        return min(max(round(value), distribution.nth(0)), distribution.nth(size - 1))
    low, high = distribution.bounds
    return min(max(float(value), low), high)
