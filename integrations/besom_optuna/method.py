"""`method: optuna`: any of Optuna's samplers, told what the sweep's history says.

A study in memory is made from the history for every suggestion, so that nothing is lost with the process, and
any agent can go on. Samplers that keep their state in what they have asked before (CMA-ES, NSGA-II, QMC) see
the history again, run by run, in the order in which the runs ended.
"""

# Optuna is not typed to the last.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import inspect
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.records import Goal, Observation, Params
from besom.search.engine import EngineMethod, Told, place_of, seed_of, told, value_at
from besom.space.distributions import Choice, Distribution, Lattice
from besom.space.parameters import Parameter, parents_first
from besom.sweepfile.tree import did_you_mean
from besom_optuna.replay import replaying

if TYPE_CHECKING:
    import optuna

    from besom.sweepfile import SweepConfig

DEFAULT = "TPESampler"
STATEFUL = frozenset({"CmaEsSampler", "NSGAIISampler", "NSGAIIISampler", "QMCSampler"})
"""Samplers that must be asked for each point that they are told about."""

TALKATIVE = frozenset({"CmaEsSampler", "GPSampler", "QMCSampler"})
"""Samplers that say for each category which they do not choose that they do not."""

OTHERS = frozenset({"BaseSampler", "BaseGASampler", "GridSampler", "PartialFixedSampler"})
"""Classes called samplers that cannot be made from a sweep file."""

SINGLE = "CmaEsSampler"
"""The sampler that knows neither several goals nor limits."""

NEEDS = {"CmaEsSampler": ("cmaes", "besom[optuna]"), "GPSampler": ("torch", "torch")}
"""What a sampler needs beside Optuna, and what to install for it."""


@dataclass
class Optuna:
    """One sampler over a sweep's space."""

    config: SweepConfig
    sampler: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._parameters = parents_first(tuple(self.config.space.parameters.values()))
        self._trials: dict[tuple[str, int], optuna.trial.FrozenTrial | None] = {}
        self.new_sampler(0)

    def new_sampler(self, cursor: int) -> optuna.samplers.BaseSampler:
        """Give the sampler with the chance of one suggestion; UsageError if it refuses its arguments."""
        import optuna

        kind = getattr(optuna.samplers, self.sampler)
        taken = inspect.signature(kind).parameters
        own: dict[str, Any] = {"seed": seed_of(self.config, cursor)} if "seed" in taken else {}
        if self.sampler in TALKATIVE:
            own["warn_independent_sampling"] = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler: optuna.samplers.BaseSampler = kind(**{**own, **self.arguments})
        except (TypeError, ValueError, ImportError) as error:
            raise self.config.fault("sampler", f"optuna: {self.sampler}: {error}") from error
        return sampler

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        """Ask a study that knows the history, again and again."""
        import optuna

        sampler = self.new_sampler(0 if self.sampler in STATEFUL else cursor)
        replay = replaying(sampler) if self.sampler in STATEFUL else None
        directions: list[Goal] = [goal.goal for goal in self.config.goals]
        with _quiet():
            study = optuna.create_study(sampler=replay or sampler, directions=directions)
            known = [trial for item in ended if (trial := self._known(item)) is not None]
            if replay is not None:
                for trial in known:
                    replay.given = trial.params
                    asked = study.ask()
                    self._ask(asked)
                    for name, excess in trial.constraints.items():
                        asked.set_constraint(name, excess)
                    study.tell(asked, trial.values, state=trial.state)
                replay.given = None
            else:
                study.add_trials(known)
            study.add_trials([trial for params in active if (trial := self._running(params)) is not None])
        while True:
            with _quiet():
                params = self._ask(study.ask())
            yield params

    def try_out(self) -> None:
        """Raise UsageError if the sampler has no use for its arguments; some say so only when asked."""
        try:
            next(self.propose((), (), 0))
        except (TypeError, ValueError, ImportError) as error:
            raise self.config.fault("sampler", f"optuna: {self.sampler}: {error}") from error

    def _ask(self, trial: optuna.Trial) -> Params:
        flat: dict[str, Any] = {}
        for parameter in self._parameters:
            if parameter.active(flat):
                flat[parameter.name] = _suggested(trial, parameter)
        return self.config.space.unflatten(flat)

    def _known(self, item: Observation) -> optuna.trial.FrozenTrial | None:
        """Give an ended run as a trial; None if it is of a space that was since changed."""
        key = item.run_id, item.changed
        if key not in self._trials:
            self._trials[key] = self._ended(item)
        return self._trials[key]

    def _ended(self, item: Observation) -> optuna.trial.FrozenTrial | None:
        import optuna

        said = told(self.config, item)
        state = optuna.trial.TrialState.FAIL if said is None else optuna.trial.TrialState.COMPLETE
        return self._trial(item.params, state, said)

    def _running(self, params: Params) -> optuna.trial.FrozenTrial | None:
        import optuna

        return self._trial(params, optuna.trial.TrialState.RUNNING, None)

    def _trial(
        self, params: Params, state: optuna.trial.TrialState, said: Told | None
    ) -> optuna.trial.FrozenTrial | None:
        import optuna

        space = self.config.space
        if space.check(params):
            return None
        flat = space.flatten(params)
        axes = {
            parameter.name: (
                place_of(parameter.distribution, flat[parameter.name]),
                _axis(parameter.distribution),
            )
            for parameter in self._parameters
            if parameter.name in flat and parameter.distribution.size != 1
        }
        return optuna.trial.create_trial(
            state=state,
            values=None if said is None else said.values,
            constraints=None if said is None else {str(n): -room for n, room in enumerate(said.room)},
            params={name: place for name, (place, _) in axes.items()},
            distributions={name: axis for name, (_, axis) in axes.items()},
        )


