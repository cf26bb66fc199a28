"""`method: ax`: Ax's own choice of models (BoTorch), told what the sweep's history says.

A client in memory is made from the history for every suggestion, so that nothing is lost with the process
and any agent can go on. Ax sees a flat space: a parameter that is not there stands in the middle of its axis.
"""

# Ax is not typed to the last.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.records import Metric, Observation, Params, RunState
from besom.search.engine import EngineMethod
from besom.space.distributions import Choice, Distribution, Lattice
from besom.space.parameters import parents_first
from besom.space.values import is_finite
from besom.summarize import summary_value

if TYPE_CHECKING:
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    from besom.sweepfile import SweepConfig

STRATEGIES = ("fast", "quality", "random_search")
KEYS = ("strategy", "initialization_budget", "torch_device")
GOOD = frozenset({RunState.FINISHED, RunState.STOPPED})
SEEDS = 2**31


@dataclass
class Ax:
    """Ax over a sweep's space."""

    config: SweepConfig
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        space = self.config.space
        self._axes = {name: f"x{index}" for index, name in enumerate(space.dimensions)}
        self._goals: tuple[Metric | None, ...] = self.config.metrics or (self.config.metric,)

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        """Ask a client that knows the history, again and again."""
        with _calm():
            client = self._client(cursor)
            for item in ended:
                self._tell(client, item)
            for params in active:
                if (place := self._place(params)) is not None:
                    client.attach_trial(place)
        while True:
            with _calm():
                [(number, asked)] = client.get_next_trials(max_trials=1).items()
            yield self._params(asked)
            with _calm():
                client.mark_trial_abandoned(number)

    def _client(self, cursor: int) -> Client:
        from ax.api.client import Client

        seed = ((self.config.seed or 0) * 1_000_003 + cursor) % SEEDS
        client = Client(random_seed=seed)
        distributions = {name: self.config.space.parameters[name].distribution for name in self._axes}
        client.configure_experiment([_axis(self._axes[name], item) for name, item in distributions.items()])
        signs = ["" if goal is not None and goal.goal == "maximize" else "-" for goal in self._goals]
        client.configure_optimization(", ".join(f"{sign}goal{number}" for number, sign in enumerate(signs)))
        options = {key: value for key, value in self.settings.items() if key != "strategy"}
        client.configure_generation_strategy(
            method=self.settings.get("strategy", "fast"),
            initialization_random_seed=(self.config.seed or 0) % SEEDS,
            **options,
        )
        return client

    def _tell(self, client: Client, item: Observation) -> None:
        """Say what became of a run; nothing of one whose space was since changed."""
        place = self._place(item.params)
        if place is None:
            return
        trial = client.attach_trial(place)
        summary = item.summary or {}
        others = [summary_value(summary, goal) for goal in self._goals[1:] if goal is not None]
        values = [value for value in (item.value, *others) if value is not None]
        if item.state in GOOD and len(values) == len(self._goals):
            client.complete_trial(trial, {f"goal{number}": value for number, value in enumerate(values)})
        else:
            client.mark_trial_failed(trial)

    def _place(self, params: Params) -> dict[str, int | float] | None:
        space = self.config.space
        if space.check(params):
            return None
        flat = space.flatten(params)
        place: dict[str, int | float] = {}
        for name, axis in self._axes.items():
            distribution = space.parameters[name].distribution
            here = distribution.encode(flat[name]) if name in flat else 0.5
            place[axis] = _index(here, distribution) if isinstance(distribution, (Choice, Lattice)) else here
        return place

    def _params(self, place: Mapping[str, Any]) -> Params:
        flat: dict[str, Any] = {}
        for parameter in parents_first(tuple(self.config.space.parameters.values())):
            if not parameter.active(flat):
                continue
            distribution = parameter.distribution
            if parameter.name not in self._axes:
                flat[parameter.name] = distribution.nth(0)
                continue
            here = place[self._axes[parameter.name]]
            listed = isinstance(distribution, (Choice, Lattice))
            flat[parameter.name] = distribution.nth(int(here)) if listed else distribution.decode(float(here))
        return self.config.space.unflatten(flat)


def create_ax(config: SweepConfig) -> EngineMethod:
    """Build the method; UsageError where Ax is missing or a setting is wrong."""
    from importlib.util import find_spec

    if find_spec("ax") is None:
        raise UsageError("method: ax needs Ax; pip install 'besom[ax]'")
    for key in config.settings:
        if key not in KEYS:
            raise UsageError(f"{config.source}: ax takes no {key!r}{_hint(key, KEYS)}")
    strategy = config.settings.get("strategy", "fast")
    if strategy not in STRATEGIES:
        raise UsageError(
            f"{config.source}: ax.strategy cannot be {strategy!r}{_hint(str(strategy), STRATEGIES)}"
        )
    budget = config.settings.get("initialization_budget", 1)
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 1:
        raise UsageError(f"{config.source}: ax.initialization_budget must be a whole number above 0")
    return EngineMethod(config, Ax(config, config.settings))


def _hint(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def _index(place: float, distribution: Choice | Lattice) -> int:
    return min(int(place * distribution.size), distribution.size - 1)


def _axis(name: str, distribution: Distribution) -> RangeParameterConfig | ChoiceParameterConfig:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(distribution, Choice):
        numbers = distribution.size > 2 and all(map(is_finite, distribution.values))
        ordered = numbers and list(distribution.values) == sorted(distribution.values)
        return ChoiceParameterConfig(
            name=name, values=list(range(distribution.size)), parameter_type="int", is_ordered=ordered
        )
    if isinstance(distribution, Lattice):
        return RangeParameterConfig(name=name, bounds=(0, distribution.size - 1), parameter_type="int")
    return RangeParameterConfig(name=name, bounds=(0.0, 1.0), parameter_type="float")


@contextmanager
def _calm() -> Generator[None]:
    """Inside, Ax neither logs what it does nor warns, and keeps to one thread.

    Its matrices are small: two threads cost six times the work, and the cores belong to the runs.
    """
    import torch

    before, threads = logging.root.manager.disable, torch.get_num_threads()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        torch.set_num_threads(threads)
