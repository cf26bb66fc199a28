"""Who plays: besom's methods and its peers, each behind the same two questions."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from benchmarks.search.imputed import Hebo, Smac
from benchmarks.search.problem import Problem
from besom.records import Observation, Params, RunState
from besom.search import create_method
from besom.space import Choice, Lattice, LogUniform, Parameter, Rounded, Uniform
from besom.sweepfile import from_mapping


class Contender(Protocol):
    """An optimizer at work on one problem."""

    def ask(self) -> tuple[Any, Params]:
        """Give what to run next, with a handle."""
        ...

    def tell(self, handle: Any, value: float | None) -> None:
        """Take the result; None when the run crashed."""
        ...


class Besom:
    """One of besom's own methods, with the history an agent would have."""

    def __init__(self, problem: Problem, seed: int, method: str) -> None:
        self.method = create_method(from_mapping({**problem.config.raw, "method": method, "seed": seed}))
        self.ended: list[Observation] = []
        self.running: dict[str, Params] = {}
        self.cursor = 0

    def observations(self, *, after: int = 0) -> list[Observation]:
        return self.ended[after:]

    def active(self) -> list[Params]:
        return list(self.running.values())

    def ask(self) -> tuple[str, Params]:
        while True:
            batch = self.method.suggest(self.cursor, 1, self)
            self.cursor = batch.cursor
            if batch.suggestions:
                break
        suggestion = batch.suggestions[0]
        self.running[suggestion.key] = suggestion.params
        return suggestion.key, suggestion.params

    def tell(self, handle: str, value: float | None) -> None:
        state = RunState.FAILED if value is None else RunState.FINISHED
        params = self.running.pop(handle)
        self.ended.append(Observation(handle, state, params, value, len(self.ended) + 1))


