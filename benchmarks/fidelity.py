"""What early termination is worth to `method: bayes`: with the same resource, more runs, most of them short.

A sweep has 30 times the resource of a full run of 100 reports, 8 runs at a time. Runs are points of problems
of `benchmarks.search`; the loss of a point, scaled, is where its learning curve of one of the kinds in
`curves.py` ends. All curves of a sweep have the same shape, but for what the kind makes of the end. Regret is
where the point of the run that reported best ends, 0 being the lowest there is; it is summed over seeds,
divided by that of bayes without early termination, and averaged geometrically over problems and kinds. "Not
compared at a rung": a stopped run counts with the last value it has reported, as for methods that know
nothing of early termination. Optuna's sampler takes its pruned trials by its own rules.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmarks.curves import LENGTH, curve_of
from benchmarks.harness import Figure, main
from benchmarks.search.contenders import Optuna
from benchmarks.search.formulas import problems
from benchmarks.search.problem import Problem
from benchmarks.stopping import FIRST, WORKERS, interval, mean_ratio, rungs
from besom.records import Observation, Params, RunState
from besom.search import create_method
from besom.stopping.asha import Asha
from besom.sweepfile import from_mapping
from besom.testing.stoppers import Trial

FULL_RUNS = 30
CURVES = ("power laws", "noisy", "crossing and noisy")
NAMES = ("hartmann6", "intquad8", "mixackley8", "condopt")
RUNGS = rungs(FIRST, 3)


Games = Mapping[tuple[str, str], Sequence[tuple[float, int]]]
"""By kind and problem: the regret of each seed, and how many runs began."""


class Sweep(Protocol):
    """A sweep at work: a method and a rule that ends runs."""

    def ask(self) -> tuple[Any, Params]:
        """Give the next run and its point."""
        ...

    def stops(self, run: Any, count: int, loss: float) -> bool:
        """Say whether a run that reports its `count`-th loss ends here."""
        ...

    def ended(self, run: Any, loss: float, *, stopped: bool) -> None:
        """Take note that a run has ended, with its last loss."""
        ...


@dataclass
class Ours:
    """One of besom's methods, with asha or without; `marked` lets it know what runs had at rungs."""

    problem: Problem
    seed: int
    method: str
    early: bool
    marked: bool = True
    trial: Trial = field(default_factory=lambda: Trial(lambda: Asha(RUNGS, 3)))
    running: dict[str, Params] = field(default_factory=dict[str, Params])
    finished: list[Observation] = field(default_factory=list[Observation])
    cursor: int = 0

    def __post_init__(self) -> None:
        config = {**self.problem.config.raw, "method": self.method, "seed": self.seed}
        self.proposals = create_method(from_mapping(config))

    def observations(self, *, after: int = 0) -> list[Observation]:
        """Give what has ended, as a method reads it."""
        return self.finished[after:]

    def active(self) -> list[Params]:
        """Give what is under way, as a method reads it."""
        return list(self.running.values())

    def ask(self) -> tuple[str, Params]:
        """Ask the method until it has something new."""
        known = {item.run_id for item in self.finished} | set(self.running)
        while True:
            batch = self.proposals.suggest(self.cursor, 1, self)
            self.cursor = batch.cursor
            if batch.suggestions and batch.suggestions[0].key not in known:
                suggestion = batch.suggestions[0]
                self.running[suggestion.key] = suggestion.params
                return suggestion.key, suggestion.params

    def stops(self, run: str, count: int, loss: float) -> bool:
        """Ask asha."""
        del count
        return self.early and self.trial.report(run, loss).stop

    def ended(self, run: str, loss: float, *, stopped: bool) -> None:
        """Note what the method may read of it."""
        state = RunState.STOPPED if stopped else RunState.FINISHED
        at_rungs = {rung: marks[run] for rung, marks in self.trial.marks.items() if run in marks}
        marks: Mapping[int, float] | None = at_rungs if self.early and self.marked else None
        number = len(self.finished) + 1
        self.finished.append(Observation(run, state, self.running.pop(run), loss, number, marks=marks))


