"""`method: optuna`: any of Optuna's samplers, told what the sweep's history says.

A study in memory is made from the history for every suggestion, so that nothing is lost with the process, and
any agent can go on. Samplers that keep their state in what they have asked before (CMA-ES, NSGA-II, QMC) see
the history again, run by run, in the order in which the runs ended.
"""

# Optuna is not typed to the last.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom.records import Goal, Metric, Observation, Params, RunState
from besom.search.engine import EngineMethod
from besom.space.distributions import Choice, Distribution, Lattice
from besom.space.parameters import Parameter, parents_first
from besom.summarize import summary_value
from besom_optuna.replay import replaying

if TYPE_CHECKING:
    import optuna

    from besom.sweepfile import SweepConfig

DEFAULT = "TPESampler"
STATEFUL = frozenset({"CmaEsSampler", "NSGAIISampler", "NSGAIIISampler", "QMCSampler"})
"""Samplers that must be asked for each point that they are told about."""

GOOD = frozenset({RunState.FINISHED, RunState.STOPPED})
SEEDS = 2**31


@dataclass
class Optuna:
    """One sampler over a sweep's space."""

    config: SweepConfig
    sampler: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._parameters = parents_first(tuple(self.config.space.parameters.values()))
        self._goals: tuple[Metric | None, ...] = self.config.metrics or (self.config.metric,)
        self._trials: dict[tuple[str, int], optuna.trial.FrozenTrial | None] = {}
        self.new_sampler(0)

    def new_sampler(self, cursor: int) -> optuna.samplers.BaseSampler:
        """Give the sampler with the chance of one suggestion; UsageError if it refuses its arguments."""
        import optuna

        kind = getattr(optuna.samplers, self.sampler)
        own = {} if "seed" not in inspect.signature(kind).parameters else {"seed": self._seed(cursor)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler: optuna.samplers.BaseSampler = kind(**{**own, **self.arguments})
        except (TypeError, ValueError, ImportError) as error:
            raise UsageError(f"{self.config.source}: optuna: {self.sampler}: {error}") from error
        return sampler

    def propose(
        self, ended: Sequence[Observation], active: Sequence[Params], cursor: int
    ) -> Iterator[Params]:
        """Ask a study that knows the history, again and again."""
        import optuna

        sampler = self.new_sampler(0 if self.sampler in STATEFUL else cursor)
        replay = replaying(sampler) if self.sampler in STATEFUL else None
        directions: list[Goal] = [goal.goal if goal is not None else "minimize" for goal in self._goals]
        with _quiet():
            study = optuna.create_study(sampler=replay or sampler, directions=directions)
            known = [trial for item in ended if (trial := self._told(item)) is not None]
            if replay is not None:
                for trial in known:
                    replay.given = trial.params
                    asked = study.ask()
                    self._ask(asked)
                    study.tell(asked, trial.values, state=trial.state)
                replay.given = None
            else:
                study.add_trials(known)
            study.add_trials([trial for params in active if (trial := self._running(params)) is not None])
        while True:
            with _quiet():
                params = self._ask(study.ask())
            yield params

    def _ask(self, trial: optuna.Trial) -> Params:
        flat: dict[str, Any] = {}
        for parameter in self._parameters:
            if parameter.active(flat):
                flat[parameter.name] = _suggested(trial, parameter)
        return self.config.space.unflatten(flat)

    def _told(self, item: Observation) -> optuna.trial.FrozenTrial | None:
        """Give an ended run as a trial; None if it is of a space that was since changed."""
        key = item.run_id, item.changed
        if key not in self._trials:
            self._trials[key] = self._ended(item)
        return self._trials[key]

    def _ended(self, item: Observation) -> optuna.trial.FrozenTrial | None:
        import optuna

        summary = item.summary or {}
        others = [summary_value(summary, goal) for goal in self._goals[1:] if goal is not None]
        values = [value for value in (item.value, *others) if value is not None]
        fine = item.state in GOOD and len(values) == len(self._goals)
        state = optuna.trial.TrialState.COMPLETE if fine else optuna.trial.TrialState.FAIL
        return self._trial(item.params, state, values if fine else None)

    def _running(self, params: Params) -> optuna.trial.FrozenTrial | None:
        import optuna

        return self._trial(params, optuna.trial.TrialState.RUNNING, None)

    def _trial(
        self, params: Params, state: optuna.trial.TrialState, values: list[float] | None
    ) -> optuna.trial.FrozenTrial | None:
        import optuna

        space = self.config.space
        if space.check(params):
            return None
        flat = space.flatten(params)
        axes = {
            parameter.name: (
                _place(parameter.distribution, flat[parameter.name]),
                _axis(parameter.distribution),
            )
            for parameter in self._parameters
            if parameter.name in flat and parameter.distribution.size != 1
        }
        return optuna.trial.create_trial(
            state=state,
            values=values,
            params={name: place for name, (place, _) in axes.items()},
            distributions={name: axis for name, (_, axis) in axes.items()},
        )

    def _seed(self, cursor: int) -> int:
        return ((self.config.seed or 0) * 1_000_003 + cursor) % SEEDS


def create_optuna(config: SweepConfig) -> EngineMethod:
    """Build the method; UsageError where Optuna is missing, or has no such sampler or argument."""
    try:
        import optuna
    except ImportError as error:
        raise UsageError("method: optuna needs Optuna; pip install 'besom[optuna]'") from error
    settings = dict(config.settings)
    name = settings.pop("sampler", DEFAULT)
    known = sorted(word for word in optuna.samplers.__all__ if word.endswith("Sampler"))
    known = [word for word in known if word not in {"BaseSampler", "GridSampler", "PartialFixedSampler"}]
    if name not in known:
        raise UsageError(f"{config.source}: optuna.sampler cannot be {name!r}{_hint(str(name), known)}")
    taken = list(inspect.signature(getattr(optuna.samplers, name)).parameters)
    for key in settings:
        if key not in taken:
            raise UsageError(f"{config.source}: optuna: {name} takes no {key!r}{_hint(key, taken)}")
    return EngineMethod(config, Optuna(config, name, settings))


def _hint(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def _axis(distribution: Distribution) -> optuna.distributions.BaseDistribution:
    import optuna

    if isinstance(distribution, Choice):
        return optuna.distributions.CategoricalDistribution(range(distribution.size))
    if isinstance(distribution, Lattice):
        return optuna.distributions.IntDistribution(0, distribution.size - 1)
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _place(distribution: Distribution, value: Any) -> int | float:
    place = distribution.encode(value)
    if isinstance(distribution, (Choice, Lattice)):
        return min(int(place * distribution.size), distribution.size - 1)
    return place


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    name, distribution = parameter.name, parameter.distribution
    if distribution.size == 1:
        return distribution.nth(0)
    if isinstance(distribution, Choice):
        return distribution.nth(trial.suggest_categorical(name, range(distribution.size)))
    if isinstance(distribution, Lattice):
        return distribution.nth(trial.suggest_int(name, 0, distribution.size - 1))
    return distribution.decode(trial.suggest_float(name, 0.0, 1.0))


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