def create_optuna(config: SweepConfig) -> EngineMethod:
    """Build the method; UsageError where Optuna is missing, or has no such sampler or argument."""
    try:
        import optuna
    except ImportError as error:
        raise UsageError("method: optuna needs Optuna; pip install 'besom[optuna]'") from error
    settings = dict(config.settings)
    name = str(settings.pop("sampler", DEFAULT))
    known = [word for word in optuna.samplers.__all__ if word.endswith("Sampler") and word not in OTHERS]
    if name not in known:
        whole = f"{name}Sampler"
        hint = (
            did_you_mean(whole if whole in known else name, known) or f"; known: {', '.join(sorted(known))}"
        )
        raise config.fault("sampler", f"optuna.sampler cannot be {name!r}{hint}")
    taken = ["sampler", *inspect.signature(getattr(optuna.samplers, name)).parameters]
    for key in settings:
        if key not in taken:
            raise config.fault(key, f"optuna: {name} takes no {key!r}{did_you_mean(key, taken)}")
    if "seed" in settings:  # the same chance for every suggestion would give the same point again and again
        raise config.fault("seed", "optuna.seed is the sweep's; write seed at the top of the file")
    _check_sampler(config, name)
    engine = Optuna(config, name, settings)
    if config.space.dimensions:
        engine.try_out()
    return EngineMethod(config, engine)


def _check_sampler(config: SweepConfig, name: str) -> None:
    """Refuse a sampler that this sweep is beyond, or that lacks a package."""
    if name == SINGLE and (len(config.goals) > 1 or config.limits):
        raise config.fault(
            "sampler",
            f"optuna: {SINGLE} knows one goal and no limits; take TPESampler, GPSampler or NSGAIISampler, or"
            " method: bayes",
        )
    if name in NEEDS:
        package, wanted = NEEDS[name]
        if find_spec(package) is None:
            raise config.fault("sampler", f"optuna: {name} needs {package}; pip install '{wanted}'")


def _axis(distribution: Distribution) -> optuna.distributions.BaseDistribution:
    import optuna

    if isinstance(distribution, Choice):
        return optuna.distributions.CategoricalDistribution(range(distribution.size))
    if isinstance(distribution, Lattice):
        return optuna.distributions.IntDistribution(0, distribution.size - 1)
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    name, distribution = parameter.name, parameter.distribution
    if distribution.size == 1:
        return distribution.nth(0)
    if isinstance(distribution, Choice):
        return value_at(distribution, trial.suggest_categorical(name, range(distribution.size)))
    if isinstance(distribution, Lattice):
        return value_at(distribution, trial.suggest_int(name, 0, distribution.size - 1))
    return value_at(distribution, trial.suggest_float(name, 0.0, 1.0))


@contextmanager
def _quiet() -> Generator[None]:
    """Inside, Optuna neither logs what it does nor warns of what is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
