"""Ended runs that a new sweep starts from: how they are chosen, and what they become in its space."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from besom.errors import StateError, UsageError
from besom.records import ENDED, GOOD_ENDINGS, Metric, Outcome, Params, Run, RunState, Suggestion
from besom.space.parameters import parents_first
from besom.summarize import lookup, summary_value

if TYPE_CHECKING:
    from besom.space import SearchSpace
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
COMPARISON = re.compile(
    r"\s*(?P<name>[^\s<>=!]+)\s*(?P<operator><=|>=|==|!=|<|>|=)\s*(?P<value>[^\s<>=!].*?)\s*"
)


def prior_runs_where(
    store: Store,
    sweep_id: str,
    *,
    states: Collection[RunState] = GOOD_ENDINGS,
    where: str = "",
    copies: bool = True,
) -> list[str]:
    """Give the ids of a sweep's runs that ended in one of `states` and of which `where` is true.

    Without `copies`, those that are themselves prior runs of another sweep's are left out.
    `where` compares metrics and parameters with values, such as `val/loss < 0.3 and optimizer == adam`; a run
    that lacks the name does not match. UsageError if it cannot be read.
    """
    store.get_sweep(sweep_id)
    tests = [_comparison(text) for text in re.split(r"\s+and\s+", where.strip())] if where.strip() else []
    runs = store.list_runs(sweep_id, states=states)
    own = (run for run in runs if copies or run.source != "prior")
    return [run.id for run in own if all(test(run) for test in tests)]


def ended_run(run: Run) -> Run:
    """Give a run that may become a prior one; StateError if it has not ended."""
    if run.state not in ENDED:
        raise StateError(f"run {run.id} is {run.state.value}; a prior run must have ended")
    return run


def add_priors(store: Store, sweep_id: str, config: SweepConfig, priors: Sequence[Run]) -> None:
    """Copy ended runs into a new sweep, judged by its metric; one whose point is taken keeps its own key."""
    taken: set[str] = set()
    for run in priors:
        suggestion = _prior_suggestion(config, run)
        if suggestion.key in taken:  # a second measurement of a point: kept, under a key of its own
            suggestion = Suggestion(f"prior:{run.id}", suggestion.params)
        taken.add(suggestion.key)
        outcome = Outcome(
            state=RunState.FAILED if run.state is RunState.CRASHED else run.state,
            exit_code=run.exit_code,
            error=run.error,
            summary=run.summary,
            value=summary_value(run.summary, config.metric) if config.metric else None,
        )
        store.enqueue(sweep_id, suggestion, source="prior", outcome=outcome)


def _prior_suggestion(config: SweepConfig, run: Run) -> Suggestion:
    """Give the point of the new space that a prior run stands for, else its parameters with their own key."""
    space = config.space
    flat = space.flatten(run.config) | space.flatten(run.params)
    known: dict[str, Any] = {}
    for parameter in parents_first(tuple(space.parameters.values())):
        if parameter.name in flat and parameter.active(known):
            known[parameter.name] = flat[parameter.name]
    point = whole_point(space, known)
    if space.check(point):
        return Suggestion(f"prior:{run.id}", run.params or run.config)
    return space.suggestion(point)


def whole_point(space: SearchSpace, params: Params) -> Params:
    """Give `params`, nested or dotted, as the space nests them, with parameters of one value filled in."""
    known = space.parameters.values()
    filled = {p.name: p.distribution.nth(0) for p in known if p.distribution.size == 1 and not p.conditions}
    return space.unflatten(filled | space.flatten(params))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a run's metric or parameter with a value."""

    name: str
    operator: str
    value: Any

    def __call__(self, run: Run) -> bool:
        """Say whether it is true of a run; False if the run has no such value, or of another kind."""
        found = _value_of(run, self.name)
        try:
            return found is not None and bool(OPERATORS[self.operator](found, self.value))
        except TypeError:
            return False


def _comparison(text: str) -> Comparison:
    import json

    match = COMPARISON.fullmatch(text)
    if match is None:
        raise UsageError(
            f"cannot read the filter {text!r}; write NAME OPERATOR VALUE, such as `val/loss < 0.3`,"
            f" with one of {' '.join(OPERATORS)}, and join several by `and`"
        )
    try:
        value = json.loads(match["value"])
    except ValueError:
        value = match["value"].strip("'\"")
    return Comparison(match["name"], match["operator"], value)


def _value_of(run: Run, name: str) -> Any:
    if name == "state":
        return run.state.value
    number = summary_value(run.summary, Metric(name))
    if number is not None:
        return number
    return lookup({**run.summary, **run.config, **run.params}, name.split("."))
