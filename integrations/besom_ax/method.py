"""`method: ax`: Ax's own choice of models (BoTorch), told what the sweep's history says.

A client in memory is made from the history for every suggestion, so that nothing is lost with the process
and any agent can go on. Ax sees a flat space: a parameter that is not there stands in the middle of its axis.
"""

# Ax is not typed to the last.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.records import Observation, Params
from besom.search.engine import EngineMethod, place_of, seed_of, told, value_at
from besom.space.distributions import Choice, Distribution, Lattice
from besom.space.parameters import parents_first
from besom.space.values import is_finite
from besom.sweepfile.tree import did_you_mean

if TYPE_CHECKING:
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    from besom.sweepfile import SweepConfig

STRATEGIES = ("fast", "quality", "random_search")
KEYS = ("strategy", "initialization_budget")


@dataclass
class Ax:
    """Ax over a sweep's space."""

    config: SweepConfig
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        space = self.config.space
        self._axes = {name: f"x{index}" for index, name in enumerate(space.dimensions)}

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        """Ask a client that knows the history, again and again."""
        with _calm():
            client = self._client(cursor, begun=bool(ended or active))
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

    def _client(self, cursor: int, *, begun: bool) -> Client:
        """Give a client with the chance of one suggestion.

        Ax goes on by one stage a suggestion, so that one which knows of runs must not begin at the first, the
        center of the space: it would never get to its model.
        """
        from ax.api.client import Client

        client = Client(random_seed=seed_of(self.config, cursor))
        distributions = {name: self.config.space.parameters[name].distribution for name in self._axes}
        client.configure_experiment([_axis(self._axes[name], item) for name, item in distributions.items()])
        signs = ["" if goal.goal == "maximize" else "-" for goal in self.config.goals]
        client.configure_optimization(
            ", ".join(f"{sign}goal{number}" for number, sign in enumerate(signs)),
            [f"room{number} >= 0" for number in range(_bounds(self.config))],
        )
        options = {key: value for key, value in self.settings.items() if key != "strategy"}
        client.configure_generation_strategy(
            method=self.settings.get("strategy", "fast"),
            initialize_with_center=not begun,
            allow_exceeding_initialization_budget=True,  # agents that start together wait for nobody
            initialization_random_seed=seed_of(self.config, 0),
            **options,
        )
        return client

    def _tell(self, client: Client, item: Observation) -> None:
        """Say what became of a run; nothing of one whose space was since changed."""
        place = self._place(item.params)
        if place is None:
            return
        trial = client.attach_trial(place)
        said = told(self.config, item)
        if said is None:
            client.mark_trial_failed(trial)
            return
        numbers = {f"goal{number}": value for number, value in enumerate(said.values)}
        numbers |= {f"room{number}": room for number, room in enumerate(said.room)}
        client.complete_trial(trial, numbers)

    def _place(self, params: Params) -> dict[str, int | float] | None:
        space = self.config.space
        if space.check(params):
            return None
        flat = space.flatten(params)
        place: dict[str, int | float] = {}
        for name, axis in self._axes.items():
            distribution = space.parameters[name].distribution
            place[axis] = place_of(distribution, flat[name] if name in flat else distribution.decode(0.5))
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
            flat[parameter.name] = value_at(distribution, place[self._axes[parameter.name]])
        return self.config.space.unflatten(flat)


def create_ax(config: SweepConfig) -> EngineMethod:
    """Build the method; UsageError where Ax is missing or a setting is wrong."""
    from importlib.util import find_spec

    if find_spec("ax") is None:
        raise UsageError("method: ax needs Ax; pip install 'besom[ax]'")
    for key in config.settings:
        if key not in KEYS:
            raise config.fault(key, f"ax takes no {key!r}{did_you_mean(key, KEYS)}")
    strategy = config.settings.get("strategy", "fast")
    if strategy not in STRATEGIES:
        hint = did_you_mean(str(strategy), STRATEGIES)
        raise config.fault("strategy", f"ax.strategy cannot be {strategy!r}{hint}")
    budget = config.settings.get("initialization_budget", 1)
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 1:
        raise config.fault("initialization_budget", "ax.initialization_budget must be a whole number above 0")
    return EngineMethod(config, Ax(config, config.settings))


def _bounds(config: SweepConfig) -> int:
    """Count the bounds of all limits; Ax is told how far inside of each a run was, under a name of its own.

    It takes no constraint on what it optimizes, and a limit may be one on a goal.
    """
    return sum(bound is not None for limit in config.limits for bound in (limit.min, limit.max))


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