class Optunas(Optuna):
    """Optuna's default sampler with its SuccessiveHalving at asha's rungs."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed, "TPESampler")
        self.study.pruner = self.optuna.pruners.SuccessiveHalvingPruner(
            min_resource=FIRST, reduction_factor=3
        )

    def stops(self, run: Any, count: int, loss: float) -> bool:
        """Report to the trial and ask it."""
        run.report(loss, count)
        return bool(run.should_prune())

    def ended(self, run: Any, loss: float, *, stopped: bool) -> None:
        """Tell the study."""
        state = self.optuna.trial.TrialState.PRUNED if stopped else None
        self.study.tell(run, None if stopped else loss, state=state)


SWEEPS: dict[str, Callable[[Problem, int], Sweep]] = {
    "bayes": lambda problem, seed: Ours(problem, seed, "bayes", early=False),
    "bayes and asha": lambda problem, seed: Ours(problem, seed, "bayes", early=True),
    "bayes and asha, not compared at a rung": lambda problem, seed: Ours(
        problem, seed, "bayes", early=True, marked=False
    ),
    "random and asha": lambda problem, seed: Ours(problem, seed, "random", early=True),
    "random": lambda problem, seed: Ours(problem, seed, "random", early=False),
    "Optuna default and SuccessiveHalving": Optunas,
}


class Ends:
    """Where the curves of a problem's points end: its loss, on the scale that curves have."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        chance = np.random.default_rng(0)
        points = (problem.config.space.draw(2, index) for index in range(500))
        losses = [problem.run(point, chance)[1] for point in points if point is not None]
        optimum = problem.known_optimum()
        assert optimum is not None
        self.lowest = optimum
        self.unit = statistics.median(losses) - self.lowest

    def __call__(self, params: Params) -> float:
        """Give 0 for the optimum, 0.3 for the median point, never more than 1.2."""
        loss = self.problem.run(params, np.random.default_rng(0))[1]
        return 1.2 * math.tanh(0.255 * (loss - self.lowest) / self.unit)


def play(sweep: Sweep, ends: Ends, kind: str, seed: int) -> tuple[float, int]:
    """Spend the resource, run by run; give the regret and how many runs began."""
    noise = random.Random(f"{kind}-{seed}")
    active: dict[int, tuple[Any, Sequence[float], int]] = {}
    last: list[tuple[float, float]] = []  # of every run: what it reported last, and where its point ends
    left = FULL_RUNS * LENGTH
    while left > 0:
        while len(active) < WORKERS:
            run, params = sweep.ask()
            end = ends(params)
            active[len(last)] = run, curve_of(kind, random.Random(seed), noise, end).reported, 0
            last.append((math.inf, end))
        for number, (run, reported, before) in list(active.items())[:left]:
            count, loss = before + 1, reported[before]
            left -= 1
            active[number] = run, reported, count
            last[number] = loss, last[number][1]
            stopped = sweep.stops(run, count, loss)
            if stopped or count == LENGTH:
                del active[number]
                sweep.ended(run, loss, stopped=stopped)
    return min(last)[1], len(last)


def measure(quick: bool) -> list[Figure]:
    """Measure what bayes reaches with asha and without, beside random search and Optuna."""
    ends = [Ends(problem) for problem in problems() if problem.name in NAMES]
    kinds = CURVES[:1] if quick else CURVES
    seeds = range(1 if quick else 4)
    played: dict[str, Games] = {}
    for name, make in SWEEPS.items():
        cells = itertools.product(kinds, ends)
        played[name] = {
            (kind, end.problem.name): [play(make(end.problem, seed), end, kind, seed) for seed in seeds]
            for kind, end in cells
        }
    return [_figure(name, games, played["bayes"]) for name, games in played.items() if name != "bayes"]


def _figure(name: str, games: Games, free: Games) -> Figure:
    pairs = {
        cell: [(one[0], other[0]) for one, other in zip(played, free[cell], strict=True)]
        for cell, played in games.items()
    }
    low, high = interval(pairs.values())
    runs = statistics.fmean(count for played in games.values() for _, count in played)
    kinds = {cell[0]: [pairs[other] for other in pairs if other[0] == cell[0]] for cell in pairs}
    each = ", ".join(f"{kind} {mean_ratio(found):.2f}" for kind, found in kinds.items())
    note = f"90 % interval {low:.2f} to {high:.2f}; {each}; {runs:.0f} runs began"
    return Figure(name, mean_ratio(pairs.values()), "x bayes", None, "lower", note)


if __name__ == "__main__":
    main("fidelity", measure)
