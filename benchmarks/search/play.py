"""One contender on one problem: the loop that agents make, with a simulated clock; and the score of it."""

from __future__ import annotations

import heapq
import json
import math
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.contenders import CONTENDERS
from benchmarks.search.problem import BUDGET, Problem, RunFailedHere
from besom.records import Params

FLOOR = 1e-3
"""The score below which a problem counts as solved."""

REFERENCES = 300
"""Random searches whose mean regret is 1 on the scale of scores."""


@dataclass(frozen=True)
class Game:
    """What became of one contender with one seed: the noiseless value of the best run as runs ended."""

    contender: str
    problem: str
    seed: int
    workers: int
    trace: tuple[float, ...]  # infinite before the first run that did not crash
    failures: int
    cpu_ms: float  # per suggestion, telling the result included


def play(name: str, problem: Problem, seed: int, *, workers: int = 1, budget: int = BUDGET) -> Game:
    """Run `budget` evaluations, `workers` at a time; runs take log-normal times."""
    problem = problem.of(seed)
    rng = np.random.default_rng([seed, zlib.crc32(problem.name.encode())])
    contender = CONTENDERS[name](problem, seed)
    running: list[tuple[float, int, Any, Params]] = []
    clock = cpu = 0.0
    best = noiseless = math.inf
    asked = failures = 0
    trace: list[float] = []
    while len(trace) < budget:
        while len(running) < workers and asked < budget:
            started = time.process_time()
            handle, params = contender.ask()
            cpu += time.process_time() - started
            heapq.heappush(running, (clock + float(rng.lognormal(0, 0.5)), asked, handle, params))
            asked += 1
        clock, _, handle, params = heapq.heappop(running)
        try:
            observed, exact = problem.run(params, rng)
        except RunFailedHere:
            observed, exact = None, math.inf
            failures += 1
        started = time.process_time()
        contender.tell(handle, observed)
        cpu += time.process_time() - started
        if observed is not None and observed < best:
            best, noiseless = observed, exact
        trace.append(noiseless)
    return Game(name, problem.name, seed, workers, tuple(trace), failures, 1000 * cpu / budget)


def save(games: Iterable[Game], path: Path) -> None:
    """Append games to a results file, one JSON line each."""
    with path.open("a") as file:
        for game in games:
            trace = [None if math.isinf(value) else float(f"{value:.7g}") for value in game.trace]
            file.write(json.dumps({**asdict(game), "trace": trace, "cpu_ms": round(game.cpu_ms, 2)}) + "\n")


def load(path: Path) -> Iterator[Game]:
    """Read a results file back; nothing if there is none."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        found = json.loads(line)
        trace = tuple(math.inf if value is None else value for value in found.pop("trace"))
        yield Game(**found, trace=trace)


class Scale:
    """What regrets on a problem are measured by: the optimum, and what random search reaches on average.

    A random search is judged as everybody else is: by the noiseless value of the run that *reported* best.
    """

    def __init__(self, problem: Problem, seen: float, budget: int = BUDGET) -> None:
        rng = np.random.default_rng(1)
        draws: list[tuple[float, float]] = []
        index = 0
        while len(draws) < 1500:
            index += 1
            params = problem.config.space.draw(1, index)
            assert params is not None
            try:
                draws.append(problem.run(params, rng))
            except RunFailedHere:
                draws.append((math.inf, math.inf))
        observed, exact = np.array(draws).T
        optimum = problem.known_optimum()
        self.optimum = min(seen, float(exact.min())) if optimum is None else optimum
        picks = rng.integers(len(draws), size=(REFERENCES, budget))
        best = picks[np.arange(REFERENCES), observed[picks].argmin(1)]
        self.unit = max(float(np.mean(exact[best])) - self.optimum, 1e-12)

    def score(self, value: float) -> float:
        """Give a regret in units of random search's: 0 is the optimum, 1 as good as random."""
        return (value - self.optimum) / self.unit


class Scales:
    """The scale of every problem, or of every instance of it, made when it is first asked for."""

    def __init__(self, games: Iterable[Game], problems: Iterable[Problem]) -> None:
        self.problems = {problem.name: problem for problem in problems}
        self.seen: dict[tuple[str, int], float] = {}
        self.made: dict[tuple[str, int], Scale] = {}
        for game in games:
            key = self._key(game)
            self.seen[key] = min(game.trace[-1], self.seen.get(key, math.inf))

    def score(self, game: Game, evaluations: int = BUDGET) -> float:
        """Give the score of a game after so many evaluations."""
        key = self._key(game)
        if key not in self.made:
            self.made[key] = Scale(self.problems[game.problem].of(game.seed), self.seen[key])
        return self.made[key].score(game.trace[evaluations - 1])

    def _key(self, game: Game) -> tuple[str, int]:
        return game.problem, 0 if self.problems[game.problem].instance is None else game.seed


def geometric_mean(scores: Sequence[float]) -> float:
    """Give the geometric mean, scores below `FLOOR` counting as that."""
    return math.exp(sum(math.log(max(score, FLOOR)) for score in scores) / len(scores))