class Sobol:
    """A scrambled Sobol sequence."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from scipy.stats import qmc

        self.space = problem.config.space
        self.sequence = qmc.Sobol(len(self.space.dimensions), scramble=True, seed=seed)

    def ask(self) -> tuple[None, Params]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that balance needs a power of two
            return None, self.space.decode(list(map(float, self.sequence.random(1)[0])))

    def tell(self, handle: None, value: float | None) -> None:
        pass


class Optuna:
    """One of Optuna's samplers; conditions are told to it the way Optuna has them, by asking for less."""

    def __init__(self, problem: Problem, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        self.optuna = optuna
        self.space = problem.config.space
        self.study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))

    def ask(self) -> tuple[Any, Params]:
        trial = self.study.ask()
        flat: dict[str, Any] = {}
        for parameter in by_dependence(self.space.parameters):
            if parameter.active(flat):
                flat[parameter.name] = self._ask(trial, parameter)
        return trial, self.space.unflatten(flat)

    def tell(self, handle: Any, value: float | None) -> None:
        if value is None:
            self.study.tell(handle, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(handle, value)

    @staticmethod
    def _ask(trial: Any, parameter: Parameter) -> Any:
        name, distribution = parameter.name, parameter.distribution
        if isinstance(distribution, Choice):
            return trial.suggest_categorical(name, list(distribution.values))
        if isinstance(distribution, Lattice):
            return trial.suggest_int(name, distribution.low, distribution.nth(distribution.count - 1))
        if isinstance(distribution, Rounded):
            assert distribution.size is not None
            top = distribution.nth(distribution.size - 1)
            return trial.suggest_int(name, distribution.nth(0), top, log=True)
        assert isinstance(distribution, (Uniform, LogUniform))
        return trial.suggest_float(name, *distribution.bounds, log=isinstance(distribution, LogUniform))


class WandbSweeps:
    """W&B's open engine, the package `sweeps`, with `method: bayes`; it knows no conditions."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import sweeps  # type: ignore[import-not-found, import-untyped, unused-ignore]

        np.random.seed(seed)  # the state that it draws from
        random.seed(seed)  # noqa: TID251 - likewise
        self.sweeps = sweeps
        self.space = problem.config.space
        parameters = {
            name: {key: value for key, value in given.items() if key != "when"}
            for name, given in problem.parameters.items()
        }
        self.config = {
            "method": "bayes",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": parameters,
        }
        self.runs: list[Any] = []

    def ask(self) -> tuple[Any, Params]:
        run = self.sweeps.next_run(self.config, self.runs)
        run.state = self.sweeps.RunState.running
        self.runs.append(run)
        given = {name: entry["value"] for name, entry in run.config.items()}
        flat: dict[str, Any] = {}
        for parameter in by_dependence(self.space.parameters):
            if parameter.active(flat):
                distribution, value = parameter.distribution, given[parameter.name]
                flat[parameter.name] = (
                    value if isinstance(distribution, Choice) else _inside(distribution, value)
                )
        return run, self.space.unflatten(flat)

    def tell(self, handle: Any, value: float | None) -> None:
        if value is None:
            handle.state = self.sweeps.RunState.crashed
        else:
            handle.state = self.sweeps.RunState.finished
            handle.summary_metrics = {"loss": value}
            handle.history = [{"loss": value}]


class Ax:
    """Ax with its default strategy; it knows no conditions."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import logging

        from ax.api.client import Client

        for name in ["ax", *logging.root.manager.loggerDict]:
            if name.partition(".")[0] == "ax":
                logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore")
        self.space = problem.config.space
        self.client = Client(random_seed=seed)
        parameters = [self._parameter(parameter) for parameter in self.space.parameters.values()]
        self.client.configure_experiment(parameters=parameters, name=problem.name)
        self.client.configure_optimization(objective="-loss")
        self.client.configure_generation_strategy(initialization_random_seed=seed)

    def ask(self) -> tuple[int, Params]:
        ((trial, given),) = self.client.get_next_trials(max_trials=1).items()
        flat: dict[str, Any] = {}
        for parameter in by_dependence(self.space.parameters):
            if parameter.active(flat):
                flat[parameter.name] = given[parameter.name]
        return trial, self.space.unflatten(flat)

    def tell(self, handle: int, value: float | None) -> None:
        if value is None:
            self.client.mark_trial_failed(trial_index=handle)
        else:
            self.client.complete_trial(trial_index=handle, raw_data={"loss": value})

    @staticmethod
    def _parameter(parameter: Parameter) -> Any:
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        name, distribution = parameter.name, parameter.distribution
        if isinstance(distribution, Choice):
            values = list(distribution.values)
            named = isinstance(values[0], str)
            kind: Any = "str" if named else "int" if isinstance(values[0], int) else "float"
            return ChoiceParameterConfig(name=name, values=values, parameter_type=kind, is_ordered=not named)
        if isinstance(distribution, (Lattice, Rounded)):
            assert distribution.size is not None
            ends = distribution.nth(0), distribution.nth(distribution.size - 1)
            scaling: Any = "log" if isinstance(distribution, Rounded) else None
            return RangeParameterConfig(name=name, bounds=ends, parameter_type="int", scaling=scaling)
        assert isinstance(distribution, (Uniform, LogUniform))
        scaling = "log" if isinstance(distribution, LogUniform) else None
        return RangeParameterConfig(
            name=name, bounds=distribution.bounds, parameter_type="float", scaling=scaling
        )


def _inside(distribution: Any, value: float) -> Any:
    """Undo what W&B's rounding does to a bound."""
    if isinstance(distribution, (Lattice, Rounded)):
        size = distribution.size
        assert size is not None
        return min(max(round(value), distribution.nth(0)), distribution.nth(size - 1))
    low, high = distribution.bounds
    return min(max(value, low), high)


def by_dependence(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Give parameters in an order in which every one follows what its conditions ask about."""
    from besom.space.parameters import parents_first

    return parents_first(tuple(parameters.values()))


CONTENDERS: dict[str, Callable[[Problem, int], Contender]] = {
    "besom": lambda problem, seed: Besom(problem, seed, "bayes"),
    "random": lambda problem, seed: Besom(problem, seed + 1000, "random"),
    "sobol": Sobol,
    "optuna": lambda problem, seed: Optuna(problem, seed, "TPESampler"),
    "optuna-gp": lambda problem, seed: Optuna(problem, seed, "GPSampler"),
    "wandb": WandbSweeps,
    "ax": Ax,
    "smac": Smac,
    "hebo": Hebo,
}
"""By name; `optuna` is Optuna's default sampler."""
